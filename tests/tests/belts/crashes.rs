//! Workers that die.

use std::time::Duration;

use pulsecal_tests::wait::until;

use crate::set_up::{RESCUE, SOON, SetUp};
use crate::{Belt, on_both_belts_at_once};

on_both_belts_at_once!(
    row_3_4_a_killed_workers_jobs_run_elsewhere_within_30_s,
    row_3_a_job_that_kills_its_worker_dies_alone,
    long_jobs_of_a_killed_worker_do_not_wait_for_each_other,
    beside_a_job_that_kills_nobody_dies_and_most_are_soon_done,
    row_5_a_worker_that_stood_still_finishes_nothing,
);

/// Rows 3 and 4. Stock's defaults take 300 s, count no attempt, and run again what had ended.
async fn row_3_4_a_killed_workers_jobs_run_elsewhere_within_30_s(belt: Belt) {
    let on = SetUp::new(belt).await;
    let doomed = on.worker().await;
    on.enqueue(6, r#""nothing""#).await;
    on.wait_ended(6, 0, SOON).await;
    on.enqueue(60, r#"{"sleep_ms": 500}"#).await;
    on.wait_running(8).await;
    doomed.kill9();
    let killed = tokio::time::Instant::now();
    let lost = on.running().await;
    assert!(lost > 0, "it was killed between two jobs");
    let _other = on.worker_with("32").await;
    let again =
        "SELECT count(*) FROM job_attempts a JOIN job_retries lost ON lost.job_id = a.job_id AND lost.outcome = 'lost'
                 WHERE a.attempt = 2";
    until(RESCUE, "the killed worker's jobs run again", async || (on.count(again).await == lost).then_some(())).await;
    assert!(killed.elapsed() < RESCUE, "{:?}", killed.elapsed());
    on.wait_ended(66, 0, SOON).await;
    assert_eq!(on.tries("lost").await, lost, "each lost try is on record");
    let attempts = on.count("SELECT sum(attempt) FROM job_history WHERE kind = 'noop'").await;
    assert_eq!(attempts, 66 + lost, "the lost attempts are counted, and nothing else ran twice");
}

/// Row 3. With stock, a job that kills its worker runs forever. Here it uses up its attempts, and takes no other with it.
async fn row_3_a_job_that_kills_its_worker_dies_alone(belt: Belt) {
    let on = SetUp::new(belt).await;
    let mut worker = on.worker().await;
    on.enqueue(6, r#"{"sleep_ms": 2500}"#).await;
    on.wait_running(6).await;
    on.enqueue(1, r#""abort""#).await;
    on.enqueue(30, r#"{"sleep_ms": 300}"#).await;
    let mut ends = 0;
    until(Duration::from_secs(120), "all have ended", async || {
        if worker.status().is_some() {
            ends += 1;
            worker = on.worker().await; // as a supervisor would
        }
        let live = on.count("SELECT count(*) FROM jobs WHERE kind = 'noop'").await;
        (live == 0).then_some(())
    })
    .await;
    assert_eq!(ends, 3, "its three attempts took a worker each");
    assert_eq!((on.ended("done").await, on.ended("dead").await), (36, 1), "(done, dead)");
    let why: String =
        sqlx::query_scalar("SELECT last_error FROM job_history WHERE state = 'dead' AND args->>'does' = 'abort'")
            .fetch_one(&on.pool)
            .await
            .expect("the dead one is the one that kills");
    assert!(why.contains("worker process died"), "{why}");
}

/// What a killed worker ran is suspect from then on. One by one, these would take 24 times 2 s.
async fn long_jobs_of_a_killed_worker_do_not_wait_for_each_other(belt: Belt) {
    let on = SetUp::new(belt).await;
    let doomed = on.worker_with("32").await;
    on.enqueue(24, r#"{"sleep_ms": 2000}"#).await;
    on.wait_running(24).await;
    doomed.kill9();
    let _other = on.worker_with("32").await;
    until(RESCUE, "its jobs are given back", async || (on.tries("lost").await == 24).then_some(())).await;
    let back = tokio::time::Instant::now();
    on.wait_ended(24, 0, Duration::from_secs(60)).await;
    assert!(back.elapsed() < Duration::from_secs(20), "{:?}, and three groups of eight take 6 s", back.elapsed());
    let second = on.count("SELECT count(*) FROM job_history WHERE kind = 'noop' AND attempt = 2").await;
    assert_eq!(second, 24, "each ran once more");
}

/// Two workers, and a supervisor that starts each again. The one that kills comes last, so that 16 innocents fill the first
/// two groups and are done after 3.5 s. One by one, two workers would have done two by then.
async fn beside_a_job_that_kills_nobody_dies_and_most_are_soon_done(belt: Belt) {
    let on = SetUp::new(belt).await;
    // A taking side waits until a third of its slots is free: with 32, the last one would be taken when others have ended.
    let first = on.worker_with("40").await;
    on.enqueue(24, r#"{"sleep_ms": 3500}"#).await;
    on.wait_running(24).await;
    on.insert("noop", 1, serde_json::json!({"i": 24, "does": "abort"})).await;
    until(SOON, "it kills its worker", async || first.status()).await;
    let mut workers = [on.worker_with("32").await, on.worker_with("32").await];
    let lost = until(RESCUE, "the rescue", async || Some(on.tries("lost").await).filter(|lost| *lost > 0)).await;
    assert!(lost > 17, "{lost} were running, too few to show anything");
    let back = tokio::time::Instant::now();
    let mut ends = 1;
    let mut most_done = None;
    until(Duration::from_secs(120), "all have ended", async || {
        for worker in &mut workers {
            if worker.status().is_some() {
                ends += 1;
                *worker = on.worker_with("32").await;
            }
        }
        let again = on.count("SELECT count(*) FROM job_history WHERE kind = 'noop' AND state = 'done' AND attempt = 2");
        if most_done.is_none() && again.await >= 16 {
            most_done = Some(back.elapsed());
        }
        let live = on.count("SELECT count(*) FROM jobs WHERE kind = 'noop'").await;
        (live == 0).then_some(())
    })
    .await;
    assert!(most_done.is_some_and(|took| took < Duration::from_secs(14)), "{most_done:?}, and one by one it is 28 s");
    assert_eq!(ends, 3, "its three attempts took a worker each");
    assert_eq!((on.ended("done").await, on.ended("dead").await), (24, 1), "(done, dead)");
    let guilty =
        on.count("SELECT count(*) FROM job_history WHERE state = 'dead' AND args->>'does' = 'abort' AND attempt = 3");
    assert_eq!(guilty.await, 1, "the dead one is the one that kills");
    let unlike =
        "SELECT count(*) FROM job_history h WHERE kind = 'noop' AND state = 'done' AND (attempt > 3 OR attempt <>
      1 + (SELECT count(*) FROM job_retries r WHERE r.job_id = h.id AND r.outcome = 'lost'))";
    assert_eq!(on.count(unlike).await, 0, "each attempt is on record, and nobody was taken along a third time");
}

/// Row 5, the other way: a worker that stands still past its rescue comes back late, and changes nothing.
async fn row_5_a_worker_that_stood_still_finishes_nothing(belt: Belt) {
    let on = SetUp::new(belt).await;
    let late = on.worker().await;
    on.enqueue(4, r#"{"sleep_ms": 3000}"#).await;
    on.wait_running(4).await;
    late.stop();
    until(RESCUE, "its jobs are given back", async || (on.tries("lost").await == 4).then_some(())).await;
    let _other = on.worker().await;
    until(SOON, "they run again", async || (on.running().await > 0).then_some(())).await;
    late.cont();
    on.wait_ended(4, 0, SOON).await;
    let attempts = on.count("SELECT count(*) FROM job_history WHERE kind = 'noop' AND attempt = 2").await;
    assert_eq!(attempts, 4, "each ended once, by its second try");
    // It works on as if nothing had been.
    on.enqueue(50, r#"{"sleep_ms": 100}"#).await;
    on.wait_ended(54, 0, SOON).await;
}
