//! Exports of appointments: CSV beside `COPY … TO STDOUT CSV` of the same query, XLSX beside Python's XlsxWriter, PDF by the
//! second, whole jobs by the worker, and the worker's memory at two sizes. `./dev bench exports -- --rows 1000000,5000000`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::io;
use std::process::Command;
use std::time::Duration;

use futures_util::TryStreamExt;
use pulsecal_core::exports::{Column, CsvOptions, Filters, Format, Heading, Progress, RowBatch, Spec, encode_to};
use pulsecal_core::ids::{ExportId, Ids, OrgId, PersonId};
use pulsecal_core::ledger::Enqueued;
use pulsecal_core::store::exports::{self, NewExport};
use pulsecal_core::store::{Scope, export_rows};
use pulsecal_core::time::Zone;
use pulsecal_jobs::ExportReport;
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use support::bed::Bed;
use support::options::Options;
use support::report::Report;
use support::usage;
use tokio::sync::mpsc;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(1800);

fn main() {
    let options = Options::read(&["--rows", "--xlsx-rows", "--rounds"]);
    let sizes: Vec<i32> = options.values("--rows", "1000000,5000000");
    let xlsx_rows: i32 = options.value("--xlsx-rows", 100_000);
    let rounds: u32 = options.value("--rounds", 3);
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("exports", &bed).await;
        report.fact("columns", Column::USUAL.len());
        report.fact("aim", "CSV >= 0.85 of COPY; XLSX >= 5 times XlsxWriter; PDF of 10,000 rows < 1 s; memory of the largest within 16 MiB of the first");
        let clinic = Clinic::add(&bed).await;
        let mut there = 0;
        for (number, size) in sizes.iter().copied().enumerate() {
            clinic.add_visits(&bed, there, size).await;
            there = size;
            bed.settle().await;
            if number == 0 {
                let copied = clinic.best(rounds, async || clinic.copy(&bed).await).await;
                report.row([
                    ("what", json!("COPY (same query) TO STDOUT CSV, yardstick")),
                    ("rows", json!(size)),
                    ("seconds", json!(copied)),
                    ("rows/s", json!(f64::from(size) / copied)),
                ]);
                let csv = clinic.best(rounds, async || clinic.encode(&bed, Format::Csv, size).await).await;
                report.row([
                    ("what", json!("CSV, encoder with its guard")),
                    ("rows", json!(size)),
                    ("seconds", json!(csv)),
                    ("rows/s", json!(f64::from(size) / csv)),
                    ("of the yardstick", json!(copied / csv)),
                ]);
            }
            let (whole, peak) = clinic.whole_job(&bed, Format::Csv).await;
            report.row([
                ("what", json!("CSV, whole job: count, seal, store")),
                ("rows", json!(size)),
                ("seconds", json!(whole)),
                ("rows/s", json!(f64::from(size) / whole)),
                ("worker peak MiB", json!(peak)),
            ]);
        }
        clinic.keep_visits(&bed, xlsx_rows).await;
        let python = clinic.best(rounds, async || python(xlsx_rows).await.unwrap_or(f64::NAN)).await;
        let known = python.is_finite();
        report.row([
            ("what", json!("XlsxWriter, constant_memory, yardstick")),
            ("rows", json!(xlsx_rows)),
            ("seconds", if known { json!(python) } else { json!("no pip") }),
            ("rows/s", json!(known.then(|| f64::from(xlsx_rows) / python))),
        ]);
        let xlsx = clinic.best(rounds, async || clinic.encode(&bed, Format::Xlsx, xlsx_rows).await).await;
        report.row([
            ("what", json!("XLSX")),
            ("rows", json!(xlsx_rows)),
            ("seconds", json!(xlsx)),
            ("rows/s", json!(f64::from(xlsx_rows) / xlsx)),
            ("of the yardstick", json!(known.then(|| python / xlsx))),
        ]);
        let (whole, peak) = clinic.whole_job(&bed, Format::Xlsx).await;
        report.row([
            ("what", json!("XLSX, whole job")),
            ("rows", json!(xlsx_rows)),
            ("seconds", json!(whole)),
            ("rows/s", json!(f64::from(xlsx_rows) / whole)),
            ("worker peak MiB", json!(peak)),
        ]);
        clinic.keep_visits(&bed, 10_000).await;
        let pdf = clinic.best(rounds, async || clinic.encode(&bed, Format::Pdf, 10_000).await).await;
        report.row([
            ("what", json!("PDF")),
            ("rows", json!(10_000)),
            ("seconds", json!(pdf)),
            ("rows/s", json!(10_000.0 / pdf)),
        ]);
        report.finish();
    });
}

struct Clinic {
    org: OrgId,
    nurse: PersonId,
    files: tempfile::TempDir,
}

impl Clinic {
    async fn add(bed: &Bed) -> Self {
        let (org, nurse): (OrgId, PersonId) = (Ids.new_id(), Ids.new_id());
        sqlx::query("INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES ($1, 'Clinic', 'Europe/Berlin', now(), now())").bind(org.0).execute(&bed.pool).await.expect("a clinic");
        sqlx::query(
            "INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at)
             SELECT CASE WHEN i = 0 THEN $2 ELSE gen_random_uuid() END, $1, CASE WHEN i < 50 THEN 'doctor' ELSE 'patient' END, 'Given' || i % 97, 'Family-' || i, now(), now()
             FROM generate_series(0, 5000) i",
        )
        .bind(org.0)
        .bind(nurse.0)
        .execute(&bed.pool)
        .await
        .expect("people");
        Self { org, nurse, files: tempfile::tempdir().expect("a folder") }
    }

    /// Visits `from..to`, over all patients and doctors.
    async fn add_visits(&self, bed: &Bed, from: i32, to: i32) {
        sqlx::query(
            "WITH d AS (SELECT array_agg(person_id) AS all FROM people WHERE role = 'doctor'), p AS (SELECT array_agg(person_id) AS all FROM people WHERE role = 'patient')
             INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, place, created_at, updated_at)
             SELECT gen_random_uuid(), $1, p.all[1 + i % 4900], d.all[1 + i % 50], t, t + interval '20 minutes', 'fulfilled', 'Room ' || i % 40, t, t
             FROM generate_series($2, $3 - 1) AS i, d, p, LATERAL (SELECT timestamptz '2016-01-01Z' + i * interval '1 minute' AS t) AS at",
        )
        .bind(self.org.0)
        .bind(from)
        .bind(to)
        .execute(&bed.pool)
        .await
        .expect("visits");
    }

    async fn keep_visits(&self, bed: &Bed, count: i32) {
        sqlx::query("DELETE FROM appointments WHERE starts_at >= timestamptz '2016-01-01Z' + $1 * interval '1 minute'")
            .bind(count)
            .execute(&bed.pool)
            .await
            .expect("deleted");
        bed.settle().await;
    }

    /// The fewest seconds of some rounds.
    async fn best(&self, rounds: u32, mut once: impl AsyncFnMut() -> f64) -> f64 {
        let mut best = f64::NAN;
        for _ in 0..rounds {
            best = once().await.min(best);
        }
        best
    }

    fn spec(format: Format) -> Spec {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        Spec { format, columns: Column::USUAL.to_vec(), filters: Filters::default(), zone, csv: CsvOptions::default() }
    }

    /// What Postgres alone takes, under the same role and rules.
    async fn copy(&self, bed: &Bed) -> f64 {
        let url = bed.env(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL").expect("set").1;
        let mut conn = PgConnection::connect(&url).await.expect("Postgres answers");
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL role = pulsecal_app; SET LOCAL app.orgs = '{}'; SET LOCAL jit = off",
            self.org
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut conn).await.expect("begun");
        let copy = format!(
            "COPY ({}) TO STDOUT (FORMAT csv, HEADER)",
            export_rows::rows_query(&Column::USUAL, &Filters::default())
        );
        let began = Instant::now();
        let mut bytes = 0;
        {
            let mut rows = conn.copy_out_raw(&copy).await.expect("copies");
            while let Some(row) = rows.try_next().await.expect("a row") {
                bytes += row.len();
            }
        }
        assert!(bytes > 0);
        began.elapsed().as_secs_f64()
    }

    /// From the snapshot through the encoder, to nowhere.
    async fn encode(&self, bed: &Bed, format: Format, rows: i32) -> f64 {
        let ctx = bed.context("worker");
        let spec = Self::spec(format);
        let mut snapshot = ctx.db.snapshot(self.org, LIMIT).await.expect("a snapshot");
        let heading = Heading { organization: snapshot.organization().to_owned(), as_of: snapshot.as_of() };
        let (to, mut batches) = mpsc::channel::<RowBatch>(4);
        let began = Instant::now();
        let columns = spec.columns.clone();
        let encoding = tokio::task::spawn_blocking(move || {
            let progress = Progress::default();
            let batches = std::iter::from_fn(|| batches.blocking_recv());
            encode_to(&spec, &heading, batches, io::sink(), &progress).expect("encoded").0.rows
        });
        {
            let mut sent = snapshot.rows(&columns, &Filters::default()).await.expect("rows");
            let mut batch = Vec::with_capacity(256);
            while let Some(row) = sent.try_next().await.expect("a row") {
                batch.push(row);
                if batch.len() == 256 {
                    to.send(std::mem::replace(&mut batch, Vec::with_capacity(256))).await.expect("taken");
                }
            }
            to.send(batch).await.expect("taken");
        }
        drop(to);
        assert_eq!(encoding.await.expect("encoded"), u64::try_from(rows).expect("some"));
        began.elapsed().as_secs_f64()
    }

    /// From the claim to the record by a worker of its own, into a folder; and the worker's peak.
    async fn whole_job(&self, bed: &Bed, format: Format) -> (f64, f64) {
        let ctx = bed.context("api");
        let spec = Self::spec(format);
        let id: ExportId = Ids.new_id();
        let mut tx = ctx.begin(Scope::Org(self.org)).await.expect("begun");
        let enqueued = tx.enqueue(&ExportReport { v: 1, org: self.org, export: id }).await.expect("enqueued");
        let Enqueued::New(job) = enqueued else { panic!("a new job") };
        let now = tx.now();
        exports::insert(tx.conn(), &NewExport { id, org: self.org, by: self.nurse, spec: &spec, job }, now)
            .await
            .expect("on record");
        tx.commit().await.expect("committed");
        let url = format!("file://{}", self.files.path().display());
        let worker = Process::spawn("pulsecal-worker", bed.env(&[("BLOB_URL", &url), ("WORKER_QUEUES", "exports=1")]));
        let seconds = until(LIMIT, "the export is over", async || {
            let row: (String, Option<f64>, Option<String>) = sqlx::query_as("SELECT state, extract(epoch FROM ended_at - started_at)::float8, problem FROM exports WHERE export_id = $1").bind(id.0).fetch_one(&bed.pool).await.ok()?;
            assert!(row.0 != "failed", "{:?}", row.2);
            (row.0 == "succeeded").then_some(row.1).flatten()
        })
        .await;
        (seconds, usage::peak_mib(worker.pid()))
    }
}

/// Seconds of XlsxWriter for as many rows of the same shape; none: it cannot be had here.
async fn python(rows: i32) -> Option<f64> {
    tokio::task::spawn_blocking(move || {
        let home = support::target_folder().join("xlsxwriter");
        let program = home.join("bin/python");
        if !program.exists() {
            Command::new("python3").args(["-m", "venv"]).arg(&home).status().ok().filter(std::process::ExitStatus::success)?;
        }
        let has = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
        if !has(Command::new(&program).args(["-c", "import xlsxwriter"]))
            && !has(Command::new(&program).args(["-m", "pip", "install", "--quiet", "XlsxWriter"]))
        {
            return None;
        }
        let script = "import sys,time,datetime,tempfile,os,xlsxwriter
n=int(sys.argv[1]); path=os.path.join(tempfile.mkdtemp(),'x.xlsx'); t0=datetime.datetime(2016,1,1)
began=time.time()
book=xlsxwriter.Workbook(path,{'constant_memory':True}); sheet=book.add_worksheet(); date=book.add_format({'num_format':'yyyy-mm-dd hh:mm'})
for i in range(n):
    t=t0+datetime.timedelta(minutes=i)
    sheet.write_datetime(i,0,t,date); sheet.write_datetime(i,1,t+datetime.timedelta(minutes=20),date)
    for c,v in ((2,'fulfilled'),(3,'other'),(4,'in_person'),(5,'Room %d'%(i%40)),(6,'Given%d Family-%d'%(i%97,i%4900)),(7,'Given%d Family-%d'%(i%97,i%50))): sheet.write_string(i,c,v)
book.close()
print(time.time()-began); os.remove(path)";
        let done = Command::new(&program).args(["-c", script, &rows.to_string()]).output().ok()?;
        String::from_utf8(done.stdout).ok()?.trim().parse().ok()
    })
    .await
    .ok()
    .flatten()
}
