//! Databases of tests.

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::servers::Postgres;
use sqlx::{Connection, PgConnection};

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";

async fn tables(database: &TestDatabase) -> i64 {
    let mut connection = PgConnection::connect(database.url()).await.expect("the database can be reached");
    sqlx::query_scalar(TABLES).fetch_one(&mut connection).await.expect("counted")
}

#[tokio::test]
async fn databases_are_migrated_apart_from_each_other_and_dropped_under_open_connections() {
    let postgres = Postgres::private().await;
    let (one, other) = tokio::join!(TestDatabase::create(&postgres), TestDatabase::create(&postgres));
    let migrated = tables(&one).await;
    assert!(migrated > 0, "the migrations made tables");
    let pool = one.pool().await;
    sqlx::raw_sql("CREATE TABLE only_here (id int)").execute(&pool).await.expect("created");
    assert_eq!((tables(&one).await, tables(&other).await), (migrated + 1, migrated));
    assert_ne!(one.key_prefix(), other.key_prefix());

    let url = one.url().to_owned();
    drop(one);
    PgConnection::connect(&url).await.expect_err("dropped, although the pool was open");
    assert_eq!(tables(&TestDatabase::create(&postgres).await).await, migrated, "the template stays clean");
}

#[tokio::test]
async fn an_empty_database_is_empty_and_is_dropped_after_its_server_died_without_a_panic() {
    let postgres = Postgres::private().await;
    let database = TestDatabase::empty(&postgres).await;
    assert_eq!(tables(&database).await, 0);
    postgres.kill9().await;
    drop(database);
}
