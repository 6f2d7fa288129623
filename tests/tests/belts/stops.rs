//! Workers that stop in order, and start again.

use std::time::Duration;

use pulsecal_tests::processes::Process;

use crate::set_up::{SOON, SetUp};
use crate::{Belt, on_both_belts, on_both_belts_at_once};

on_both_belts!(row_8_9_a_stop_finishes_what_runs_gives_back_the_rest_and_a_start_goes_on);
on_both_belts_at_once!(row_10_what_outlasts_the_stop_is_given_back);

/// Rows 8 and 9. Stock refuses a worker of the same name for a heartbeat, in a hot loop.
async fn row_8_9_a_stop_finishes_what_runs_gives_back_the_rest_and_a_start_goes_on(belt: Belt) {
    let on = SetUp::new(belt).await;
    let mut worker: Option<Process> = None;
    on.enqueue(300, r#"{"sleep_ms": 100}"#).await;
    for _ in 0..3 {
        let next = on.worker().await;
        let done = on.ended("done").await;
        pulsecal_tests::wait::until(SOON, "it works at once", async || (on.ended("done").await > done).then_some(()))
            .await;
        if let Some(before) = worker.replace(next) {
            assert!(before.stop_gracefully(Duration::from_secs(8)).await.success());
        }
    }
    if let Some(last) = worker {
        assert!(last.stop_gracefully(Duration::from_secs(8)).await.success());
    }
    assert_eq!(on.running().await, 0, "nothing is left claimed");
    let waiting = on.count("SELECT count(*) FROM jobs WHERE kind = 'noop' AND attempt > 0").await;
    assert_eq!(waiting, 0, "what was given back is uncounted");
    let _worker = on.worker_with("32").await;
    on.wait_ended(300, 0, SOON).await;
    assert_eq!(on.tries("lost").await + on.tries("retry").await, 0);
    let twice = on.count("SELECT count(*) FROM job_history WHERE kind = 'noop' AND attempt <> 1").await;
    assert_eq!(twice, 0, "no attempt was used up by the stops");
}

/// Row 10. Stock leaves them in flight until the orphan time-out. The jobs' time-out is shorter than what a stop grants, so
/// that only one that holds its thread outlasts it.
async fn row_10_what_outlasts_the_stop_is_given_back(belt: Belt) {
    let on = SetUp::new(belt).await;
    let worker = on.worker().await;
    on.enqueue(1, r#"{"block_ms": 26000}"#).await;
    on.wait_running(1).await;
    let stopped = worker.stop_gracefully(Duration::from_secs(35)).await;
    assert!(stopped.success(), "{stopped}");
    assert_eq!(on.running().await, 0, "nothing is left claimed");
    let (attempt, given_back) =
        (on.count("SELECT attempt::int8 FROM jobs WHERE kind = 'noop'").await, on.tries("given_back").await);
    assert_eq!((attempt, given_back), (0, 1), "given back, uncounted");
}
