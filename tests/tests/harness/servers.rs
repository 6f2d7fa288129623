//! Private servers that are stopped, killed and brought back.

use std::time::Duration;

use pulsecal_tests::servers::{Postgres, Redis};
use redis::Commands;
use sqlx::{Connection, PgConnection};

use crate::SILENCE;

async fn execute(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("executed");
}

async fn count(url: &str, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("counted")
}

const LOGGED: &str = "SELECT count(*) FROM kept";
const UNLOGGED: &str = "SELECT count(*) FROM lost";

#[tokio::test]
async fn postgres_keeps_what_was_committed_through_every_kind_of_end() {
    let postgres = Postgres::private().await;
    let url = postgres.url().to_owned();
    execute(&url, "CREATE TABLE kept (id int); CREATE UNLOGGED TABLE lost (id int)").await;
    execute(&url, "INSERT INTO kept VALUES (1); INSERT INTO lost VALUES (1)").await;

    postgres.restart().await;
    assert_eq!((count(&url, LOGGED).await, count(&url, UNLOGGED).await), (1, 1), "an orderly end keeps all");

    execute(&url, "INSERT INTO kept VALUES (2)").await;
    postgres.stop_immediate().await;
    PgConnection::connect(&url).await.expect_err("it is down");
    postgres.start_again().await;
    assert_eq!((count(&url, LOGGED).await, count(&url, UNLOGGED).await), (2, 0), "a crash empties unlogged tables");

    execute(&url, "INSERT INTO kept VALUES (3); INSERT INTO lost VALUES (3)").await;
    let mut busy = PgConnection::connect(&url).await.expect("Postgres answers");
    let sleeping =
        tokio::spawn(async move { sqlx::raw_sql("SELECT pg_sleep(600)").execute(&mut busy).await.map(|_| ()) });
    postgres.kill9().await;
    sleeping.await.expect("no panic").expect_err("a killed server's sessions end");
    PgConnection::connect(&url).await.expect_err("it is down");
    postgres.start_again().await;
    assert_eq!((count(&url, LOGGED).await, count(&url, UNLOGGED).await), (3, 0));

    drop(postgres);
    PgConnection::connect(&url).await.expect_err("it ended with its owner");
}

#[tokio::test]
async fn two_private_postgres_do_not_meet() {
    let (one, other) = tokio::join!(Postgres::private(), Postgres::private());
    execute(one.url(), "CREATE TABLE kept (id int)").await;
    execute(other.url(), "CREATE TABLE kept (id int)").await;
    assert_ne!(one.url(), other.url());
}

#[tokio::test]
#[should_panic(expected = "take Postgres::private()")]
async fn the_shared_postgres_cannot_be_broken() {
    Postgres::shared().await.restart().await;
}

fn keys(redis: &Redis) -> redis::Connection {
    let client = redis::Client::open(redis.url()).expect("a URL");
    client.get_connection_with_timeout(Duration::from_secs(2)).expect("Redis answers")
}

fn get(redis: &Redis, key: &str) -> Option<String> {
    keys(redis).get(key).expect("answered")
}

fn set(redis: &Redis, key: &str, value: &str) {
    keys(redis).set::<_, _, ()>(key, value).expect("answered");
}

#[tokio::test]
async fn redis_loses_and_keeps_as_asked() {
    let redis = Redis::private().await;
    set(&redis, "a", "1");
    redis.restart().await;
    assert_eq!(get(&redis, "a").as_deref(), Some("1"), "an orderly restart keeps");

    redis.kill9().await;
    assert!(redis::Client::open(redis.url()).expect("a URL").get_connection().is_err());
    redis.start_again().await;
    assert_eq!(get(&redis, "a"), None, "a kill loses, also what an earlier restart had saved");

    set(&redis, "a", "2");
    redis.flushall().await;
    assert_eq!(get(&redis, "a"), None);
}

#[tokio::test]
async fn a_restored_snapshot_is_the_old_state() {
    let redis = Redis::private().await;
    set(&redis, "old", "1");
    redis.save_snapshot().await;
    set(&redis, "new", "1");
    keys(&redis).del::<_, ()>("old").expect("answered");
    for _ in 0..2 {
        redis.restore_snapshot().await;
        assert_eq!((get(&redis, "old").as_deref(), get(&redis, "new")), (Some("1"), None));
    }
    redis.kill9().await;
    redis.start_again().await;
    assert_eq!(get(&redis, "old"), None);
}

#[tokio::test]
async fn a_paused_and_a_frozen_redis_do_not_answer_and_then_do() {
    let redis = Redis::private().await;
    let mut connection = keys(&redis);
    let started = std::time::Instant::now();
    redis.pause(300).await;
    connection.set::<_, _, ()>("a", "1").expect("answered late");
    assert!(started.elapsed() >= Duration::from_millis(290), "{:?}", started.elapsed());

    redis.freeze().await;
    connection.set_read_timeout(Some(SILENCE)).expect("set");
    connection.get::<_, String>("a").expect_err("no answer");
    redis.thaw().await;
    assert_eq!(get(&redis, "a").as_deref(), Some("1"));
    redis.freeze().await;
    // And is dropped frozen.
}

#[tokio::test]
async fn only_keys_with_the_prefix_are_deleted_from_the_shared_redis() {
    let redis = Redis::shared().await;
    let prefix = format!("harness[{}]*:", pulsecal_core::ids::Ids.new_id::<uuid::Uuid>());
    let (inside, outside) = (format!("{prefix}a"), format!("x{prefix}a"));
    set(redis, &inside, "1");
    set(redis, &outside, "1");
    redis.delete_prefix(&prefix).await;
    assert_eq!(get(redis, &inside), None);
    assert_eq!(get(redis, &outside).as_deref(), Some("1"));
    redis.delete_prefix(&outside).await;
}
