//! Both schedules, from their slot to the row that says what came of it.

use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;

use super::support::{Clinic, LIMIT};

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_backup_and_the_drill_fire_run_and_leave_their_figures() {
    let mut clinic = Clinic::new().await;
    clinic.with_belt("backups=1").await;
    let _scheduler = {
        let scheduler = Process::spawn("pulsecal-scheduler", clinic.env());
        scheduler.wait_line("keeps time", LIMIT).await;
        scheduler
    };
    let _worker = Process::spawn("pulsecal-worker", clinic.env());
    // The clock as these schedules see it: they have decided nothing for eight days, and the slot after that is long due.
    clinic.sql("UPDATE schedules SET decided_until = now() - interval '8 days', next_slot = now() - interval '7 days 23 hours' WHERE name = 'backup_database'").await;
    until(LIMIT, "the backup is made and read back", async || {
        let sql = "SELECT count(*) FROM backups WHERE state = 'succeeded' AND verified_at IS NOT NULL";
        (clinic.count(sql).await == 1).then_some(())
    })
    .await;
    let fired = "SELECT count(*) FROM schedule_slots WHERE decision = 'fired' AND schedule = 'backup_database' AND extract(hour FROM slot_at AT TIME ZONE 'UTC') = 3";
    assert_eq!(clinic.count(fired).await, 1, "of the slots that were missed one is made up for");
    clinic.sql("UPDATE schedules SET decided_until = now() - interval '8 days', next_slot = now() - interval '7 days 23 hours' WHERE name = 'drill_backup'").await;
    until(LIMIT, "the drill is on record, with its duration and the age of what it restored", async || {
        let sql = "SELECT count(*) FROM backups WHERE drilled_at IS NOT NULL AND drill_seconds > 0 AND newest_row_at <= ended_at AND drill_problem IS NULL";
        (clinic.count(sql).await == 1).then_some(())
    })
    .await;
    let fired = "SELECT count(*) FROM schedule_slots WHERE decision = 'fired' AND schedule = 'drill_backup' AND extract(isodow FROM slot_at AT TIME ZONE 'UTC') = 7";
    assert_eq!(clinic.count(fired).await, 1, "that of Sunday, on whatever day it is");
    until(LIMIT, "both jobs are done", async || {
        let sql =
            "SELECT count(*) FROM job_history WHERE kind IN ('backup_database', 'drill_backup') AND state = 'done'";
        (clinic.count(sql).await == 2).then_some(())
    })
    .await;
}
