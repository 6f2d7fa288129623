//! Schedules fire once, plans follow the patient, and servers may be away.

use std::time::Duration;

use pulsecal_tests::fault_proxy::{FaultProxy, Mode, url_through};
use pulsecal_tests::processes::{Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
use sqlx::PgPool;

use crate::clinic::Clinic;

const LIMIT: Duration = Duration::from_secs(60);

async fn shared() -> Clinic {
    Clinic::open(Postgres::shared().await, Redis::shared().await).await
}

async fn add_schedule(pool: &PgPool, name: &str, cron: &str, misfire: &str, decided_before: &str) {
    sqlx::query(
        "INSERT INTO schedules (name, cron, zone, job_kind, args, overlap, misfire, decided_until, next_slot, created_at, updated_at)
         VALUES ($1, $2, 'Europe/Berlin', 'noop', '{\"i\": 1}', 'allow', $3, now() - $4::interval, now() - $4::interval, now(), now())",
    )
    .bind(name)
    .bind(cron)
    .bind(misfire)
    .bind(decided_before)
    .execute(pool)
    .await
    .expect("the schedule goes in");
}

async fn slots(pool: &PgPool, name: &str, decision: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM schedule_slots WHERE schedule = $1 AND decision = $2")
        .bind(name)
        .bind(decision)
        .fetch_one(pool)
        .await
        .expect("reads")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_and_three_workers_fire_each_slot_once_and_run_each_job_once() {
    let clinic = shared().await;
    add_schedule(&clinic.pool, "each_second", "* * * * * *", "catch_up:1000", "0 seconds").await;
    let programs: Vec<Process> = ["scheduler", "scheduler", "worker", "worker", "worker"]
        .iter()
        .map(|kind| clinic.start(&format!("pulsecal-{kind}")))
        .collect();
    until(LIMIT, "twelve slots fired", async || {
        (slots(&clinic.pool, "each_second", "fired").await >= 12).then_some(())
    })
    .await;
    sqlx::query("UPDATE schedules SET enabled = false").execute(&clinic.pool).await.expect("pauses");
    until(LIMIT, "all jobs end", async || {
        let live: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(&clinic.pool).await.ok()?;
        (live == 0).then_some(())
    })
    .await;
    drop(programs);
    let (slots, seconds, jobs, done, attempts): (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), (extract(epoch FROM max(slot_at) - min(slot_at)))::int8 + 1, count(DISTINCT job_id),
           (SELECT count(*) FROM job_history WHERE kind = 'noop' AND state = 'done'),
           (SELECT count(*) FROM job_attempts a JOIN job_history h ON h.id = a.job_id WHERE h.kind = 'noop')
         FROM schedule_slots WHERE schedule = 'each_second'",
    )
    .fetch_one(&clinic.pool)
    .await
    .expect("reads");
    assert_eq!((slots, jobs, done, attempts), (seconds, slots, slots, slots), "slots, jobs, runs differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_slots_are_handled_by_their_policy_and_none_is_skipped_silently() {
    let clinic = shared().await;
    for (name, misfire) in [("one_for_all", "coalesce"), ("newest_three", "catch_up:3"), ("none_late", "skip")] {
        add_schedule(&clinic.pool, name, "0 * * * * *", misfire, "30 minutes").await;
    }
    let _scheduler = clinic.start("pulsecal-scheduler");
    until(LIMIT, "all three schedules were looked at", async || {
        let decided: i64 = sqlx::query_scalar("SELECT count(DISTINCT schedule) FROM schedule_slots WHERE schedule IN ('one_for_all', 'newest_three', 'none_late')")
            .fetch_one(&clinic.pool)
            .await
            .ok()?;
        (decided == 3).then_some(())
    })
    .await;
    let of = async |name: &str| (slots(&clinic.pool, name, "fired").await, slots(&clinic.pool, name, "missed").await);
    let (fired, missed) = of("one_for_all").await;
    assert!((1..=2).contains(&fired) && missed >= 28, "coalesce: {fired} fired, {missed} missed");
    let (fired, missed) = of("newest_three").await;
    assert!((3..=4).contains(&fired) && missed >= 26, "catch up: {fired} fired, {missed} missed");
    let (fired, missed) = of("none_late").await;
    assert!(fired <= 2 && missed >= 28, "skip: {fired} fired, {missed} missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_zone_moves_the_doses_to_come_and_the_difference_is_logged() {
    let clinic = shared().await;
    clinic.seed(1, 7200, "", 3600).await;
    let dues = "SELECT slot::text, due_at::text FROM dose_occurrences ORDER BY slot";
    let before: Vec<(String, String)> = sqlx::query_as(dues).fetch_all(&clinic.pool).await.expect("reads");
    sqlx::query("UPDATE people SET zone = 'Asia/Tokyo' WHERE role = 'patient'")
        .execute(&clinic.pool)
        .await
        .expect("moves");
    sqlx::query("UPDATE medication_reminders SET next_plan_at = now()").execute(&clinic.pool).await.expect("asks");
    let planned = run("pulsecal", &["doses", "plan"], clinic.env(), LIMIT).await;
    assert!(planned.status.success(), "{}", planned.stderr);
    let after: Vec<(String, String)> = sqlx::query_as(dues).fetch_all(&clinic.pool).await.expect("reads");
    let moved = after.iter().filter(|dose| !before.contains(dose)).count();
    assert!(moved >= 12, "{moved} doses moved: {before:?} {after:?}");
    let doubled: i64 = sqlx::query_scalar("SELECT count(*) - count(DISTINCT slot) FROM dose_occurrences")
        .fetch_one(&clinic.pool)
        .await
        .expect("reads");
    assert_eq!(doubled, 0);
    let zone: String = sqlx::query_scalar("SELECT cause FROM plan_changes ORDER BY changed_at DESC LIMIT 1")
        .fetch_one(&clinic.pool)
        .await
        .expect("reads");
    assert_eq!(zone, "zone");
    let again = run("pulsecal", &["doses", "plan"], clinic.env(), LIMIT).await;
    assert!(again.stdout.contains("0 reminders planned"), "planning again changes nothing: {}", again.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_away_at_the_start_and_later() {
    let redis = Redis::private().await;
    let clinic = Clinic::open(Postgres::shared().await, &redis).await;
    redis.kill9().await;
    clinic.seed(1, 1, "", 3600).await;
    let (scheduler, worker) = (clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker"));
    worker.wait_line("Redis is away", LIMIT).await;
    scheduler.wait_line("away or refuses", LIMIT).await;
    redis.start_again().await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    assert!(worker.status().is_none() && scheduler.status().is_none(), "nothing was restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_be_away_at_the_start_and_later() {
    let postgres = Postgres::private().await;
    let clinic = Clinic::open(&postgres, Redis::shared().await).await;
    clinic.seed(1, 20, "", 3600).await;
    postgres.stop_immediate().await;
    let (scheduler, worker) = (clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker"));
    worker.wait_line("waits for Postgres", LIMIT).await;
    scheduler.wait_line("waits for Postgres", LIMIT).await;
    postgres.start_again().await;
    worker.wait_line("takes jobs", LIMIT).await;
    postgres.restart().await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    assert!(worker.status().is_none() && scheduler.status().is_none(), "nothing was restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_stops_a_process_with_one_line_that_names_it() {
    let clinic = shared().await;
    for program in ["pulsecal-api", "pulsecal-worker", "pulsecal-scheduler"] {
        for (name, value) in [("SECRET_KEY", "short"), ("DATABASE_URL", "nonsense"), ("WORKER_QUEUES", "pigeons=1")] {
            let env = clinic
                .env()
                .into_iter()
                .filter(|(known, _)| known != name)
                .chain([(name.to_owned(), value.to_owned())]);
            let out = run(program, &[], env, LIMIT).await;
            assert_eq!(out.status.code(), Some(2), "{program} {name}");
            let said = out.stderr.trim();
            assert!(said.contains(name) && said.lines().count() == 1 && !said.contains(value), "{program}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_claim_was_lost_on_the_way_is_given_back_by_the_worker_that_does_not_know_it() {
    let clinic = shared().await;
    let proxy = FaultProxy::to_url(clinic.db.url());
    let through = url_through(clinic.db.url(), proxy.address());
    let env = clinic.env().into_iter().map(|(name, value)| {
        let value = if name == "DATABASE_URL" { through.clone() } else { value };
        (name, value)
    });
    let worker = Process::spawn("pulsecal-worker", env);
    let _scheduler = clinic.start("pulsecal-scheduler");
    // Until then every queue stands still, and a worker that is cut off before claims nothing.
    worker.wait_line("orders: no queue is paused", LIMIT).await;
    // What the ledger looks like when a claim was committed and its answer never arrived.
    sqlx::query(
        "INSERT INTO jobs (id, kind, queue, args, run_at, attempt, max_attempts, worker, started_at, enqueued_at)
         SELECT gen_random_uuid(), 'noop', 'maintenance', '{\"i\": 7}', now() - interval '1 minute', 1, 3, process_id,
           now() - interval '1 minute', now() FROM processes WHERE kind = 'worker'",
    )
    .execute(&clinic.pool)
    .await
    .expect("the job goes in");
    proxy.set(Mode::Refuse).await;
    proxy.close_existing().await;
    let tried = run("pulsecal", &["jobs", "try"], clinic.env(), LIMIT).await;
    assert!(tried.status.success(), "{}", tried.stderr);
    // Said by whoever claims, not by another loop: only a claim without an answer leaves the doubt that this is about.
    worker.wait_line("belt.take: Postgres is away", LIMIT).await;
    proxy.set(Mode::Pass).await;
    until(LIMIT, "both jobs are done", async || {
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE kind = 'noop' AND state = 'done'")
            .fetch_one(&clinic.pool)
            .await
            .ok()?;
        (done == 2).then_some(())
    })
    .await;
    worker.wait_line("claim was lost", LIMIT).await;
}
