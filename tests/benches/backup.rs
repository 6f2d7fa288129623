//! The backup as the worker makes it (dump, hashes of all rows, zstd, age, SHA-256, store), beside `pg_dump -Fc -Z0 > file` and
//! plain `pg_dump -Fc > file` of the same database in the same run; its memory; and the drill.
//!
//! `./dev bench backup -- --megabytes 300 --rounds 3 --s3 1`
//!
//! To S3 as well when s3s-fs is found (`S3S_FS`, or on PATH).

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pulsecal_core::ledger::{Enqueued, Job};
use pulsecal_core::sealing::Identities;
use pulsecal_core::store::Scope;
use pulsecal_jobs::{BackupDatabase, DrillBackup};
use pulsecal_tests::processes::Process;
use pulsecal_tests::s3_server::S3Server;
use pulsecal_tests::wait::until;
use serde_json::json;
use tokio::time::Instant;

use support::bed::{Bed, START_LIMIT};
use support::options::Options;
use support::report::Report;
use support::usage;

const LIMIT: Duration = Duration::from_secs(1800);
/// Bytes that a row of [`LOAD`] takes in a dump.
const ROW_BYTES: i64 = 268;

/// Shaped as the audit entries, of which an installation has most; without their chain, which would take long to load.
const TABLE: &str = "CREATE TABLE bench_entries (id uuid PRIMARY KEY, org_id uuid, at timestamptz NOT NULL, actor_kind text NOT NULL, actor_id uuid,
  role text, action text NOT NULL, subject_type text NOT NULL, subject_id uuid NOT NULL, outcome text NOT NULL, request_id uuid, detail jsonb);
  CREATE INDEX ON bench_entries (subject_id, at)";
const LOAD: &str = "INSERT INTO bench_entries
  SELECT uuid('0197a000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), uuid('00000000-0000-7000-8000-' || lpad(to_hex(i % 20), 12, '0')),
    now() - interval '7 days' + i * interval '7 days' / $1, 'person', gen_random_uuid(), (ARRAY['nurse', 'doctor', 'job', 'patient'])[1 + i % 4],
    (ARRAY['dose.taken', 'patient.changed', 'message.sent', 'prescription.written', 'export.asked', 'reminder.set'])[1 + i % 6],
    'dose_occurrence', gen_random_uuid(), CASE WHEN i % 17 = 0 THEN 'failed' ELSE 'success' END, gen_random_uuid(), '{\"before\": \"due\"}'
  FROM generate_series(1::bigint, $1::bigint) i";

fn main() {
    let options = Options::read(&["--megabytes", "--rounds", "--s3"]);
    let megabytes: i64 = options.value("--megabytes", 300);
    let rounds: u32 = options.value("--rounds", 3);
    let s3: u32 = options.value("--s3", 1);
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("backup", &bed).await;
        report.fact("rounds", rounds);
        report.fact("aim", "at most 1.6 times -Z0 > file and 0.55 of -Fc; at most 64 MiB above idle");
        load(&bed, megabytes * 1_000_000 / ROW_BYTES).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dump");
        let (mut plain, mut packed) = (f64::NAN, f64::NAN);
        let mut stores = vec![Store::folder(folder.path())];
        let server = if s3 > 0 { S3Server::start(folder.path()).await } else { None };
        stores.extend(server.as_ref().map(|server| Store::new("S3", folder.path(), server.env())));
        let keys = Identities::generate();
        std::fs::write(folder.path().join("identity"), keys.to_file_text()).expect("written");
        let public = keys.recipients().ids().join(",");
        // In turn, so that none has the better half of the run.
        for _ in 0..rounds {
            plain = plain.min(pg_dump(&bed, &["-Fc", "-Z0"], &file));
            for store in &mut stores {
                store.back_up(&bed, &public).await;
            }
            packed = packed.min(pg_dump(&bed, &["-Fc"], &file));
        }
        report.row([("what", json!("pg_dump -Fc -Z0 > file, yardstick")), ("seconds", json!(plain))]);
        report.row([("what", json!("pg_dump -Fc > file, yardstick")), ("seconds", json!(packed))]);
        for store in &stores {
            let (seconds, stored) = store.best;
            report.row([
                ("what", json!(format!("backup to {}", store.name))),
                ("seconds", json!(seconds)),
                ("of -Z0", json!(seconds / plain)),
                ("of -Fc", json!(seconds / packed)),
                ("stored MB", json!(stored)),
                ("MiB above idle", json!(store.above_idle)),
                ("worker CPU s, with the reading back", json!(store.worker_cpu)),
                ("Postgres CPU s", json!(store.postgres_cpu)),
            ]);
            let drill = store.drill(&bed, &public).await;
            report.row([("what", json!(format!("drill from {}", store.name))), ("seconds", json!(drill))]);
        }
        report.finish();
    });
}

async fn load(bed: &Bed, rows: i64) {
    sqlx::raw_sql(TABLE).execute(&bed.pool).await.expect("a table");
    sqlx::query(LOAD).bind(rows).execute(&bed.pool).await.expect("rows");
    bed.settle().await;
}

/// Seconds of a plain pg_dump into a file.
fn pg_dump(bed: &Bed, arguments: &[&str], file: &Path) -> f64 {
    let url = bed.env(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL").expect("set").1;
    let mut command = Command::new(Path::new(&std::env::var("PULSECAL_PG_BIN").unwrap_or_default()).join("pg_dump"));
    command.args(arguments).arg(format!("--dbname={url}")).stdout(File::create(file).expect("a file"));
    let began = Instant::now();
    assert!(command.status().expect("pg_dump starts").success());
    began.elapsed().as_secs_f64()
}

/// A place for backups, and what the ones to it took.
struct Store {
    name: &'static str,
    env: Vec<(String, String)>,
    /// Seconds and megabytes of the fastest.
    best: (f64, f64),
    above_idle: f64,
    worker_cpu: f64,
    postgres_cpu: f64,
}

impl Store {
    fn new(name: &'static str, folder: &Path, mut env: Vec<(String, String)>) -> Self {
        env.push(("BACKUP_IDENTITY_FILE".to_owned(), folder.join("identity").display().to_string()));
        Self { name, env, best: (f64::INFINITY, 0.0), above_idle: 0.0, worker_cpu: f64::NAN, postgres_cpu: f64::NAN }
    }

    fn folder(folder: &Path) -> Self {
        let blobs = folder.join("blobs");
        std::fs::create_dir_all(&blobs).expect("made");
        Self::new("a folder", folder, vec![("BLOB_URL".to_owned(), format!("file://{}", blobs.display()))])
    }

    async fn worker(&self, bed: &Bed, public: &str) -> Process {
        let pg_bin = std::env::var("PULSECAL_PG_BIN").unwrap_or_default();
        let mut env =
            bed.env(&[("BACKUP_RECIPIENT", public), ("WORKER_QUEUES", "backups=1"), ("PG_BIN", pg_bin.as_str())]);
        env.extend(self.env.iter().cloned());
        let worker = Process::spawn("pulsecal-worker", env);
        worker.wait_line("takes jobs", START_LIMIT).await;
        worker
    }

    /// One backup by a worker of its own, which reads it back and prunes as well; only the making is timed.
    async fn back_up(&mut self, bed: &Bed, public: &str) {
        let worker = self.worker(bed, public).await;
        let idle = usage::resident_mib(worker.pid());
        let before = (usage::cpu_seconds(worker.pid()), bed.postgres_cpu());
        work(bed, &BackupDatabase {}).await;
        let cpu = (usage::cpu_seconds(worker.pid()) - before.0, bed.postgres_cpu() - before.1);
        self.above_idle = self.above_idle.max(usage::peak_mib(worker.pid()) - idle);
        let sql = "SELECT extract(epoch FROM ended_at - started_at)::float8, bytes / 1e6::float8 FROM backups ORDER BY started_at DESC LIMIT 1";
        let made: (f64, f64) = sqlx::query_as(sql).fetch_one(&bed.pool).await.expect("a backup on record");
        if made.0 < self.best.0 {
            (self.best, self.worker_cpu, self.postgres_cpu) = (made, cpu.0, cpu.1);
        }
    }

    /// Seconds in which its newest was restored.
    async fn drill(&self, bed: &Bed, public: &str) -> f64 {
        let _worker = self.worker(bed, public).await;
        work(bed, &DrillBackup {}).await;
        let sql = "SELECT drill_seconds FROM backups WHERE drilled_at IS NOT NULL ORDER BY drilled_at DESC LIMIT 1";
        sqlx::query_scalar(sql).fetch_one(&bed.pool).await.expect("a drill on record")
    }
}

/// Has a job done.
async fn work<J: Job>(bed: &Bed, job: &J) {
    let mut tx = bed.context("api").begin(Scope::Platform).await.expect("Postgres answers");
    let Enqueued::New(id) = tx.enqueue(job).await.expect("a job can be enqueued") else { panic!("a new job") };
    tx.commit().await.expect("the commit holds");
    let sql = "SELECT state, last_error FROM job_history WHERE id = $1";
    let (state, error): (String, Option<String>) = until(LIMIT, "the job is over", async || {
        sqlx::query_as(sql).bind(id.0).fetch_optional(&bed.pool).await.expect("Postgres answers")
    })
    .await;
    assert_eq!(state, "done", "{error:?}");
}
