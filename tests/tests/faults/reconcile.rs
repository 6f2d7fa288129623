//! `pulsecal reconcile`: a clinic that worked agrees with itself, and each row that does not is named.

use std::time::Duration;

use pulsecal_tests::processes::{Finished, run};
use pulsecal_tests::servers::{Postgres, Redis};
use serde_json::Value;
use uuid::Uuid;

use crate::clinic::Clinic;

const LIMIT: Duration = Duration::from_secs(60);

/// One dose that was reminded of ten minutes ago, with its message, its job and all that belongs to it. A test changes what
/// is to disagree. The numbers are the ids: 11 the reminder, 12 the dose, 13 the message, 14 the job.
const ONE_REMINDED_DOSE: &str = "
  INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES (ID(1), 'Harbour Clinic', 'UTC', now(), now());
  INSERT INTO people (person_id, org_id, role, given_name, family_name, email, created_at, updated_at)
    VALUES (ID(2), ID(1), 'patient', 'Ada', 'Okafor', 'ada@example.org', now(), now());
  INSERT INTO prescriptions (prescription_id, org_id, patient_id, medicine, created_at, updated_at)
    VALUES (ID(3), ID(1), ID(2), 'Ramipril 5 mg', now(), now());
  INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, next_plan_at, created_at, updated_at)
    VALUES (ID(11), ID(1), ID(3), ID(2), '{}', 'wall_clock', now() + interval '1 day', now(), now());
  INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, state, ladder_at, step, next_at, reminded_at, updated_at)
    VALUES (ID(12), ID(1), ID(11), ID(2), '2026-01-01', T, 'UTC', 'reminded', T, 1, now() + interval '50 minutes', now(), now());
  INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level,
      job_id, job_attempt, job_worker, created_at, sending_at, settled_at)
    VALUES (ID(13), ID(1), 'medication_reminder', ID(12), L || '/0', ID(2), 'email', '<13@example.org>', 'sent', 'critical', 0,
      ID(14), 1, ID(9), T, T, T);
  INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, attempt, max_attempts, crashes, worker, enqueued_at, state, ended_at)
    VALUES (ID(14), 'medication_reminder', 'reminders', 0,
      jsonb_build_object('v', 1, 'org', ID(1), 'dose', ID(12), 'ladder', L::bigint, 'step', 0), ID(1), T, 1, 12, 0, ID(9), T, 'done', T)";
/// A worker with id 9 that beats, and the job 20 that it runs.
const ONE_RUNNING_JOB: &str = "
  INSERT INTO processes (process_id, kind, host, pid, started_at, beat_at) VALUES (ID(9), 'worker', 'h', 1, now(), now());
  INSERT INTO jobs (id, kind, queue, args, run_at, attempt, max_attempts, worker, started_at, enqueued_at)
    VALUES (ID(20), 'noop', 'maintenance', '{\"i\": 1}', now() - interval '1 hour', 2, 3, ID(9), now() - interval '1 hour', now())";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Writes ids and the moment of the dose out, and executes.
async fn execute(clinic: &Clinic, sql: &str) {
    let mut sql = sql.replace("L ||", "extract(epoch FROM T)::bigint ||").replace("L::", "extract(epoch FROM T)::");
    for number in (1..=30).rev() {
        sql = sql.replace(&format!("ID({number})"), &format!("'{}'::uuid", id(number)));
    }
    let sql = sql
        .replace(" T,", " date_trunc('second', now() - interval '10 minutes'),")
        .replace(" T)", " date_trunc('second', now() - interval '10 minutes'))");
    let shown = sql.clone();
    // One transaction, so that all of it has one now().
    let mut tx = clinic.pool.begin().await.expect("begins");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    tx.commit().await.expect("commits");
}

async fn clinic(sql: &[&str]) -> Clinic {
    let clinic = Clinic::open(Postgres::shared().await, Redis::shared().await).await;
    for sql in sql {
        execute(&clinic, sql).await;
    }
    clinic
}

async fn reconcile(clinic: &Clinic, more: &[&str]) -> (i32, Finished) {
    let out = run("pulsecal", &[&["reconcile"], more].concat(), clinic.env(), LIMIT).await;
    (out.status.code().expect("ended"), out)
}

/// The checks that do not agree, each with its count and ids, and the exit code.
async fn differing(clinic: &Clinic) -> (i32, Vec<(String, i64, Vec<Uuid>)>) {
    let (code, out) = reconcile(clinic, &["--json"]).await;
    let report: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}{}", out.stdout, out.stderr));
    assert_eq!(report["agree"], code == 0, "{report}");
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 9);
    let differ = checks.iter().filter(|check| check["result"] != "agrees").map(|check| {
        assert_eq!(check["result"], "differs", "{check}");
        let ids = check["ids"].as_array().expect("ids").iter();
        let ids = ids.map(|id| id.as_str().and_then(|id| id.parse().ok()).expect("an id")).collect();
        (check["check"].as_str().expect("a name").to_owned(), check["count"].as_i64().expect("a count"), ids)
    });
    (code, differ.collect())
}

/// With these changes exactly this check names exactly this row.
async fn names_it(base: &[&str], change: &str, check: &str, row: u128, code: i32) {
    let clinic = clinic(base).await;
    assert_eq!(differing(&clinic).await, (0, vec![]), "before: {change}");
    execute(&clinic, change).await;
    assert_eq!(differing(&clinic).await, (code, vec![(check.to_owned(), 1, vec![id(row)])]), "{change}");
    let (said_code, said) = reconcile(&clinic, &[]).await;
    assert_eq!(said_code, code);
    assert!(said.stdout.contains(check) && said.stdout.contains(&id(row).to_string()), "{}", said.stdout);
    for personal in ["Ada", "Okafor", "ada@", "Ramipril", "Harbour"] {
        assert!(!said.stdout.contains(personal), "{}", said.stdout);
    }
}

async fn all_agrees(base: &[&str], change: &str) {
    let clinic = clinic(base).await;
    execute(&clinic, change).await;
    assert_eq!(differing(&clinic).await, (0, vec![]), "{change}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clinic_that_worked_agrees_with_itself_while_it_runs_and_after() {
    let clinic = Clinic::open(Postgres::shared().await, Redis::shared().await).await;
    clinic.seed(20, 1, "1", 3600).await;
    let programs = [clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker")];
    clinic.smtp.wait_accepted(40, LIMIT).await;
    clinic.ledger_empty(LIMIT).await;
    assert_eq!(differing(&clinic).await, (0, vec![]), "while it runs");
    let (code, said) = reconcile(&clinic, &[]).await;
    assert_eq!(code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("Ledger, belt, message log and dose plan agree."), "{}", said.stdout);
    for program in &programs {
        program.stop_gracefully(LIMIT).await;
    }
    assert_eq!(differing(&clinic).await, (0, vec![]), "after it stopped");
}

#[tokio::test]
async fn jobs_that_run_nowhere_are_named() {
    let check = "job_without_worker";
    let silent = "UPDATE processes SET beat_at = now() - interval '31 seconds'";
    names_it(&[ONE_RUNNING_JOB], silent, check, 20, 1).await;
    names_it(&[ONE_RUNNING_JOB], "DELETE FROM processes", check, 20, 1).await;
    // It began just now: the rescue has not looked yet.
    all_agrees(&[ONE_RUNNING_JOB], "DELETE FROM processes; UPDATE jobs SET started_at = now() - interval '60 seconds'")
        .await;
}

#[tokio::test]
async fn due_jobs_that_are_on_no_list_are_named_as_lagging() {
    let waiting = "INSERT INTO jobs (id, kind, queue, priority, args, run_at, max_attempts, enqueued_at)
      VALUES (ID(21), 'noop', 'exports', 2, '{\"i\": 1}', now() - interval '61 seconds', 3, now())";
    names_it(&[], waiting, "job_off_belt", 21, 0).await;
    for list in ["2", "suspects"] {
        let clinic = clinic(&[waiting]).await;
        let key = format!("{{{}:exports}}:{list}", clinic.db.name());
        let client = redis::Client::open(Redis::shared().await.url()).expect("a URL");
        let mut line = client.get_multiplexed_async_connection().await.expect("Redis can be reached");
        let push = redis::cmd("RPUSH").arg(key).arg(&b"no id"[..]).arg(&id(21).as_bytes()[..]).clone();
        let _: i64 = push.query_async(&mut line).await.expect("pushed");
        assert_eq!(differing(&clinic).await, (0, vec![]), "it is on the list {list}");
    }
    all_agrees(&[], &waiting.replace("61 seconds", "30 seconds")).await;
}

#[tokio::test]
async fn a_belt_that_is_away_is_not_called_checked() {
    let clinic = clinic(&[]).await;
    let env = clinic.env().into_iter().filter(|(name, _)| name != "REDIS_URL");
    let out = run("pulsecal", &["reconcile", "--json"], env, LIMIT).await;
    let report: Value = serde_json::from_str(&out.stdout).expect("JSON");
    let belt = report["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "job_off_belt");
    let belt = belt.expect("the check");
    assert_eq!(belt["result"], "not checked");
    assert!(belt["problem"].as_str().is_some_and(|problem| problem.contains("Redis")), "{belt}");
    assert_eq!(out.status.code(), Some(0), "the belt may be lost at any time");
}

#[tokio::test]
async fn messages_that_nobody_sends_any_more_are_named() {
    let held = "INSERT INTO jobs (id, kind, queue, args, run_at, attempt, max_attempts, worker, started_at, enqueued_at)
        VALUES (ID(22), 'medication_reminder', 'reminders', '{}', now(), 1, 12, ID(9), now(), now());
      INSERT INTO processes (process_id, kind, host, pid, started_at, beat_at) VALUES (ID(9), 'worker', 'h', 1, now(), now());
      INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level,
          job_id, job_attempt, job_worker, created_at, sending_at)
        VALUES (ID(23), ID(1), 'medication_reminder', ID(12), 'x/1', ID(2), 'email', '<23@example.org>', 'sending', 'critical', 0,
          ID(22), 1, ID(9), now(), now() - interval '61 seconds')";
    let base = [ONE_REMINDED_DOSE, held];
    let check = "message_without_claim";
    names_it(
        &base,
        "UPDATE jobs SET worker = NULL, started_at = NULL, run_at = now() + interval '1 hour'",
        check,
        23,
        1,
    )
    .await;
    names_it(&base, "UPDATE jobs SET attempt = 2", check, 23, 1).await;
    names_it(&base, "DELETE FROM jobs", check, 23, 1).await;
    all_agrees(
        &base,
        "DELETE FROM jobs; UPDATE messages SET sending_at = now() - interval '30 seconds' WHERE id = ID(23)",
    )
    .await;
}

#[tokio::test]
async fn doses_that_do_not_know_of_their_message_are_named() {
    for state in ["planned", "due", "snoozed", "uncertain"] {
        let change = format!("UPDATE dose_occurrences SET state = '{state}'");
        names_it(&[ONE_REMINDED_DOSE], &change, "dose_not_reminded", 12, 1).await;
    }
    // What was sent before the snooze does not count for the reminder after it.
    let snoozed = "UPDATE dose_occurrences SET state = 'snoozed', ladder_at = now() + interval '20 minutes', next_at = now() + interval '20 minutes'";
    all_agrees(&[ONE_REMINDED_DOSE], snoozed).await;
    all_agrees(&[ONE_REMINDED_DOSE], "UPDATE dose_occurrences SET state = 'taken', next_at = NULL").await;
}

#[tokio::test]
async fn reminded_doses_without_a_sent_message_are_named() {
    let failed = "UPDATE messages SET state = 'failed'";
    names_it(&[ONE_REMINDED_DOSE], failed, "dose_not_sent", 12, 1).await;
    let other = "UPDATE messages SET state = 'failed'; UPDATE dose_occurrences SET state = 'due'";
    all_agrees(&[ONE_REMINDED_DOSE], other).await;
}

#[tokio::test]
async fn doses_and_plans_whose_time_went_by_are_named() {
    let base = [ONE_REMINDED_DOSE];
    let late = "UPDATE dose_occurrences SET next_at = now() - interval '121 seconds'";
    names_it(&base, late, "dose_behind", 12, 1).await;
    all_agrees(&base, "UPDATE dose_occurrences SET next_at = now() - interval '60 seconds'").await;
    let late = "UPDATE medication_reminders SET next_plan_at = now() - interval '21 minutes'";
    names_it(&base, late, "plan_behind", 11, 1).await;
    all_agrees(&base, &format!("{late}, active = false")).await;
    // The planner runs each quarter of an hour.
    all_agrees(&base, "UPDATE medication_reminders SET next_plan_at = now() - interval '15 minutes'").await;
}

#[tokio::test]
async fn done_jobs_without_a_settled_message_are_named() {
    let base = [ONE_REMINDED_DOSE, "UPDATE dose_occurrences SET state = 'taken', next_at = NULL"];
    let check = "job_without_message";
    names_it(&base, "UPDATE messages SET state = 'planned', settled_at = NULL", check, 14, 1).await;
    names_it(&base, "DELETE FROM messages", check, 14, 1).await;
    names_it(&base, "UPDATE messages SET occurrence = 'x/0'", check, 14, 1).await;
    for state in ["suppressed", "failed"] {
        all_agrees(&base, &format!("UPDATE messages SET state = '{state}'")).await;
    }
    all_agrees(&base, "DELETE FROM messages; UPDATE job_history SET state = 'cancelled'").await;
    // Settled by an earlier job.
    all_agrees(&base, "UPDATE messages SET job_id = ID(30)").await;
}

#[tokio::test]
async fn uncertain_messages_are_shown_and_are_no_error() {
    let change = "UPDATE messages SET state = 'uncertain'; UPDATE dose_occurrences SET state = 'uncertain'";
    names_it(&[ONE_REMINDED_DOSE], change, "message_uncertain", 13, 0).await;
}

#[tokio::test]
async fn the_oldest_come_first_and_the_rest_is_counted() {
    let late = "INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, state, ladder_at, next_at, updated_at)
      SELECT i::text::uuid, ID(1), ID(11), ID(2), now() + i::int * interval '1 second', now(), 'UTC', 'due', now(), now() - i::int * interval '1 hour', now()
      FROM (SELECT lpad(n::text, 32, '0') AS i FROM generate_series(1, 5) n) many";
    let clinic = clinic(&[late]).await;
    let (code, out) = reconcile(&clinic, &["--json", "--limit", "2"]).await;
    let report: Value = serde_json::from_str(&out.stdout).expect("JSON");
    let behind = report["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "dose_behind");
    let behind = behind.expect("the check");
    assert_eq!((code, &behind["count"]), (1, &Value::from(5)));
    assert_eq!(behind["ids"], serde_json::json!([id(5), id(4)]));
    let (_, said) = reconcile(&clinic, &["--limit", "2"]).await;
    assert!(said.stdout.contains("and 3 more"), "{}", said.stdout);
    let (_, help) = reconcile(&clinic, &["--help"]).await;
    assert!(help.stdout.contains("reads the whole table"), "{}", help.stdout);
}
