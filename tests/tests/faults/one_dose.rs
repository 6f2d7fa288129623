//! One dose, each way that sending can end.

use std::time::Duration;

use pulsecal_tests::processes::{Finished, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::{Fault, Faults, Stage};
use pulsecal_tests::wait::until;

use crate::clinic::Clinic;

const LIMIT: Duration = Duration::from_secs(60);

async fn one_dose(faults: Faults, window: u32) -> (Clinic, Vec<pulsecal_tests::processes::Process>) {
    let clinic = Clinic::open(Postgres::shared().await, Redis::shared().await).await;
    clinic.seed(1, 1, "", window).await;
    clinic.smtp.set_faults(faults);
    let programs = vec![clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker")];
    (clinic, programs)
}

async fn message_state(clinic: &Clinic, wanted: &str) {
    until(LIMIT, &format!("the message is {wanted}"), async || {
        let state: Option<String> =
            sqlx::query_scalar("SELECT state FROM messages").fetch_optional(&clinic.pool).await.ok()?;
        (state.as_deref() == Some(wanted)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_dose_is_one_mail_and_the_ledger_log_and_audit_say_so() {
    let (clinic, _programs) = one_dose(Faults::none(), 3600).await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    message_state(&clinic, "sent").await;
    let (dose, audits, attempts): (String, i64, i64) = sqlx::query_as(
        "SELECT (SELECT state FROM dose_occurrences WHERE due_at <= now()), (SELECT count(*) FROM audit_entries WHERE action = 'message.sent'),
           (SELECT count(*) FROM job_attempts a JOIN job_history h ON h.id = a.job_id WHERE h.kind = 'medication_reminder' AND h.state = 'done')",
    )
    .fetch_one(&clinic.pool)
    .await
    .expect("the database reads");
    assert_eq!((dose.as_str(), audits, attempts), ("reminded", 1, 1));
    let mail = &clinic.smtp.accepted()[0];
    assert!(mail.raw_text().contains("multipart/alternative"), "text and HTML");
    clinic.agrees_with_the_server().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_for_now_is_tried_again_under_the_same_message_id() {
    let (clinic, _programs) = one_dose(Faults::none().next(2, Fault::refuse(Stage::Dot, 451)), 3600).await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    message_state(&clinic, "sent").await;
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM job_retries WHERE outcome = 'retry'")
        .fetch_one(&clinic.pool)
        .await
        .expect("the database reads");
    assert_eq!(tries, 2);
    clinic.agrees_with_the_server().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_for_good_is_failed_and_not_tried_again() {
    let (clinic, _programs) = one_dose(Faults::none().always(Fault::refuse(Stage::Rcpt, 550)), 3600).await;
    message_state(&clinic, "failed").await;
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE state = 'dead' AND attempt = 1")
        .fetch_one(&clinic.pool)
        .await
        .expect("the database reads");
    assert_eq!((dead, clinic.smtp.accepted().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_its_job_left_behind_is_settled() {
    let (clinic, _programs) = one_dose(Faults::none().always(Fault::refuse(Stage::Dot, 451)), 3600).await;
    message_state(&clinic, "planned").await;
    let cancelled = until(LIMIT, "the job waits and is cancelled", async || {
        let job: uuid::Uuid =
            sqlx::query_scalar("SELECT id FROM jobs WHERE kind = 'medication_reminder' AND worker IS NULL")
                .fetch_optional(&clinic.pool)
                .await
                .ok()??;
        let done = run("pulsecal", &["jobs", "cancel", &job.to_string()], clinic.env(), LIMIT).await;
        done.status.success().then_some(job)
    })
    .await;
    message_state(&clinic, "suppressed").await;
    let told: (String, String) = sqlx::query_as(
        "SELECT m.reason, a.outcome FROM messages m JOIN audit_entries a ON a.subject_id = m.id WHERE m.job_id = $1 AND a.actor_id = $1",
    )
    .bind(cancelled)
    .fetch_one(&clinic.pool)
    .await
    .expect("the log and the audit read");
    assert!(told.0.ends_with("its job ended as cancelled"), "{}", told.0);
    assert_eq!(told.1, "suppressed");
    assert_eq!(clinic.smtp.accepted().len(), 0);
}

/// More doses than have a turn at 32 connections, and a server that takes 13 s for each of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_makes_nothing_uncertain_that_waits_for_a_connection() {
    let clinic = Clinic::open(Postgres::shared().await, Redis::shared().await).await;
    clinic.seed(80, 1, "", 3600).await;
    clinic.smtp.set_faults(Faults::none().next(32, Fault::Slow(Stage::Rcpt, Duration::from_secs(13))));
    let _programs = [clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker")];
    clinic.smtp.wait_accepted(80, LIMIT).await;
    clinic.ledger_empty(LIMIT).await;
    let snoozed = count(&clinic, "SELECT count(*) FROM job_retries WHERE outcome = 'snoozed'").await;
    assert!(snoozed > 0, "those without a turn were freed");
    assert_eq!(count(&clinic, "SELECT count(*) FROM messages WHERE state = 'sent'").await, 80);
    clinic.agrees_with_the_server().await;
}

/// `pulsecal jobs retry` of the one reminder job.
async fn retry(clinic: &Clinic) -> Finished {
    let job: uuid::Uuid = sqlx::query_scalar("SELECT DISTINCT id FROM job_list WHERE kind = 'medication_reminder'")
        .fetch_one(&clinic.pool)
        .await
        .expect("there is one job");
    run("pulsecal", &["jobs", "retry", &job.to_string(), "--json"], clinic.env(), LIMIT).await
}

/// How the reminder job ended the last time, and how often it has ended.
async fn job_ends(clinic: &Clinic) -> (String, i64) {
    clinic.ledger_empty(LIMIT).await;
    sqlx::query_as(
        "SELECT (array_agg(state ORDER BY ended_at DESC))[1], count(*) FROM job_history WHERE kind = 'medication_reminder'",
    )
    .fetch_one(&clinic.pool)
    .await
    .expect("the history reads")
}

async fn execute(clinic: &Clinic, sql: &'static str) {
    sqlx::query(sql).execute(&clinic.pool).await.expect("changed");
}

async fn count(clinic: &Clinic, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&clinic.pool).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_sent_by_a_retry_once_and_under_the_same_message_id() {
    let (clinic, _programs) = one_dose(Faults::none().next(1, Fault::refuse(Stage::Rcpt, 550)), 3600).await;
    message_state(&clinic, "failed").await;
    assert_eq!(job_ends(&clinic).await, ("dead".to_owned(), 1));
    let (message, message_id): (uuid::Uuid, String) =
        sqlx::query_as("SELECT id, message_id FROM messages").fetch_one(&clinic.pool).await.expect("the log reads");
    assert_eq!(clinic.smtp.accepted().len(), 0);

    let retried = retry(&clinic).await;
    assert!(retried.status.success(), "{}", retried.stderr);
    assert!(retried.stdout.contains(&message.to_string()), "it says which message: {}", retried.stdout);
    message_state(&clinic, "sent").await;
    assert_eq!(job_ends(&clinic).await, ("done".to_owned(), 2));
    let accepted = clinic.smtp.by_message_id();
    assert_eq!(accepted.into_iter().map(|(id, copies)| (id, copies.len())).collect::<Vec<_>>(), [(message_id, 1)]);
    assert_eq!(clinic.due_states().await.get("reminded"), Some(&1));
    let audited = "SELECT count(*) FROM audit_entries WHERE actor_kind = 'operator' AND outcome = 'success' AND
      ((action, subject_id) IN (SELECT 'message.retry', id FROM messages) OR (action, subject_id) IN (SELECT 'job.retry', job_id FROM messages))";
    assert_eq!(count(&clinic, audited).await, 2);

    // There is nothing to retry any more; and were the job on record as dead, its message would still not go out again.
    let again = retry(&clinic).await;
    assert!(!again.status.success() && again.stderr.contains("no such dead job"), "{}", again.stderr);
    execute(&clinic, "UPDATE job_history SET state = 'dead'").await;
    let again = retry(&clinic).await;
    assert!(again.status.success() && !again.stdout.contains(&message.to_string()), "{}", again.stdout);
    assert_eq!(job_ends(&clinic).await, ("done".to_owned(), 3));
    assert_eq!(clinic.smtp.accepted().len(), 1, "what was sent is not sent again");
    assert_eq!(count(&clinic, "SELECT count(*) FROM audit_entries WHERE action = 'message.retry'").await, 1);
    clinic.agrees_with_the_server().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uncertain_or_stale_is_not_sent_by_a_retry() {
    let (clinic, _programs) = one_dose(Faults::none().next(1, Fault::AcceptThenDrop), 3600).await;
    message_state(&clinic, "uncertain").await;
    assert_eq!(job_ends(&clinic).await, ("done".to_owned(), 1));
    execute(&clinic, "UPDATE job_history SET state = 'dead'").await;
    assert!(retry(&clinic).await.status.success());
    assert_eq!(job_ends(&clinic).await, ("done".to_owned(), 2));
    message_state(&clinic, "uncertain").await;
    assert_eq!(clinic.smtp.accepted().len(), 1, "the server had it already");

    let (clinic, _programs) = one_dose(Faults::none().next(1, Fault::refuse(Stage::Rcpt, 550)), 3600).await;
    message_state(&clinic, "failed").await;
    assert_eq!(job_ends(&clinic).await, ("dead".to_owned(), 1));
    execute(&clinic, "UPDATE dose_occurrences SET state = 'taken', next_at = NULL WHERE due_at <= now()").await;
    assert!(retry(&clinic).await.status.success());
    message_state(&clinic, "suppressed").await;
    assert_eq!(job_ends(&clinic).await, ("cancelled".to_owned(), 2));
    assert_eq!(count(&clinic, "SELECT count(*) FROM messages WHERE reason = 'the dose is taken'").await, 1);
    assert_eq!(clinic.smtp.accepted().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_before_data_is_tried_again() {
    let (clinic, _programs) = one_dose(Faults::none().next(1, Fault::Drop(Stage::Data)), 3600).await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    message_state(&clinic, "sent").await;
    clinic.agrees_with_the_server().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_after_data_is_uncertain_and_never_sent_again() {
    for fault in [Fault::Drop(Stage::Dot), Fault::AcceptThenDrop] {
        let (clinic, _programs) = one_dose(Faults::none().next(1, fault), 3).await;
        message_state(&clinic, "uncertain").await;
        clinic.all_settled(1, LIMIT).await;
        assert_eq!(clinic.due_states().await.get("uncertain"), Some(&1));
        clinic.agrees_with_the_server().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_dose_is_nudged_and_then_missed() {
    let clinic = Clinic::open(Postgres::shared().await, Redis::shared().await).await;
    clinic.seed(1, 1, "1,2", 4).await;
    let _programs = [clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker")];
    clinic.all_settled(1, LIMIT).await;
    clinic.ledger_empty(LIMIT).await;
    assert_eq!(clinic.due_states().await.get("missed"), Some(&1));
    let counts = clinic.agrees_with_the_server().await;
    assert_eq!(counts.get("sent"), Some(&3), "the reminder and two nudges");
}
