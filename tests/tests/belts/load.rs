//! Many jobs: none is lost, none runs twice, the belt does not slow down with its length, and Redis is left clean.

use std::time::Duration;

use pulsecal_core::ledger::Priority;
use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;

use crate::set_up::{SOON, SetUp, ask};
use crate::{Belt, known_failure, on_both_belts};

on_both_belts!(
    row_1_2_17_a_backlog_drains_and_leaves_nothing_in_redis,
    row_18_four_workers_share_without_doubles,
    an_urgent_job_overtakes_a_backlog,
);

/// Rows 1, 2 and 17. Stock dies of 8,000 due tasks, slows down with the backlog, and keeps 544 bytes a task forever.
async fn row_1_2_17_a_backlog_drains_and_leaves_nothing_in_redis(belt: Belt) {
    const JOBS: i64 = 20_000;
    let redis = Redis::private().await;
    let on = SetUp::with_redis(belt, &redis).await;
    on.enqueue(JOBS as usize, r#""nothing""#).await;
    let before = calls(&redis).await;
    let worker = on.worker_with("64").await;
    on.wait_ended(JOBS, 0, Duration::from_secs(100)).await;
    on.each_ran_once().await;
    let after = calls(&redis).await;
    // Counts instead of times: nothing that is done for each job may walk a list, and the native belt asks once for many.
    let per_job = (after.commands - before.commands) / JOBS as f64;
    let most = if belt == Belt::Native { 0.5 } else { 40.0 };
    assert!(per_job < most, "{per_job:.2} Redis commands a job");
    let lrem = after.lrem - before.lrem;
    assert_eq!(lrem, 0.0, "LREM walks the list");
    // A sweep that read the rows before they ended may push their ids after it. The worker drops them; one that has stopped cannot.
    on.stop_scheduler().await;
    let mut clean_looks = 0;
    until(SOON, "nothing of the ended jobs is left in Redis", async || {
        let keys = on.keys().await;
        // A list of thousands is one key, so a count alone would not do; and a batch may be in the worker's hand between two keys.
        let clean =
            keys.len() <= 4 && !keys.iter().any(|key| key.ends_with(&format!("}}:{}", Priority::Normal.level())));
        clean_looks = if clean { clean_looks + 1 } else { 0 };
        (clean_looks == 20).then_some(())
    })
    .await;
    let bytes: i64 = ask(redis.url(), &redis::cmd("DBSIZE")).await;
    // The epoch and, with stock, the names of queue and worker.
    assert!(bytes <= 6, "{bytes} keys: {:?}", on.keys().await);
    assert!(worker.stop_gracefully(SOON).await.success(), "{:?}", worker.lines());
    let left = on.keys().await;
    assert!(left.len() <= 1, "only the epoch outlives the workers: {left:?}");
}

/// Row 18.
async fn row_18_four_workers_share_without_doubles(belt: Belt) {
    const JOBS: i64 = 7_000;
    let on = SetUp::new(belt).await;
    let workers = [on.worker().await, on.worker().await, on.worker().await, on.worker().await];
    on.enqueue(JOBS as usize, r#"{"sleep_ms": 2}"#).await;
    on.wait_ended(JOBS, 0, Duration::from_secs(60)).await;
    on.each_ran_once().await;
    let shares: Vec<i64> = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE kind = 'noop' GROUP BY worker")
        .fetch_all(&on.pool)
        .await
        .expect("the ledger answers");
    assert_eq!(shares.len(), workers.len(), "each took part: {shares:?}");
}

/// Not a row of the list: stock accepts priorities and does not keep them.
async fn an_urgent_job_overtakes_a_backlog(belt: Belt) {
    let on = SetUp::new(belt).await;
    let _worker = on.worker().await;
    on.enqueue(300, r#"{"sleep_ms": 100}"#).await;
    until(SOON, "the backlog is worked on", async || (on.ended("done").await >= 16).then_some(())).await;
    on.insert("noop", 0, serde_json::json!({"i": 0})).await;
    on.wait_ended(301, 0, SOON).await;
    // A second: until the sweep has found it, and what was claimed before it has started.
    let before = on
        .count(
            "SELECT count(*) FROM job_history j, job_history urgent WHERE urgent.priority = 0 AND j.priority = 1
             AND j.started_at > urgent.enqueued_at + interval '1 second' AND j.started_at < urgent.started_at",
        )
        .await;
    match known_failure("an_urgent_job_overtakes_a_backlog", belt) {
        None => assert_eq!(before, 0, "so many went before"),
        Some(why) => assert!(before > 0, "it did overtake; no longer true: {why}"),
    }
}

struct Calls {
    commands: f64,
    lrem: f64,
}

/// What Redis counted since its start.
async fn calls(redis: &Redis) -> Calls {
    let info: String = ask(redis.url(), redis::cmd("INFO").arg("all")).await;
    let number = |head: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(head)).unwrap_or("0");
        line.split(',').next().and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
    };
    Calls { commands: number("total_commands_processed:"), lrem: number("cmdstat_lrem:calls=") }
}
