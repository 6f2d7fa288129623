//! Many doses in the same minute, and everything breaks meanwhile.

use std::time::{Duration, Instant};

use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::{Fault, Faults, Stage};
use pulsecal_tests::wait::until;

use crate::clinic::Clinic;

const DOSES: u32 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_doses_through_every_fault_are_each_sent_at_most_once_and_none_is_lost() {
    let (postgres, redis) = (Postgres::private().await, Redis::private().await);
    let clinic = Clinic::open(&postgres, &redis).await;
    // Planning must be through before the doses fall due, on a slow machine too.
    clinic.seed(DOSES, 45, "", 150).await;
    clinic.smtp.set_faults(
        Faults::seeded(20_261_122)
            .share(0.02, Fault::refuse(Stage::Mail, 451))
            .share(0.01, Fault::refuse(Stage::Dot, 452))
            .share(0.01, Fault::refuse(Stage::Rcpt, 550))
            .share(0.005, Fault::Drop(Stage::Data))
            .share(0.004, Fault::Drop(Stage::Dot))
            .share(0.004, Fault::AcceptThenDrop)
            .share(0.004, Fault::DropAfterReply)
            .share(0.0005, Fault::Hang(Stage::Rcpt)),
    );
    let mut schedulers = [clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-scheduler")];
    let mut workers =
        [clinic.start("pulsecal-worker"), clinic.start("pulsecal-worker"), clinic.start("pulsecal-worker")];

    until(Duration::from_secs(120), "the doses fall due", async || {
        (clinic.due_states().await.values().sum::<i64>() == i64::from(DOSES)).then_some(())
    })
    .await;
    let began = Instant::now();
    let mut round = 0_usize;
    while began.elapsed() < Duration::from_secs(40) {
        // The faults come on their own clock, whatever the system is doing: this is the interval between them.
        tokio::time::sleep(Duration::from_millis(1500 + 700 * (u64::try_from(round).unwrap_or(0) * 7 % 4))).await;
        match round % 6 {
            0 => again(&clinic, &mut workers[round % 3], "pulsecal-worker"),
            1 => redis.flushall().await,
            2 => again(&clinic, &mut schedulers[round % 2], "pulsecal-scheduler"),
            3 => {
                redis.kill9().await;
                redis.start_again().await;
            }
            4 => again(&clinic, &mut workers[round % 3], "pulsecal-worker"),
            _ => {
                postgres.stop_immediate().await;
                postgres.start_again().await;
            }
        }
        round += 1;
    }
    assert!(round >= 12, "only {round} faults were injected");
    clinic.smtp.set_faults(Faults::none());
    if std::env::var_os("SHOW_PROGRAMS").is_some() {
        for process in schedulers.iter().chain(&workers) {
            println!("{}\n", process.lines().join("\n"));
        }
    }
    clinic.all_settled(i64::from(DOSES), Duration::from_secs(240)).await;
    clinic.ledger_empty(Duration::from_secs(90)).await;

    let log = clinic.agrees_with_the_server().await;
    let states = clinic.due_states().await;
    let all: i64 = states.values().sum();
    assert_eq!(all, i64::from(DOSES), "a dose was lost or doubled: {states:?}");
    for state in states.keys() {
        assert!(["missed", "uncertain"].contains(&state.as_str()), "a dose is not in a final state: {states:?}");
    }
    // Each dose whose message is uncertain is listed as such, unless a later message settled it.
    let unlisted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM dose_occurrences o WHERE o.due_at <= now() AND o.state <> 'uncertain'
           AND EXISTS (SELECT FROM messages m WHERE m.subject_id = o.occurrence_id AND m.state = 'uncertain')
           AND NOT EXISTS (SELECT FROM messages m WHERE m.subject_id = o.occurrence_id AND m.state = 'sent')",
    )
    .fetch_one(&clinic.pool)
    .await
    .expect("the database reads");
    assert_eq!(unlisted, 0, "uncertain messages whose dose does not say so");
    let sent = log.get("sent").copied().unwrap_or(0);
    assert!(
        sent * 10 > usize::try_from(DOSES).unwrap_or(0) * 8,
        "most doses get their mail in spite of it all: {log:?}"
    );
    println!("{round} faults; messages {log:?}; doses {states:?}");
}

/// Kills a process in the middle of whatever it does, and starts another.
fn again(clinic: &Clinic, process: &mut Process, program: &str) {
    process.kill9();
    *process = clinic.start(program);
}
