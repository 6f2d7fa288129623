//! A clinic whose staff ask for exports: database, folder for files, SMTP server, processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pulsecal_core::ids::Ids;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub const LIMIT: Duration = Duration::from_secs(40);

/// A clinic of one test.
pub struct Clinic {
    pub db: TestDatabase,
    pub pool: PgPool,
    pub smtp: RecordingSmtp,
    pub blobs: PathBuf,
    pub org: Uuid,
    pub nurse: Uuid,
    pub doctor: Uuid,
    pub patient: Uuid,
    blob_url: String,
    /// Set beside the usual, or instead of it.
    pub more: Vec<(String, String)>,
    redis: String,
}

impl Drop for Clinic {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.blobs);
    }
}

pub fn new_id() -> Uuid {
    Ids.new_id()
}

/// A token of the right shape that is made of one letter.
pub fn token_of(letter: char) -> String {
    format!("pc_live_{}", letter.to_string().repeat(43))
}

impl Clinic {
    pub async fn open() -> Self {
        let (postgres, redis) = (Postgres::shared().await, Redis::shared().await);
        let db = TestDatabase::create(postgres).await;
        let pool = db.pool().await;
        let blobs = std::env::temp_dir().join(format!("pulsecal-exports-{}", db.name()));
        std::fs::create_dir_all(&blobs).expect("a folder");
        let blob_url = format!("file://{}", blobs.display());
        let [org, nurse, doctor, patient] = [new_id(), new_id(), new_id(), new_id()];
        let this = Self {
            db,
            pool,
            smtp: RecordingSmtp::start(),
            blobs,
            org,
            nurse,
            doctor,
            patient,
            blob_url,
            more: Vec::new(),
            redis: redis.url().to_owned(),
        };
        sqlx::query("INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES ($1, 'Canary Heart Clinic', 'Europe/Berlin', now(), now())")
            .bind(org)
            .execute(&this.pool)
            .await
            .expect("a clinic");
        this.add_person(nurse, "nurse", "Nurse", 'n').await;
        this.add_person(doctor, "doctor", "Doctor", 'd').await;
        this.add_person(patient, "patient", "=Canary, \"Ann\"", 'p').await;
        this
    }

    /// With a token of all scopes that is made of `letter`.
    pub async fn add_person(&self, id: Uuid, role: &str, family: &str, letter: char) {
        sqlx::query("INSERT INTO people (person_id, org_id, role, given_name, family_name, birth_date, email, email_verified_at, created_at, updated_at) VALUES ($1, $2, $3, '', $4, '1950-02-03', $5, now(), now(), now())")
            .bind(id)
            .bind(self.org)
            .bind(role)
            .bind(family)
            .bind(format!("{role}-{letter}@example.org"))
            .execute(&self.pool)
            .await
            .expect("a person");
        sqlx::query("INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, created_at, expires_at) VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), '{exports:read,exports:write}', now(), now() + interval '1 hour')")
            .bind(new_id())
            .bind(self.org)
            .bind(id)
            .bind(token_of(letter))
            .execute(&self.pool)
            .await
            .expect("a token");
    }

    /// So many visits of the past, ten minutes each, one after the other.
    pub async fn add_visits(&self, count: i32) {
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
             SELECT gen_random_uuid(), $1, $2, $3, t, t + interval '10 minutes', 'fulfilled', t, t
             FROM generate_series(1, $4) AS i, LATERAL (SELECT timestamptz '2020-01-01Z' + i * interval '10 minutes' AS t) AS at")
            .bind(self.org)
            .bind(self.patient)
            .bind(self.doctor)
            .bind(count)
            .execute(&self.pool)
            .await
            .expect("visits");
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("DATABASE_URL", self.db.url()),
            ("REDIS_URL", &self.redis),
            ("REDIS_PREFIX", self.db.name()),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("SMTP_URL", &self.smtp.url()),
            ("MAIL_FROM", "Clinic <reminders@clinic.example.org>"),
            ("PUBLIC_URL", "http://127.0.0.1:4567"),
            ("BLOB_URL", &self.blob_url),
            ("BIND", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
        ];
        let mut env = BTreeMap::from(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        env.extend(self.more.iter().cloned());
        env
    }

    pub fn start(&self, program: &str) -> Process {
        Process::spawn(program, self.env())
    }

    /// The API, and a client with the nurse's token.
    pub async fn api(&self) -> (Process, Http) {
        let process = self.start("pulsecal-api");
        let line = process.wait_line("api: ready", LIMIT).await;
        let line: Value = serde_json::from_str(&line).expect("a log line is JSON");
        let http = Http::new(format!("http://{}", line["address"].as_str().expect("where it listens")));
        (process, http)
    }

    /// Everything of exports that lies in the store, whole or not.
    pub fn in_store(&self) -> Vec<PathBuf> {
        fn files(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() { files(&entry.path(), found) } else { found.push(entry.path()) }
            }
        }
        let mut found = Vec::new();
        for folder in ["exports", ".unfinished"] {
            files(&self.blobs.join(folder), &mut found);
        }
        found
    }

    /// Waits until no export's job is alive.
    pub async fn jobs_end(&self) {
        until(LIMIT, "the jobs are over", async || {
            let live: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'export_report'")
                .fetch_one(&self.pool)
                .await
                .ok()?;
            (live == 0).then_some(())
        })
        .await;
    }

    /// Waits until Postgres sends no rows any more.
    pub async fn copies_end(&self) {
        until(LIMIT, "Postgres sends no rows", async || {
            let copies: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND state <> 'idle'")
                .fetch_one(&self.pool)
                .await
                .ok()?;
            (copies == 0).then_some(())
        })
        .await;
    }

    pub async fn state(&self, id: &str) -> (String, i64, Option<String>) {
        sqlx::query_as("SELECT state, rows_done, problem FROM exports WHERE export_id = $1::uuid")
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .expect("the export's row")
    }

    /// Waits until the export is in this state.
    pub async fn becomes(&self, id: &str, wanted: &str) -> Option<String> {
        let what = format!("the export is {wanted}");
        until(LIMIT, &what, async || {
            let (state, _, problem) = self.state(id).await;
            let over = !matches!(state.as_str(), "queued" | "running");
            assert!(!over || state == wanted, "it is {state} instead of {wanted}: {problem:?}");
            (state == wanted).then_some(problem)
        })
        .await
    }

    /// Waits until rows are being written.
    pub async fn grows(&self, id: &str) {
        until(LIMIT, "rows are written", async || {
            let (state, rows, problem) = self.state(id).await;
            assert!(state == "queued" || state == "running", "{state} {problem:?}");
            (rows > 0).then_some(())
        })
        .await;
    }
}

/// Asks for an export with these fields, and gives its id.
pub async fn ask(http: &Http, fields: Value) -> String {
    let answer = http.post("/v1/exports", &fields).await.expect_status(202);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), Some(format!("/v1/exports/{id}").as_str()));
    assert!(answer.header("retry-after").is_some());
    id
}

/// Every column of a CSV export of all ids.
pub fn ids_only() -> Value {
    json!({"format": "csv", "columns": ["appointment_id", "starts_at", "patient_name", "doctor_name", "created_at", "updated_at"], "zone": "America/New_York"})
}

/// The file of an export, by its link.
pub async fn fetch(http: &Http, id: &str) -> Answer {
    let shown = http.get(&format!("/v1/exports/{id}")).await.expect_status(200).json();
    let url = shown["download"]["url"].as_str().unwrap_or_else(|| panic!("no link: {shown}"));
    http.get(url.strip_prefix("http://127.0.0.1:4567").expect("a link of ours")).await.expect_status(200)
}

/// The records of a CSV file, by a reader that is not ours.
pub fn records(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
    reader.records().map(|record| record.expect("a record").iter().map(str::to_owned).collect()).collect()
}
