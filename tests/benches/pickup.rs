//! How long a job waits: from the commit of the transaction that enqueued it to its handler's start. First on an idle
//! installation, then on one where a backup and two exports of so many visits run all the time (0: without this part): in the
//! same worker, and in one of their own under `nice`.
//!
//! `./dev bench pickup -- --jobs 1000 --every-ms 10 --visits 300000`
//!
//! The worker is the real one with one more kind of job; this program starts itself again to be it.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pulsecal_core::context::{Context, RunContext};
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::sealing::Identities;
use pulsecal_core::store::Scope;
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use support::bed::{Bed, START_LIMIT};
use support::heavy::Heavy;
use support::options::Options;
use support::report::{Report, spread};

/// Where the worker writes when its handlers started.
const FILE: &str = "PULSECAL_BENCH_STARTS";
/// Its name in the bench's folder.
const STARTS: &str = "starts";
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
    let options = Options::read(&["--jobs", "--every-ms", "--visits"]);
    let every = Duration::from_millis(options.value("--every-ms", 10));
    support::block_on(bench(options.value("--jobs", 1000), every, options.value("--visits", 300_000)));
    ExitCode::SUCCESS
}

async fn bench(jobs: usize, every: Duration, visits: i32) {
    let bed = Bed::open().await;
    let mut report = Report::new("pickup", &bed).await;
    report.fact("jobs", jobs);
    report.fact("every_ms", u64::try_from(every.as_millis()).unwrap_or(0));
    report.fact("aim", "p99 under 5 ms from the commit to the handler's start; beside a backup and two exports at most twice that of idle");
    let heavy = if visits > 0 { Some(Heavy::load(&bed, visits).await) } else { None };
    let place = Place::make();
    let _scheduler = bed.scheduler().await;
    let ctx = bed.context("api");
    disk(&bed.pool, 20).await;
    let all = place.worker(&bed, None, "reminders=512,mail=64,exports=2,backups=1,maintenance=4").await;
    warm_up(&ctx).await;
    let idle = measure(&bed, &ctx, &place, 0..jobs, every).await;
    let (mut beside, mut apart) = (Vec::new(), Vec::new());
    if let Some(heavy) = heavy {
        let under_way = heavy.begin(&bed).await;
        beside = measure(&bed, &ctx, &place, jobs..2 * jobs, every).await;
        report.fact("share_of_the_time_that_all_three_ran", under_way.end().await);
        drop(all);
        let _light = place.worker(&bed, None, "reminders=512,mail=64,maintenance=4").await;
        let _heavy = place.worker(&bed, Some("10"), "exports=2,backups=1").await;
        warm_up(&ctx).await;
        let under_way = heavy.begin(&bed).await;
        apart = measure(&bed, &ctx, &place, 2 * jobs..3 * jobs, every).await;
        report.fact("share_of_the_time_that_all_three_ran_apart", under_way.end().await);
    }
    for (number, (what, [p50, p95, p99, most])) in idle.iter().enumerate() {
        let of = |waits: &Waits| waits.get(number).map_or([f64::NAN; 4], |(_, spread)| *spread);
        let ([half, _, high, _], [half_apart, _, high_apart, _]) = (of(&beside), of(&apart));
        report.row([
            ("from → to", json!(what)),
            ("p50 ms", json!(p50)),
            ("p95 ms", json!(p95)),
            ("p99 ms", json!(p99)),
            ("most ms", json!(most)),
            ("p99 under 5 ms", if number < 2 { json!(*p99 < P99_AIM) } else { json!("") }),
            ("beside heavy: p50", json!(half)),
            ("p99", json!(high)),
            ("over idle's p99", json!(high / p99)),
            ("heavy apart: p50", json!(half_apart)),
            ("p99 apart", json!(high_apart)),
            ("apart over idle's p99", json!(high_apart / p99)),
        ]);
    }
    report.finish();
}

async fn warm_up(ctx: &Context) {
    for i in 0..20 {
        enqueue(ctx, usize::MAX - i).await;
    }
    sleep(Duration::from_secs(2)).await;
}

/// What waiting is measured from and to, with `p50`, `p95`, `p99` and the longest in ms.
type Waits = Vec<(&'static str, [f64; 4])>;

/// Jobs with these numbers, one after the other.
async fn measure(bed: &Bed, ctx: &Context, place: &Place, numbers: Range<usize>, every: Duration) -> Waits {
    let (first, jobs) = (numbers.start, numbers.len());
    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut committed = Vec::with_capacity(jobs);
    for i in numbers {
        clock.tick().await;
        committed.push(enqueue(ctx, i).await);
    }
    let started = until(Duration::from_secs(60), "every job has started", async || {
        let text = std::fs::read_to_string(place.folder.path().join(STARTS)).ok()?;
        let mut found = vec![None; jobs];
        for line in text.lines() {
            let (i, at) = line.split_once(' ')?;
            if let Some(place) = i.parse::<usize>().ok()?.checked_sub(first).and_then(|place| found.get_mut(place)) {
                *place = DateTime::<Utc>::from_timestamp_micros(at.parse().ok()?);
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>()
    })
    .await;
    let ms = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64() * 1000.0;
    let pairs = || committed.iter().zip(&started);
    let mut whole: Vec<f64> = pairs().map(|(c, start)| ms(c.before, *start)).collect();
    let mut after: Vec<f64> = pairs().map(|(c, start)| ms(c.after, *start)).collect();
    let mut commit: Vec<f64> = committed.iter().map(|c| ms(c.before, c.after)).collect();
    let mut disk = disk(&bed.pool, jobs.min(500)).await;
    vec![
        ("commit begins → handler starts", spread(&mut whole)),
        ("commit returned → handler starts", spread(&mut after)),
        ("the commit itself, with the push", spread(&mut commit)),
        ("a bare commit of one row (the disk)", spread(&mut disk)),
    ]
}

/// Where blobs go, and where handlers write down that they started.
struct Place {
    folder: tempfile::TempDir,
    public: String,
}

impl Place {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Identities::generate();
        std::fs::write(folder.path().join("identity"), keys.to_file_text()).expect("written");
        std::fs::create_dir(folder.path().join("blobs")).expect("made");
        Self { folder, public: keys.recipients().ids().join(",") }
    }

    /// A worker of these queues; as `nice -n` this, if at all.
    async fn worker(&self, bed: &Bed, nice: Option<&str>, queues: &str) -> Process {
        let program = std::env::current_exe().expect("a bench knows its own file");
        let mut command = match nice {
            None => Command::new(program),
            Some(nice) => {
                let mut command = Command::new("nice");
                command.args(["-n", nice]).arg(program);
                command
            }
        };
        let folder = self.folder.path();
        command.arg("worker").env_clear().envs(bed.env(&[("WORKER_QUEUES", queues)]));
        command.env(FILE, folder.join(STARTS)).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("PG_BIN", std::env::var_os("PULSECAL_PG_BIN").unwrap_or_default());
        command.env("BLOB_URL", format!("file://{}", folder.join("blobs").display()));
        command.env("BACKUP_RECIPIENT", &self.public).env("BACKUP_IDENTITY_FILE", folder.join("identity"));
        let worker = Process::spawn_command("a worker of pickup", command);
        worker.wait_line("takes jobs", START_LIMIT).await;
        worker
    }
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
