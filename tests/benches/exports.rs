//! Exports of appointments: CSV beside `COPY … TO STDOUT CSV` of the same query, XLSX beside Python's XlsxWriter, PDF by the
//! second, whole jobs by the worker, and the worker's memory at two sizes. `./dev bench exports -- --rows 1000000,5000000`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::io;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
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
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use support::bed::Bed;
use support::options::Options;
use support::report::Report;
use support::usage;
use tokio::sync::mpsc;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(1800);
/// When the first visit begins: the first minute of 2016.
const FIRST: DateTime<Utc> = DateTime::from_timestamp(1_451_606_400, 0).expect("in range");

fn main() {
    let options = Options::read(&["--rows", "--xlsx-rows", "--pdf-rows", "--rounds"]);
    let sizes: Vec<i32> = options.values("--rows", "1000000");
    let xlsx_rows: i32 = options.value("--xlsx-rows", 100_000);
    let pdf_rows: i32 = options.value("--pdf-rows", 10_000);
    let rounds: u32 = options.value("--rounds", 3);
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("exports", &bed).await;
        report.fact("columns", Column::USUAL.len());
        report.fact("aim", "CSV >= 0.85 of COPY, the whole job >= 0.6; XLSX >= 5 times XlsxWriter; PDF of 10,000 rows < 1 s; memory of the largest within 16 MiB of the first");
        let clinic = Clinic::add(&bed).await;
        let mut there = 0;
        for size in sizes {
            clinic.add_visits(&bed, there, size).await;
            there = size;
            bed.settle().await;
            csv(&clinic, &bed, &mut report, size, rounds).await;
        }
        xlsx(&clinic, &bed, &mut report, xlsx_rows.min(there), rounds).await;
        pdf(&clinic, &bed, &mut report, pdf_rows.min(there), rounds).await;
        report.finish();
    });
}

/// `COPY`, the encoder and the whole job take turns, so that what else the machine does falls on all of them.
async fn csv(clinic: &Clinic, bed: &Bed, report: &mut Report, rows: i32, rounds: u32) {
    let [mut copy, mut encoded, mut whole, mut peak] = [f64::NAN, f64::NAN, f64::NAN, 0.0_f64];
    for _ in 0..rounds {
        copy = clinic.copy(bed, rows).await.min(copy);
        encoded = clinic.encode(bed, Format::Csv, rows).await.min(encoded);
        let (seconds, mib) = clinic.whole_job(bed, Format::Csv, rows).await;
        (whole, peak) = (seconds.min(whole), mib.max(peak));
    }
    report.row(found("COPY (same query) TO STDOUT CSV, yardstick", rows, copy, None, None));
    report.row(found("CSV, encoder with its guard", rows, encoded, Some(copy), None));
    report.row(found("CSV, whole job: count, seal, store", rows, whole, Some(copy), Some(peak)));
}

async fn xlsx(clinic: &Clinic, bed: &Bed, report: &mut Report, rows: i32, rounds: u32) {
    let [mut theirs, mut encoded, mut whole, mut peak] = [f64::NAN, f64::NAN, f64::NAN, 0.0_f64];
    for _ in 0..rounds {
        theirs = python(rows).await.unwrap_or(f64::NAN).min(theirs);
        encoded = clinic.encode(bed, Format::Xlsx, rows).await.min(encoded);
        let (seconds, mib) = clinic.whole_job(bed, Format::Xlsx, rows).await;
        (whole, peak) = (seconds.min(whole), mib.max(peak));
    }
    // Not a number: this machine has no pip.
    report.row(found("XlsxWriter, constant_memory, yardstick", rows, theirs, None, None));
    report.row(found("XLSX, encoder", rows, encoded, Some(theirs), None));
    report.row(found("XLSX, whole job", rows, whole, Some(theirs), Some(peak)));
}

async fn pdf(clinic: &Clinic, bed: &Bed, report: &mut Report, rows: i32, rounds: u32) {
    let [mut encoded, mut whole, mut peak] = [f64::NAN, f64::NAN, 0.0_f64];
    for _ in 0..rounds {
        encoded = clinic.encode(bed, Format::Pdf, rows).await.min(encoded);
        let (seconds, mib) = clinic.whole_job(bed, Format::Pdf, rows).await;
        (whole, peak) = (seconds.min(whole), mib.max(peak));
    }
    report.row(found("PDF, encoder", rows, encoded, None, None));
    report.row(found("PDF, whole job", rows, whole, None, Some(peak)));
}

/// A row of the report: the fewest seconds of some rounds, over those of the yardstick, and the worker's peak.
fn found(what: &str, rows: i32, seconds: f64, yardstick: Option<f64>, peak: Option<f64>) -> [(&'static str, Value); 6] {
    [
        ("what", json!(what)),
        ("rows", json!(rows)),
        ("seconds", json!(seconds)),
        ("rows/s", json!(f64::from(rows) / seconds)),
        ("times the yardstick", json!(yardstick.map(|yardstick| yardstick / seconds))),
        ("worker peak MiB", json!(peak)),
    ]
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

    /// Visits `from..to`, a minute apart, over all patients and doctors. Keys are not looked up: there are too many rows for
    /// that to be quick, and all of them are right.
    async fn add_visits(&self, bed: &Bed, from: i32, to: i32) {
        let mut tx = bed.pool.begin().await.expect("a transaction");
        sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *tx).await.expect("set");
        sqlx::query(
            "WITH numbered AS MATERIALIZED (SELECT person_id, role, row_number() OVER (PARTITION BY role ORDER BY person_id) - 1 AS number FROM people)
             INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, place, created_at, updated_at)
             SELECT gen_random_uuid(), $1, p.person_id, d.person_id, t, t + interval '20 minutes', 'fulfilled', 'Room ' || i % 40, t, t
             FROM generate_series($2, $3 - 1) AS i
             JOIN numbered p ON p.role = 'patient' AND p.number = i % 4900
             JOIN numbered d ON d.role = 'doctor' AND d.number = i % 49,
             LATERAL (SELECT $4 + i * interval '1 minute' AS t) AS at",
        )
        .bind(self.org.0)
        .bind(from)
        .bind(to)
        .bind(FIRST)
        .execute(&mut *tx)
        .await
        .expect("visits");
        tx.commit().await.expect("committed");
    }

    /// The first of the visits, in usual columns.
    fn spec(format: Format, rows: i32) -> Spec {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let filters = Filters { to: Some(FIRST + TimeDelta::minutes(rows.into())), ..Filters::default() };
        Spec { format, columns: Column::USUAL.to_vec(), filters, zone, csv: CsvOptions::default() }
    }

    /// What Postgres alone takes, under the same role and rules.
    async fn copy(&self, bed: &Bed, rows: i32) -> f64 {
        let spec = Self::spec(Format::Csv, rows);
        let url = bed.env(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL").expect("set").1;
        let mut conn = PgConnection::connect(&url).await.expect("Postgres answers");
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL role = pulsecal_app; SET LOCAL app.orgs = '{}'; SET LOCAL jit = off",
            self.org
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut conn).await.expect("begun");
        let copy =
            format!("COPY ({}) TO STDOUT (FORMAT csv, HEADER)", export_rows::rows_query(&spec.columns, &spec.filters));
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
        let spec = Self::spec(format, rows);
        let mut snapshot = ctx.db.snapshot(self.org, LIMIT).await.expect("a snapshot");
        let heading = Heading { organization: snapshot.organization().to_owned(), as_of: snapshot.as_of() };
        let (to, mut batches) = mpsc::channel::<RowBatch>(4);
        let began = Instant::now();
        let (columns, filters) = (spec.columns.clone(), spec.filters.clone());
        let encoding = tokio::task::spawn_blocking(move || {
            let progress = Progress::default();
            let batches = std::iter::from_fn(|| batches.blocking_recv());
            encode_to(&spec, &heading, batches, io::sink(), &progress).expect("encoded").0.rows
        });
        {
            let mut sent = snapshot.rows(&columns, &filters).await.expect("rows");
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
    async fn whole_job(&self, bed: &Bed, format: Format, rows: i32) -> (f64, f64) {
        let ctx = bed.context("api");
        let spec = Self::spec(format, rows);
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
