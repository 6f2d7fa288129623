//! PulseCal's side of the protocol of `run`: enqueue, work, count what is left. It uses what every program of PulseCal uses.

use std::process::ExitCode;
use std::time::Duration;

use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ledger::Job;
use pulsecal_core::process::context;
use pulsecal_core::store::Scope;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::jobs::{Email, Latency, Noop};
use crate::stat::{self, Stat};
use crate::{support, tell};

/// Jobs of one bulk call.
const BULK: u64 = 1000;

/// One command of the protocol.
///
/// # Panics
/// If it fails: the run reports it.
pub fn main(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    match args[..] {
        ["worker"] => {
            return pulsecal_core::process::main("worker", |process| async {
                Stat::start();
                let registry = pulsecal_jobs::registry().with::<Noop>().with::<Latency>().with::<Email>();
                pulsecal_worker::run_with(process, registry).await
            });
        }
        ["enqueue", n, "noop"] => each(number(n), None, |i| Noop { i }),
        ["enqueue", n, "email"] => each(number(n), None, Email::new),
        ["enqueue-bulk", n, "noop"] => bulk(number(n), |i| Noop { i }),
        ["enqueue-bulk", n, "email"] => bulk(number(n), Email::new),
        ["enqueue-timed", n, ms] => {
            each(number(n), Some(Duration::from_millis(number(ms))), |i| Latency { i, t: stat::now_ns() });
        }
        ["left"] => left(),
        _ => panic!("unknown command {args:?}"),
    }
    ExitCode::SUCCESS
}

fn pulsecal() -> Context {
    let config = Config::from_env().unwrap_or_else(|problem| panic!("{problem}"));
    context(&config, "api").unwrap_or_else(|problem| panic!("{problem}"))
}

/// One transaction for each job, as a request of the API has it.
fn each<J: Job>(n: u64, every: Option<Duration>, job: impl Fn(u64) -> J) {
    support::block_on(async {
        let ctx = pulsecal();
        // Connected before the clock runs.
        ctx.begin(Scope::Platform).await.expect("Postgres answers");
        let mut clock = every.map(interval);
        if let Some(clock) = &mut clock {
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let began = Instant::now();
        for i in 0..n {
            if let Some(clock) = &mut clock {
                clock.tick().await;
            }
            let job = job(i);
            let mut tx = ctx.begin(Scope::Platform).await.expect("Postgres answers");
            tx.enqueue(&job).await.map_err(|error| error.to_string()).expect("a job can be enqueued");
            tx.commit().await.expect("the commit holds");
        }
        told(n, began);
    });
}

fn bulk<J: Job>(n: u64, job: impl Fn(u64) -> J) {
    support::block_on(async {
        let ctx = pulsecal();
        ctx.begin(Scope::Platform).await.expect("Postgres answers");
        let began = Instant::now();
        let mut from = 0;
        while from < n {
            let to = n.min(from + BULK);
            let jobs: Vec<J> = (from..to).map(&job).collect();
            let mut tx = ctx.begin(Scope::Platform).await.expect("Postgres answers");
            tx.enqueue_many(&jobs).await.map_err(|error| error.to_string()).expect("jobs can be enqueued");
            tx.commit().await.expect("the commit holds");
            from = to;
        }
        told(n, began);
    });
}

fn told(n: u64, began: Instant) {
    tell(&json!({"n": n, "seconds": began.elapsed().as_secs_f64()}).to_string());
}

/// Jobs that have not ended well: waiting, running, to be tried again, dead.
fn left() {
    support::block_on(async {
        let url = std::env::var("DATABASE_URL").expect("ctl says which database");
        let mut connection = PgConnection::connect(&url).await.expect("Postgres answers");
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM jobs WHERE kind LIKE 'bench\\_%')
               + (SELECT count(*) FROM job_history WHERE kind LIKE 'bench\\_%' AND state <> 'done')",
        )
        .fetch_one(&mut connection)
        .await
        .expect("the ledger reads");
        tell(&left.to_string());
    });
}
