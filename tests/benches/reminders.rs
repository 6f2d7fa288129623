//! How fast reminders go out: N doses due at one instant, each a mail, end to end and with all that the ledger records,
//! beside a client that only speaks SMTP over as many connections to the same sink.
//!
//! `./dev bench reminders -- --doses 20000,100000 --workers 1,2 --slots 64,256 --connections 16`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_tests::processes::Process;
use serde_json::json;
use tokio::time::{Instant, sleep};

use support::bed::{Bed, START_LIMIT};
use support::options::Options;
use support::report::Report;
use support::sink::Sink;
use support::usage;

/// Without a new mail for so long, the run has failed.
const STALL: Duration = Duration::from_secs(60);
const MIB_AIM: f64 = 64.0;

fn main() {
    let options = Options::read(&["--doses", "--workers", "--slots", "--connections"]);
    let doses: Vec<u32> = options.values("--doses", "20000,100000");
    let workers: Vec<usize> = options.values("--workers", "1,2");
    let slots: Vec<usize> = options.values("--slots", "512");
    let connections = options.value("--connections", 16);
    support::block_on(async {
        let mut sink = Sink::start().await;
        let mut report = None;
        for doses in doses {
            for (workers, slots) in workers.iter().flat_map(|workers| slots.iter().map(move |slots| (*workers, *slots)))
            {
                let bed = Bed::open().await;
                if report.is_none() {
                    let mut new = Report::new("reminders", &bed).await;
                    new.fact("sink", sink.kind());
                    new.fact("connections_per_worker", connections);
                    new.fact("aims", "ratio to smtp-loop at least 0.5 with one worker; peak of a worker under 64 MiB");
                    report = Some(new);
                }
                if let Some(report) = &mut report {
                    let size = Size { doses, workers, slots, connections };
                    measure(report, &bed, &mut sink, size).await;
                }
            }
        }
        if let Some(report) = report {
            report.finish();
        }
    });
}

/// How large a run is.
struct Size {
    doses: u32,
    workers: usize,
    /// Reminders that a worker runs at once.
    slots: usize,
    /// SMTP connections of a worker.
    connections: usize,
}

async fn measure(report: &mut Report, bed: &Bed, sink: &mut Sink, size: Size) {
    let Size { doses, workers, slots, connections } = size;
    let due_at = prepare(bed, doses).await;
    let smtp = sink.url(connections);
    let scheduler = bed.scheduler().await;
    let queues = format!("reminders={slots},mail=64,exports=2,backups=1,maintenance=4");
    let mut programs = Vec::new();
    for _ in 0..workers {
        let worker = Process::spawn("pulsecal-worker", bed.env(&[("SMTP_URL", &smtp), ("WORKER_QUEUES", &queues)]));
        worker.wait_line("takes jobs", START_LIMIT).await;
        programs.push(worker);
    }
    sink.reset();
    assert!(due_at - bed.clock.now() > TimeDelta::seconds(1), "the programs were not ready before the doses fell due");
    sleep_until(bed, due_at - TimeDelta::milliseconds(100)).await;
    let before = Costs::now(bed, sink, &programs, &scheduler).await;
    sleep_until(bed, due_at).await;

    let wanted = u64::from(doses);
    let (mut seen, mut since, mut first_ms) = (0, Instant::now(), None);
    while seen < wanted {
        sleep(Duration::from_millis(5)).await;
        let now = sink.count();
        if now > seen {
            (seen, since) = (now, Instant::now());
            first_ms.get_or_insert_with(|| millis(bed.clock.now() - due_at));
        }
        assert!(since.elapsed() < STALL, "{seen} of {wanted} mails went out, and then none for {STALL:?}");
    }
    let mailed = millis(bed.clock.now() - due_at) / 1000.0;
    while bed.count("SELECT count(*) FROM jobs WHERE kind = 'medication_reminder'").await > 0 {
        assert!(since.elapsed() < STALL, "jobs are left in the ledger");
        sleep(Duration::from_millis(5)).await;
    }
    let settled = millis(bed.clock.now() - due_at) / 1000.0;
    let cost = Costs::now(bed, sink, &programs, &scheduler).await;
    let taken = sink.taken();
    assert_eq!((taken.messages, taken.recipients), (wanted, wanted), "each patient gets one mail");
    let sent = bed.count("SELECT count(*) FROM messages WHERE state = 'sent'").await;
    assert_eq!(sent, i64::from(doses), "each mail is on record as sent");
    let peak = programs.iter().map(|worker| usage::peak_mib(worker.pid())).fold(0.0, f64::max);
    let scheduler_peak = usage::peak_mib(scheduler.pid());
    for program in programs.iter().chain([&scheduler]) {
        program.stop_gracefully(Duration::from_secs(40)).await;
    }

    let octets = taken.bytes / wanted.max(1);
    let all = connections * workers;
    let messages = wanted.min(50_000);
    let plain = sink.smtp_loop(all, messages, octets, false).await;
    let pipelined = sink.smtp_loop(all, messages, octets, true).await;
    let mails = f64::from(doses);
    let rate = mails / mailed;
    let per_mail = |now: f64, then: f64| json!((now - then) / mails * 1e6);
    report.row([
        ("doses", json!(doses)),
        ("workers", json!(workers)),
        ("slots", json!(slots)),
        ("mails/s", json!(rate)),
        ("smtp-loop/s", json!(plain)),
        ("ratio", json!(plain.map(|raw| rate / raw))),
        ("pipelined loop/s", json!(pipelined)),
        ("ratio to it", json!(pipelined.map(|raw| rate / raw))),
        ("first mail ms", json!(first_ms)),
        ("recorded after s", json!(settled)),
        ("worker peak MiB", json!(peak)),
        ("peak under 64", json!(peak < MIB_AIM)),
        ("scheduler peak MiB", json!(scheduler_peak)),
        ("octets a mail", json!(octets)),
        ("worker µs a mail", per_mail(cost.workers, before.workers)),
        ("scheduler µs", per_mail(cost.scheduler, before.scheduler)),
        ("Postgres µs", per_mail(cost.postgres, before.postgres)),
        ("sink µs", per_mail(cost.sink, before.sink)),
        ("machine busy cores", json!((cost.machine - before.machine) / (cost.clock - before.clock))),
        ("mails a commit", json!(mails / (cost.commits - before.commits).max(1.0))),
        ("WAL octets a mail", json!((cost.wal - before.wal) / mails)),
    ]);
}

/// Loads the clinic and says when its doses fall due: late enough for all that comes before.
async fn prepare(bed: &Bed, doses: u32) -> DateTime<Utc> {
    let patients = doses.to_string();
    bed.pulsecal(&["seed", "demo", "--patients", &patients, "--due-in=36000", "--nudge-after=", "--window", "3600"])
        .await;
    // Loading takes as long as it takes, so the first dose of each is moved to an instant that is known only now.
    let due_at = bed.clock.now() + TimeDelta::seconds(15 + i64::from(doses) / 3000);
    let moved = sqlx::query(
        "UPDATE dose_occurrences SET due_at = $1, ladder_at = $1, next_at = $1 WHERE due_at < now() + interval '11 hours'",
    )
    .bind(due_at)
    .execute(&bed.pool)
    .await
    .expect("doses can be moved");
    assert_eq!(moved.rows_affected(), u64::from(doses), "one dose of each patient falls due");
    bed.settle().await;
    due_at
}

async fn sleep_until(bed: &Bed, at: DateTime<Utc>) {
    if let Ok(wait) = (at - bed.clock.now()).to_std() {
        sleep(wait).await;
    }
}

fn millis(span: TimeDelta) -> f64 {
    span.as_seconds_f64() * 1000.0
}

/// What has been spent so far.
struct Costs {
    workers: f64,
    scheduler: f64,
    postgres: f64,
    sink: f64,
    machine: f64,
    commits: f64,
    wal: f64,
    /// The time of this reading, in seconds.
    clock: f64,
}

impl Costs {
    async fn now(bed: &Bed, sink: &Sink, workers: &[Process], scheduler: &Process) -> Self {
        let (commits, wal): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
               pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
        )
        .fetch_one(&bed.pool)
        .await
        .expect("Postgres counts");
        Self {
            workers: workers.iter().map(|worker| usage::cpu_seconds(worker.pid())).sum(),
            scheduler: usage::cpu_seconds(scheduler.pid()),
            postgres: bed.postgres_cpu(),
            sink: sink.cpu(),
            machine: usage::machine_busy_seconds(),
            commits: number(commits),
            wal: number(wal),
            clock: number(bed.clock.now().timestamp_millis()) / 1000.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn number(count: i64) -> f64 {
    count as f64
}
