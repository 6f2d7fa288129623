//! One dose, each way that sending can end.

use std::time::Duration;

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
