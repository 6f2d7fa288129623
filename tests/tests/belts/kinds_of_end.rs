//! Jobs that fail, panic, run out of time or cannot be read: each ends as its policy says, and its neighbours are fine.

use std::time::Duration;

use serde_json::json;

use crate::set_up::{SOON, SetUp};
use crate::{Belt, on_both_belts};

on_both_belts!(
    row_5_slow_jobs_beside_an_idle_worker_run_once,
    row_6_16_a_panic_and_a_time_out_are_tried_again_then_dead,
    row_7_what_cannot_be_read_is_dead_with_its_reason,
    row_15_attempts_and_backoff_are_the_policys,
);

/// Row 5. Stock runs the whole batch of a busy worker twice.
async fn row_5_slow_jobs_beside_an_idle_worker_run_once(belt: Belt) {
    let on = SetUp::new(belt).await;
    let _busy = on.worker_with("1").await;
    on.enqueue(10, r#"{"sleep_ms": 1000}"#).await;
    on.wait_running(1).await;
    let _other = on.worker_with("1").await;
    on.wait_ended(10, 0, SOON).await;
    on.each_ran_once().await;
}

/// Rows 6 and 16. With stock a panic ends the worker and all it runs, and a time-out is dead at once.
async fn row_6_16_a_panic_and_a_time_out_are_tried_again_then_dead(belt: Belt) {
    let on = SetUp::new(belt).await;
    let worker = on.worker_with("16").await;
    on.enqueue(5, r#"{"sleep_ms": 3000}"#).await;
    on.enqueue(2, r#""panic""#).await;
    on.enqueue(1, r#"{"sleep_ms": 60000}"#).await;
    on.enqueue(20, r#""nothing""#).await;
    on.wait_ended(25, 3, Duration::from_secs(40)).await;
    let dead: Vec<(i32, String)> =
        sqlx::query_as("SELECT attempt, last_error FROM job_history WHERE state = 'dead' ORDER BY last_error")
            .fetch_all(&on.pool)
            .await
            .expect("the ledger answers");
    let panicked = (3, "its handler panicked".to_owned());
    assert_eq!(dead, [panicked.clone(), panicked, (3, "took longer than its 5 s".to_owned())]);
    assert_eq!(on.tries("retry").await, 6, "two failed tries before the last one of each");
    let neighbours = on.count("SELECT count(*) FROM job_history WHERE state = 'done' AND attempt <> 1").await;
    assert_eq!(neighbours, 0, "the neighbours ran once");
    assert!(worker.stop_gracefully(SOON).await.success(), "the worker is the one that was started");
}

/// Row 7. One such payload takes stock's workers down again and again.
async fn row_7_what_cannot_be_read_is_dead_with_its_reason(belt: Belt) {
    let on = SetUp::new(belt).await;
    on.enqueue(20, r#"{"sleep_ms": 200}"#).await;
    let wrong = on.insert("noop", 1, json!({"i": "not a number"})).await;
    let missing = on.insert("noop", 1, json!({})).await;
    let unknown = on.insert("pigeon", 1, json!({})).await;
    let worker = on.worker().await;
    on.wait_ended(20, 2, SOON).await;
    for (id, why) in
        [(wrong, "its args cannot be read"), (missing, "missing field"), (unknown, "knows no kind of job named")]
    {
        let (state, attempt, reason): (String, i32, String) =
            pulsecal_tests::wait::until(SOON, "it is dead", async || {
                sqlx::query_as("SELECT state, attempt, last_error FROM job_history WHERE id = $1")
                    .bind(id)
                    .fetch_optional(&on.pool)
                    .await
                    .expect("the ledger answers")
            })
            .await;
        assert_eq!((state.as_str(), attempt), ("dead", 1), "{reason}");
        assert!(reason.contains(why) && !reason.contains("not a number"), "{reason}");
    }
    assert!(worker.stop_gracefully(SOON).await.success(), "the worker is the one that was started");
}

/// Row 15. Stock retries 25 times, a second apart, whatever it was told.
async fn row_15_attempts_and_backoff_are_the_policys(belt: Belt) {
    let on = SetUp::new(belt).await;
    let _worker = on.worker().await;
    on.enqueue(5, r#"{"fail_times": 2}"#).await;
    on.enqueue(5, r#"{"fail_times": 100}"#).await;
    on.wait_ended(5, 5, SOON).await;
    let attempts: Vec<i32> = sqlx::query_scalar("SELECT DISTINCT attempt FROM job_history WHERE kind = 'noop'")
        .fetch_all(&on.pool)
        .await
        .expect("the ledger answers");
    assert_eq!(attempts, [3]);
    assert_eq!(on.tries("retry").await, 20);
    // A tenth of 200 ms at least, then of 400 ms.
    let early = on
        .count(
            "SELECT count(*) FROM (SELECT attempt, ended_at, lead(started_at) OVER (PARTITION BY job_id ORDER BY attempt) AS next FROM job_attempts) a
             WHERE next < ended_at + CASE attempt WHEN 1 THEN interval '15 ms' ELSE interval '35 ms' END",
        )
        .await;
    assert_eq!(early, 0, "tried again before the shortest wait");
}
