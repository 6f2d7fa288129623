//! Redis goes away, comes back empty, forgets, or stands still.

use std::time::Duration;

use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;

use crate::set_up::{SOON, SetUp, ask};
use crate::{Belt, on_both_belts};

on_both_belts!(
    row_11_a_redis_that_comes_back_empty_loses_nothing,
    a_redis_of_an_older_state_loses_and_doubles_nothing,
    row_12_13_cut_connections_and_stalls_disturb_no_running_job,
    row_14_a_slow_redis_loses_no_wake_up,
);

/// Row 11. Stock loses the queue, and its running jobs with it.
async fn row_11_a_redis_that_comes_back_empty_loses_nothing(belt: Belt) {
    let redis = Redis::private().await;
    let on = SetUp::with_redis(belt, &redis).await;
    let worker = on.worker().await;
    on.enqueue(200, r#"{"sleep_ms": 150}"#).await;
    on.wait_running(8).await;
    redis.flushall().await;
    let done = on.ended("done").await;
    until(SOON, "it goes on after the loss", async || (on.ended("done").await > done + 50).then_some(())).await;
    redis.kill9().await;
    on.enqueue(20, r#"{"sleep_ms": 150}"#).await;
    redis.start_again().await;
    on.wait_ended(220, 0, Duration::from_secs(40)).await;
    on.each_ran_once().await;
    assert!(worker.stop_gracefully(SOON).await.success(), "the worker is the one that was started");
}

/// P1: a snapshot brings back ids of jobs that have ended, and knows nothing of those that came after it.
async fn a_redis_of_an_older_state_loses_and_doubles_nothing(belt: Belt) {
    let redis = Redis::private().await;
    let on = SetUp::with_redis(belt, &redis).await;
    on.enqueue(100, r#""nothing""#).await;
    redis.save_snapshot().await;
    let worker = on.worker().await;
    on.wait_ended(100, 0, SOON).await;
    on.enqueue(150, r#"{"sleep_ms": 150}"#).await;
    on.wait_running(8).await;
    redis.restore_snapshot().await;
    on.wait_ended(250, 0, Duration::from_secs(40)).await;
    on.each_ran_once().await;
    assert!(worker.stop_gracefully(SOON).await.success(), "the worker is the one that was started");
}

/// Rows 12 and 13. Stock cancels what runs, and dies of a Redis that is silent for half a second.
async fn row_12_13_cut_connections_and_stalls_disturb_no_running_job(belt: Belt) {
    let redis = Redis::private().await;
    let on = SetUp::with_redis(belt, &redis).await;
    let worker = on.worker().await;
    on.enqueue(60, r#"{"sleep_ms": 1000}"#).await;
    on.wait_running(8).await;
    kill_clients(&redis).await;
    until(SOON, "it takes jobs again", async || (on.ended("done").await >= 16).then_some(())).await;
    redis.pause(700).await;
    until(SOON, "it takes jobs after a short stall", async || (on.ended("done").await >= 24).then_some(())).await;
    redis.freeze().await;
    let frozen = tokio::time::Instant::now();
    // The jobs that run end while Redis stands still: that needs Postgres only.
    until(SOON, "what runs ends without Redis", async || (on.running().await == 0).then_some(())).await;
    tokio::time::sleep_until(frozen + Duration::from_secs(3)).await;
    redis.thaw().await;
    on.wait_ended(60, 0, Duration::from_secs(40)).await;
    on.each_ran_once().await;
    assert!(worker.stop_gracefully(SOON).await.success(), "the worker is the one that was started");
}

/// Row 14. Stock's interval loses its wake-up when one fetch is slow, and the next job waits for a heartbeat.
async fn row_14_a_slow_redis_loses_no_wake_up(belt: Belt) {
    let redis = Redis::private().await;
    let on = SetUp::with_redis(belt, &redis).await;
    let _worker = on.worker().await;
    on.enqueue(1, r#""nothing""#).await;
    on.wait_ended(1, 0, SOON).await;
    for round in 0..6 {
        redis.pause(450).await;
        // Answered when the pause is over; what comes next finds an idle worker.
        assert!(!on.keys().await.is_empty());
        on.enqueue(1, r#""nothing""#).await;
        on.wait_ended(round + 2, 0, SOON).await;
    }
    let slow = on
        .count(
            "SELECT count(*) FROM job_history WHERE kind = 'noop' AND started_at > enqueued_at + interval '2 seconds'",
        )
        .await;
    assert_eq!(slow, 0, "a job waited for a heartbeat");
}

async fn kill_clients(redis: &Redis) {
    let killed: i64 = ask(redis.url(), redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])).await;
    assert!(killed > 0, "nobody was connected");
}
