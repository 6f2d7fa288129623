//! An API of one test, and clinics to ask it about.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use pulsecal_core::clock::Clock;
use pulsecal_core::config::Secret;
use pulsecal_core::ids::{Ids, OccurrenceId, OrgId};
use pulsecal_core::links::{DoseLink, Links};
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::http::Http;
use pulsecal_tests::processes::{Finished, Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub const LIMIT: Duration = Duration::from_secs(20);
pub const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef";
pub const ALL_SCOPES: [&str; 30] = [
    "records:read",
    "records:write",
    "patients:read",
    "patients:write",
    "prescriptions:read",
    "prescriptions:write",
    "reminders:read",
    "reminders:write",
    "appointments:read",
    "appointments:write",
    "messages:read",
    "jobs:read",
    "audit:read",
    "exports:read",
    "exports:write",
    "organization:read",
    "organization:write",
    "joins:ask",
    "joins:decide",
    "chat:read",
    "chat:write",
    "contacts:read",
    "contacts:write",
    "insurance:read",
    "insurance:write",
    "payments:read",
    "payments:write",
    "members:read",
    "members:write",
    "trail:read",
];

/// A running API with its database.
pub struct TestApi {
    pub process: Process,
    pub pool: PgPool,
    pub base: String,
    redis_url: String,
    db: TestDatabase,
}

impl TestApi {
    pub async fn start() -> Self {
        Self::start_on(Postgres::shared().await).await
    }

    pub async fn start_on(postgres: &Postgres) -> Self {
        Self::start_with(postgres, &[]).await
    }

    pub async fn start_with(postgres: &Postgres, more: &[(&'static str, &str)]) -> Self {
        let db = TestDatabase::create(postgres).await;
        let redis_url = Redis::shared().await.url().to_owned();
        let process = Process::spawn(
            "pulsecal-api",
            [
                ("DATABASE_URL", db.url()),
                ("REDIS_URL", redis_url.as_str()),
                ("REDIS_PREFIX", db.name()),
                ("SECRET_KEY", SECRET_KEY),
                ("BIND", "127.0.0.1:0"),
                ("LOG_FORMAT", "json"),
            ]
            .into_iter()
            .chain(more.iter().copied()),
        );
        let line = process.wait_line("api: ready", LIMIT).await;
        let line: Value = serde_json::from_str(&line).expect("a log line is JSON");
        let base = format!("http://{}", line["address"].as_str().expect("where it listens"));
        let pool = db.pool().await;
        Self { process, pool, base, redis_url, db }
    }

    /// The environment of other processes beside this one.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.db.url().to_owned()),
            ("REDIS_URL", self.redis_url.clone()),
            ("REDIS_PREFIX", self.db.name().to_owned()),
            ("SECRET_KEY", SECRET_KEY.to_owned()),
            ("LOG_FORMAT", "text".to_owned()),
        ]
    }

    /// The head of its keys in Redis.
    pub fn prefix(&self) -> &str {
        self.db.name()
    }

    pub fn anonymous(&self) -> Http {
        Http::new(&self.base)
    }

    pub fn with(&self, token: &str) -> Http {
        self.anonymous().with_bearer(token)
    }

    /// `pulsecal` as an operator types it, with `--json`.
    pub async fn operator(&self, arguments: &[&str]) -> Finished {
        run("pulsecal", &[arguments, &["--json"]].concat(), [("DATABASE_URL", self.db.url())], LIMIT).await
    }

    /// The path of a dose's page.
    pub fn link(&self, org: Uuid, dose: Uuid, until: DateTime<Utc>) -> String {
        let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &self.base);
        let link = DoseLink { org: OrgId(org), dose: OccurrenceId(dose) };
        format!("/p/d/{}", links.dose_token(link, until))
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("counted")
    }
}

/// A clinic with a doctor and a patient in Berlin.
pub struct Clinic {
    pub org: Uuid,
    pub doctor: Uuid,
    pub patient: Uuid,
    /// A token of the doctor, with every scope.
    pub token: String,
    /// A token of an administrator, with every scope.
    pub admin: String,
    pub administrator: Uuid,
}

pub fn new_id() -> Uuid {
    Ids.new_id()
}

pub fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// A token of the right shape that is made of one letter.
pub fn token_of(letter: char) -> String {
    format!("pc_live_{}", letter.to_string().repeat(43))
}

impl Clinic {
    /// `letter` tells its token and names from those of others.
    pub async fn add(pool: &PgPool, letter: char) -> Self {
        let [org, doctor] = [new_id(), new_id()];
        sqlx::query("INSERT INTO organizations (org_id, name, discreet_name, zone, phone, created_at, updated_at) VALUES ($1, $2, $3, 'Europe/Berlin', '+49 30 5550100', now(), now())")
            .bind(org)
            .bind(format!("Heart clinic {letter}"))
            .bind(format!("Practice {letter}"))
            .execute(pool)
            .await
            .expect("a clinic");
        add_person(pool, org, doctor, "doctor", &format!("Doctor-{letter}")).await;
        let patient = new_id();
        add_person(pool, org, patient, "patient", &format!("Patient-{letter}")).await;
        let token = token_of(letter);
        add_token(pool, org, doctor, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
        let (administrator, admin) = (new_id(), token_of(letter.to_ascii_uppercase()));
        add_person(pool, org, administrator, "admin", &format!("Admin-{letter}")).await;
        add_token(pool, org, administrator, &admin, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
        Self { org, doctor, patient, token, admin, administrator }
    }

    /// A prescription with its reminder: 02:30 each day, wall clock. Gives both ids.
    pub async fn add_reminder(&self, pool: &PgPool) -> (Uuid, Uuid) {
        let [prescription, reminder] = [new_id(), new_id()];
        sqlx::query("INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, created_at, updated_at) VALUES ($1, $2, $3, $4, 'Examplomycin', '1 tablet', now(), now())")
            .bind(prescription)
            .bind(self.org)
            .bind(self.patient)
            .bind(self.doctor)
            .execute(pool)
            .await
            .expect("a prescription");
        sqlx::query("INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'wall_clock', now(), now())")
            .bind(reminder)
            .bind(self.org)
            .bind(prescription)
            .bind(self.patient)
            .bind(timing("02:30:00"))
            .execute(pool)
            .await
            .expect("a reminder");
        (prescription, reminder)
    }

    /// A dose that fell due a minute ago and was reminded of.
    pub async fn add_dose(&self, pool: &PgPool, reminder: Uuid, slot: &str, due: DateTime<Utc>, state: &str) -> Uuid {
        let dose = new_id();
        let slot: NaiveDateTime = slot.parse().expect("a slot");
        sqlx::query("INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, state, ladder_at, next_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 'Europe/Berlin', $7, $6, $6, now())")
            .bind(dose)
            .bind(self.org)
            .bind(reminder)
            .bind(self.patient)
            .bind(slot)
            .bind(due)
            .bind(state)
            .execute(pool)
            .await
            .expect("a dose");
        dose
    }
}

pub fn timing(time: &str) -> Value {
    json!({"kind": "times_of_day", "times": [time], "days": {"every": "day"}, "start": "2026-01-01", "end": null})
}

pub async fn add_person(pool: &PgPool, org: Uuid, id: Uuid, role: &str, family: &str) {
    sqlx::query("INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, zone, created_at, updated_at) VALUES ($1, $2, $3, 'Ann', $4, $5, now(), 'Europe/Berlin', now(), now())")
        .bind(id)
        .bind(org)
        .bind(role)
        .bind(family)
        .bind(format!("{}@example.org", family.to_lowercase()))
        .execute(pool)
        .await
        .expect("a person");
}

/// `expires` is an SQL expression.
pub async fn add_token(
    pool: &PgPool,
    org: Uuid,
    person: Uuid,
    token: &str,
    scopes: &[&str],
    expires: &'static str,
    revoked: bool,
) {
    let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let sql = format!(
        "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), $5, now(), {expires}, CASE WHEN $6 THEN now() END)"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(new_id())
        .bind(org)
        .bind(person)
        .bind(token)
        .bind(scopes)
        .bind(revoked)
        .execute(pool)
        .await
        .expect("a token");
}

/// The fields that a problem document names.
pub fn wrong_fields(body: &Value) -> Vec<&str> {
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no list of errors: {body}"));
    errors.iter().filter_map(|error| error["field"].as_str()).collect()
}
