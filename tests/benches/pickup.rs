//! How long a job waits on an idle installation: from the commit of the transaction that enqueued it to its handler's start.
//!
//! `./dev bench pickup -- --jobs 1000 --every-ms 10`
//!
//! The worker is the real one with one more kind of job; this program starts itself again to be it.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::fs::File;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pulsecal_core::context::{Context, RunContext};
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::Scope;
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use support::bed::{Bed, START_LIMIT};
use support::options::Options;
use support::report::{Report, spread};

/// Where the worker writes when its handlers started.
const FILE: &str = "PULSECAL_BENCH_STARTS";
const P99_AIM: f64 = 5.0;

/// A job that writes down when it started.
#[derive(Serialize, Deserialize)]
struct Timed {
    i: usize,
}

impl Job for Timed {
    const KIND: &'static str = "bench_timed";
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::Normal,
        attempts: 1,
        backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(1) },
        timeout: Duration::from_secs(5),
        expires_after: None,
    };

    async fn run(&self, ctx: &RunContext) -> JobResult {
        static STARTS: OnceLock<Mutex<File>> = OnceLock::new();
        let now = ctx.clock.now();
        let starts = STARTS.get_or_init(|| {
            let path = std::env::var_os(FILE).expect("the bench names the file");
            Mutex::new(File::options().append(true).create(true).open(path).expect("the file can be written"))
        });
        let line = format!("{} {}\n", self.i, now.timestamp_micros());
        starts.lock().unwrap_or_else(|broken| broken.into_inner()).write_all(line.as_bytes())?;
        Ok(Verdict::Done)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return pulsecal_core::process::main("worker", |process| {
            pulsecal_worker::run_with(process, pulsecal_jobs::registry().with::<Timed>())
        });
    }
    let options = Options::read(&["--jobs", "--every-ms"]);
    support::block_on(bench(options.value("--jobs", 1000), Duration::from_millis(options.value("--every-ms", 10))));
    ExitCode::SUCCESS
}

async fn bench(jobs: usize, every: Duration) {
    let bed = Bed::open().await;
    let mut report = Report::new("pickup", &bed).await;
    report.fact("jobs", jobs);
    report.fact("every_ms", u64::try_from(every.as_millis()).unwrap_or(0));
    report.fact("aim", "p99 under 5 ms from the commit to the handler's start");
    let starts = support::target_folder().join(format!("pickup-starts-{}", std::process::id()));
    let _scheduler = bed.scheduler().await;
    let worker = worker(&bed, &starts).await;
    let ctx = bed.context("api");
    disk(&bed.pool, 20).await;
    for i in 0..20 {
        enqueue(&ctx, jobs + i).await;
    }
    sleep(Duration::from_secs(2)).await;

    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut committed = Vec::with_capacity(jobs);
    for i in 0..jobs {
        clock.tick().await;
        committed.push(enqueue(&ctx, i).await);
    }
    let started = until(Duration::from_secs(20), "every job has started", async || {
        let text = std::fs::read_to_string(&starts).ok()?;
        let mut found = vec![None; jobs];
        for line in text.lines() {
            let (i, at) = line.split_once(' ')?;
            if let Some(place) = found.get_mut(i.parse::<usize>().ok()?) {
                *place = DateTime::<Utc>::from_timestamp_micros(at.parse().ok()?);
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>()
    })
    .await;
    drop(worker);
    let _gone = std::fs::remove_file(&starts);

    let ms = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64() * 1000.0;
    let pairs = || committed.iter().zip(&started);
    let whole: Vec<f64> = pairs().map(|(c, start)| ms(c.before, *start)).collect();
    let after: Vec<f64> = pairs().map(|(c, start)| ms(c.after, *start)).collect();
    let commit: Vec<f64> = committed.iter().map(|c| ms(c.before, c.after)).collect();
    let disk = disk(&bed.pool, jobs.min(500)).await;
    for (what, mut values, aim) in [
        ("commit begins → handler starts", whole, true),
        ("commit returned → handler starts", after, true),
        ("the commit itself, with the push", commit, false),
        ("a bare commit of one row (the disk)", disk, false),
    ] {
        let [p50, p95, p99, most] = spread(&mut values);
        report.row([
            ("from → to", json!(what)),
            ("p50 ms", json!(p50)),
            ("p95 ms", json!(p95)),
            ("p99 ms", json!(p99)),
            ("most ms", json!(most)),
            ("p99 under 5 ms", if aim { json!(p99 < P99_AIM) } else { json!("") }),
        ]);
    }
    report.finish();
}

async fn worker(bed: &Bed, starts: &std::path::Path) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("a bench knows its own file"));
    command.arg("worker").env_clear().envs(bed.env(&[])).env(FILE, starts);
    let worker = Process::spawn_command("the worker of pickup", command);
    worker.wait_line("takes jobs", START_LIMIT).await;
    worker
}

/// The moments around a commit.
struct Committed {
    before: DateTime<Utc>,
    after: DateTime<Utc>,
}

async fn enqueue(ctx: &Context, i: usize) -> Committed {
    let mut tx = ctx.begin(Scope::Platform).await.expect("Postgres answers");
    tx.enqueue(&Timed { i }).await.map_err(|error| error.to_string()).expect("a job can be enqueued");
    let before = ctx.clock.now();
    tx.commit().await.expect("the commit holds");
    Committed { before, after: ctx.clock.now() }
}

/// Milliseconds of commits of one small row each: what the disk asks of anything that is to last.
async fn disk(pool: &PgPool, count: usize) -> Vec<f64> {
    sqlx::query("CREATE TABLE IF NOT EXISTS bench_disk (i int)").execute(pool).await.expect("a table can be made");
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        sqlx::query("INSERT INTO bench_disk VALUES (1)").execute(pool).await.expect("a row can be written");
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took
}
