//! The race that must not be lost: a mail that is being sent while its visit is moved or cancelled.
//!
//! A mail is stale if the server took its final dot after the transaction had committed that made it so. Postgres says when
//! that was, to the microsecond (`track_commit_timestamp`), and the SMTP server when it read the dot: both by this machine's
//! clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::clock::Clock;
use pulsecal_tests::servers::Postgres;
use pulsecal_tests::smtp_server::{Fault, Faults, Stage};
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::support::{Clinic, LIMIT, from_now};

const RACES: usize = 2000;
const AT_ONCE: usize = 24;

/// The same sequence for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// What the clients met.
#[derive(Default)]
struct Met {
    changed: usize,
    busy: usize,
    slowest: Duration,
}

/// Moves or cancels a visit at a random moment, with a mail of it in flight or about to be.
async fn race(clinic: &Clinic, visit: &Value, dice: &mut Dice, met: &mut Met) {
    tokio::time::sleep(Duration::from_micros(dice.below(30_000))).await;
    let begun = Instant::now();
    let answer = if dice.below(3) == 0 {
        clinic.act(visit, "cancel", &json!({})).await
    } else {
        let start: DateTime<Utc> = visit["starts_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
        let to = start + TimeDelta::minutes(1 + i64::try_from(dice.below(5)).expect("small"));
        clinic.act(visit, "move", &json!({"starts_at": to})).await
    };
    met.slowest = met.slowest.max(begun.elapsed());
    match answer.status {
        200 => met.changed += 1,
        503 => {
            assert!(answer.text().contains("mail") && answer.header("retry-after").is_some(), "{}", answer.text());
            met.busy += 1;
        }
        409 => {} // moved to where it is booked already, or cancelled before
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stale_goes_out_in_two_thousand_races() {
    let postgres = Postgres::private().await;
    {
        use sqlx::Connection;
        let mut conn = sqlx::PgConnection::connect(postgres.url()).await.expect("it connects");
        sqlx::query("ALTER SYSTEM SET track_commit_timestamp = on").execute(&mut conn).await.expect("it is set");
        conn.close().await.expect("it closes");
    }
    postgres.restart().await;
    let clinic = Arc::new(Clinic::open_on(&postgres).await);
    // A server that takes its time at each stage, so that sends are in flight when changes come.
    clinic.smtp.set_faults(
        Faults::default()
            .share(0.5, Fault::Slow(Stage::Dot, Duration::from_millis(60)))
            .share(0.3, Fault::Slow(Stage::Data, Duration::from_millis(30))),
    );
    let workers = [clinic.start("pulsecal-worker"), clinic.start("pulsecal-worker")];
    let _scheduler = clinic.start("pulsecal-scheduler");
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        let clinic = clinic.clone();
        clients.spawn(async move {
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (u64::try_from(client).expect("small") + 1));
            let mut met = Met::default();
            let patient = clinic.patient(2).await;
            let mut made = 0;
            while made < RACES / AT_ONCE + 1 {
                // Each client books days of its own, so that visits do not stand in each other's way.
                let day = i64::try_from(2 + made).expect("small");
                let hour = TimeDelta::minutes(i64::try_from(client).expect("small") * 50);
                let visit = clinic.book(patient, from_now(TimeDelta::days(day)) + hour).await;
                // Book, move, cancel in every order, each beside the mail of the one before.
                for _ in 0..=dice.below(3) {
                    race(&clinic, &visit, &mut dice, &mut met).await;
                    made += 1;
                }
            }
            met
        });
    }
    let mut all = Met::default();
    let mut races = 0;
    while let Some(met) = clients.join_next().await {
        let met = met.expect("a client ends well");
        races += 1;
        all.changed += met.changed;
        all.busy += met.busy;
        all.slowest = all.slowest.max(met.slowest);
    }
    assert_eq!(races, AT_ONCE);
    until(LIMIT, "no mail is due or under way", async || {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'appointment_mail' AND run_at <= now()")
                .fetch_one(&clinic.pool)
                .await
                .ok()?;
        (left == 0).then_some(())
    })
    .await;
    // A reading of both clocks at one moment.
    let (instant, wall) = (Instant::now(), Clock::system().now());
    let wall_of = |at: Instant| wall - TimeDelta::from_std(instant - at).expect("short");

    let changes: Vec<(Uuid, i64, DateTime<Utc>)> = sqlx::query_as(
        "SELECT subject_id, (detail->>'sequence')::int8, pg_xact_commit_timestamp(xmin) FROM audit_entries
         WHERE action IN ('appointment.moved', 'appointment.cancelled')",
    )
    .fetch_all(&clinic.pool)
    .await
    .expect("the audit reads");
    let outdated: HashMap<(Uuid, i64), DateTime<Utc>> =
        changes.iter().map(|(visit, sequence, at)| ((*visit, sequence - 1), *at)).collect();
    let log: Vec<(String, Uuid, String, String)> =
        sqlx::query_as("SELECT message_id, subject_id, occurrence, state FROM messages")
            .fetch_all(&clinic.pool)
            .await
            .expect("the log reads");
    let accepted = clinic.smtp.by_message_id();
    let (mut stale, mut close, mut sent, mut suppressed) = (Vec::new(), 0, 0, 0);
    for (message, visit, occurrence, state) in &log {
        let sequence: i64 = occurrence.split('/').next().and_then(|text| text.parse().ok()).expect("a sequence");
        match accepted.get(message).map(Vec::as_slice) {
            None => assert_ne!(state, "sent", "{occurrence} is on record as sent"),
            Some([mail]) => {
                assert_eq!(state, "sent", "the server took {occurrence}");
                sent += 1;
                let Some(committed) = outdated.get(&(*visit, sequence)) else { continue };
                if wall_of(mail.at) > *committed {
                    stale.push((occurrence.clone(), wall_of(mail.at) - *committed));
                }
                close += usize::from((*committed - wall_of(mail.at)).abs() < TimeDelta::milliseconds(200));
            }
            Some(more) => panic!("{message} was accepted {} times", more.len()),
        }
        suppressed += usize::from(state == "suppressed");
    }
    println!(
        "{} changes, {sent} mails accepted, {suppressed} suppressed, {close} accepted within 200 ms before their change, {} refused as busy, \
         slowest change {:?}",
        all.changed, all.busy, all.slowest
    );
    assert!(stale.is_empty(), "{} stale mails: {:?}", stale.len(), &stale[..stale.len().min(5)]);
    assert_eq!(accepted.values().map(Vec::len).sum::<usize>(), sent, "every accepted mail is in the log");
    // On a quick machine a mail is always sent or under way when its change comes, on a slow one it may be due yet.
    assert!(all.changed > RACES / 3 && close + suppressed > 100, "these were races");
    assert!(all.slowest < Duration::from_secs(5), "a change waits for a bounded time");
    drop(workers);
}

/// Whoever's mail hangs in the server is told so, in bounded time, and nothing is changed; when it is settled, the change goes
/// through.
#[tokio::test]
async fn a_change_that_meets_a_hanging_send_is_refused_in_words_and_works_when_it_is_settled() {
    let clinic = Clinic::open().await;
    clinic.smtp.set_faults(Faults::default().always(Fault::Slow(Stage::Dot, Duration::from_secs(5))));
    let _worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(1).await;
    let visit = clinic.book(patient, from_now(TimeDelta::days(2))).await;
    until(LIMIT, "the mail is in flight", async || (clinic.log_of(&visit).await.first()?.1 == "sending").then_some(()))
        .await;
    let begun = Instant::now();
    let refused = clinic.act(&visit, "cancel", &json!({})).await;
    assert!(begun.elapsed() < Duration::from_millis(4500), "{:?}", begun.elapsed());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")), "{}", refused.text());
    assert_eq!(clinic.count("SELECT count(*) FROM appointments WHERE status = 'cancelled'").await, 0);
    let cancelled = until(LIMIT, "the change goes through", async || {
        let answer = clinic.act(&visit, "cancel", &json!({})).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(clinic.log_of(&visit).await.first().map(|row| row.1.clone()).as_deref(), Some("sent"));
}

/// A worker that dies with the mail in its hands does not keep the visit from being changed for ever.
#[tokio::test]
async fn a_worker_that_dies_while_sending_frees_the_visit_with_its_rescue() {
    let clinic = Clinic::open().await;
    clinic.smtp.set_faults(Faults::default().always(Fault::Hang(Stage::Dot)));
    let worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(1).await;
    let visit = clinic.book(patient, from_now(TimeDelta::days(2))).await;
    until(LIMIT, "the mail is in flight", async || (clinic.log_of(&visit).await.first()?.1 == "sending").then_some(()))
        .await;
    worker.kill9();
    clinic.smtp.set_faults(Faults::default());
    let (_worker, _scheduler) = (clinic.start("pulsecal-worker"), clinic.start("pulsecal-scheduler"));
    until(Duration::from_secs(40), "the change goes through", async || {
        let answer = clinic.act(&visit, "cancel", &json!({})).await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
    until(LIMIT, "the cancellation is sent", async || {
        let log = clinic.log_of(&visit).await;
        let state = |occurrence: &str| log.iter().find(|row| row.0 == occurrence).map(|row| row.1.clone());
        (state("0/booked")? == "uncertain" && state("1/cancelled")? == "sent").then_some(())
    })
    .await;
}
