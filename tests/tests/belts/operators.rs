//! What operators ask of running workers: a queue that stands still, a job that stops.

use std::time::Duration;

use pulsecal_tests::wait::until;
use uuid::Uuid;

use crate::set_up::{SOON, SetUp};
use crate::{Belt, on_both_belts};

on_both_belts!(
    a_paused_queue_stands_still_until_it_is_resumed,
    a_running_job_is_cancelled_where_it_awaits,
    a_job_that_waits_is_cancelled_at_once_also_in_a_paused_queue,
);

async fn a_paused_queue_stands_still_until_it_is_resumed(belt: Belt) {
    let on = SetUp::new(belt).await;
    let worker = on.worker_with("2").await;
    on.enqueue(2, r#"{"sleep_ms": 4000}"#).await;
    on.wait_running(2).await;
    on.enqueue(20, r#"{"sleep_ms": 1}"#).await;
    on.operator(&["queues", "pause", "maintenance"]).await;
    on.operator(&["queues", "pause", "maintenance"]).await;
    // What runs goes on to its end, and nothing follows it. Both were claimed seconds before the pause could be heard of.
    until(SOON, "what ran has ended", async || (on.ended("done").await >= 2).then_some(())).await;
    on.enqueue(20, r#"{"sleep_ms": 1}"#).await;
    let other = on.worker_with("8").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((on.ended("done").await, on.running().await), (2, 0), "the queue is paused");
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'queue.pause' AND detail->>'queue' = 'maintenance'";
    assert_eq!(on.count(noted).await, 1, "the second time changed nothing");
    // It outlives the workers.
    assert!(worker.stop_gracefully(SOON).await.success() && other.stop_gracefully(SOON).await.success());
    let _anew = on.worker().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(on.ended("done").await, 2, "a worker that starts does not take from it either");
    on.operator(&["queues", "resume", "maintenance"]).await;
    on.wait_ended(42, 0, SOON).await;
    on.each_ran_once().await;
}

async fn a_running_job_is_cancelled_where_it_awaits(belt: Belt) {
    let on = SetUp::new(belt).await;
    let _worker = on.worker().await;
    on.enqueue(2, r#"{"sleep_ms": 4900}"#).await;
    on.wait_running(2).await;
    let job: Uuid = sqlx::query_scalar("SELECT id FROM jobs WHERE kind = 'noop' ORDER BY id LIMIT 1")
        .fetch_one(&on.pool)
        .await
        .expect("a running job");
    on.operator(&["jobs", "cancel", &job.to_string()]).await;
    on.operator(&["jobs", "cancel", &job.to_string()]).await;
    until(SOON, "one is cancelled", async || (on.ended("cancelled").await == 1).then_some(())).await;
    let (reason, attempt, seconds): (String, i32, f64) = sqlx::query_as(
        "SELECT last_error, attempt, extract(epoch FROM ended_at - started_at)::float8 FROM job_history WHERE id = $1 AND state = 'cancelled'",
    )
    .bind(job)
    .fetch_one(&on.pool)
    .await
    .expect("it has ended");
    assert_eq!((reason.as_str(), attempt), ("cancelled while it ran", 1));
    assert!(seconds < 4.9, "it ran to its end: {seconds} s");
    until(SOON, "the other ends", async || (on.ended("done").await == 1).then_some(())).await;
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'job.cancel'";
    assert_eq!(on.count(noted).await, 1, "the second time changed nothing");
}

async fn a_job_that_waits_is_cancelled_at_once_also_in_a_paused_queue(belt: Belt) {
    let on = SetUp::new(belt).await;
    on.operator(&["queues", "pause", "maintenance"]).await;
    on.enqueue(1, r#""nothing""#).await;
    let job: Uuid =
        sqlx::query_scalar("SELECT id FROM jobs WHERE kind = 'noop'").fetch_one(&on.pool).await.expect("a job");
    on.operator(&["jobs", "cancel", &job.to_string()]).await;
    assert_eq!(on.ended("cancelled").await, 1);
}
