//! Every migration can be taken back, and applied again.

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::servers::Postgres;

async fn tables(pool: &sqlx::PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public' AND relkind IN ('r', 'v', 'p') AND relname <> '_sqlx_migrations' ORDER BY 1")
        .fetch_all(pool)
        .await
        .expect("the catalogue reads")
}

#[tokio::test]
async fn every_down_file_undoes_its_up_file() {
    let db = TestDatabase::empty(Postgres::shared().await).await;
    let pool = db.pool().await;
    let migrator = &pulsecal_core::store::MIGRATOR;
    migrator.run(&pool).await.expect("up");
    let full = tables(&pool).await;
    assert!(full.contains(&"jobs".to_owned()) && full.contains(&"people".to_owned()));
    migrator.undo(&pool, 0).await.expect("down");
    assert_eq!(tables(&pool).await, Vec::<String>::new());
    migrator.run(&pool).await.expect("up again");
    assert_eq!(tables(&pool).await, full);
}
