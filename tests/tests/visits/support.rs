//! A clinic with an API, a worker, a scheduler and a mail server of its own.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use pulsecal_core::clock::Clock;
use pulsecal_core::ids::Ids;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::{Finished, Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::{Accepted, RecordingSmtp};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "pc_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SCOPES: [&str; 3] = ["appointments:read", "appointments:write", "messages:read"];

pub struct Clinic {
    pub pool: PgPool,
    pub smtp: RecordingSmtp,
    pub base: String,
    pub org: Uuid,
    pub doctor: Uuid,
    _api: Process,
    env: Vec<(String, String)>,
    _db: TestDatabase,
}

pub fn new_id() -> Uuid {
    Ids.new_id()
}

/// A whole minute, so far from now.
pub fn from_now(ahead: TimeDelta) -> DateTime<Utc> {
    let at = Clock::system().now() + ahead;
    at.duration_trunc(TimeDelta::minutes(1)).expect("a minute")
}

impl Clinic {
    pub async fn open() -> Self {
        Self::open_on(Postgres::shared().await).await
    }

    pub async fn open_on(postgres: &Postgres) -> Self {
        let db = TestDatabase::create(postgres).await;
        let pool = db.pool().await;
        let smtp = RecordingSmtp::start();
        let env: Vec<(String, String)> = [
            ("DATABASE_URL", db.url()),
            ("REDIS_URL", Redis::shared().await.url()),
            ("REDIS_PREFIX", db.name()),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("SMTP_URL", &format!("{}?max_connections=16", smtp.url())),
            ("MAIL_FROM", "Clinic <visits@clinic.example.org>"),
            ("BIND", "127.0.0.1:0"),
            ("RATE_LIMITS", "address=10000,caller=10000"), // one token does here what many people do
            ("LOG_FORMAT", "json"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let api = Process::spawn("pulsecal-api", env.clone());
        let line: Value = serde_json::from_str(&api.wait_line("api: ready", LIMIT).await).expect("a log line is JSON");
        let base = format!("http://{}", line["address"].as_str().expect("where it listens"));
        let (org, doctor) = (new_id(), new_id());
        let clinic = Self { pool, smtp, base, org, doctor, _api: api, env, _db: db };
        clinic
            .exec(
                "INSERT INTO organizations (org_id, name, discreet_name, zone, phone, created_at, updated_at)
             VALUES ($1, 'Canaryclinic', 'Discreetname', 'Europe/Berlin', '+49 30 5550100', now(), now())",
                org,
            )
            .await;
        clinic.add_person(doctor, "doctor", "Canarydoctor", 0).await;
        let scopes: Vec<String> = SCOPES.map(str::to_owned).into();
        sqlx::query(
            "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, created_at, expires_at)
             VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), $5, now(), now() + interval '1 hour')",
        )
        .bind(new_id())
        .bind(org)
        .bind(doctor)
        .bind(TOKEN)
        .bind(scopes)
        .execute(&clinic.pool)
        .await
        .expect("a token");
        clinic
    }

    pub fn start(&self, program: &str) -> Process {
        Process::spawn(program, self.env.clone())
    }

    /// `pulsecal` as an operator types it.
    pub async fn pulsecal(&self, arguments: &[&str]) -> Finished {
        run("pulsecal", arguments, self.env.clone(), LIMIT).await
    }

    /// A statement about one row.
    pub async fn exec(&self, sql: &'static str, id: Uuid) {
        sqlx::query(sql).bind(id).execute(&self.pool).await.expect("it runs");
    }

    pub async fn add_person(&self, id: Uuid, role: &str, family: &str, level: i16) {
        sqlx::query(
            "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, privacy_level, medicine_opt_in_at,
               created_at, updated_at) VALUES ($1, $2, $3, 'Ann', $4, $5, now(), $6, CASE WHEN $6 = 3 THEN now() END, now(), now())",
        )
        .bind(id)
        .bind(self.org)
        .bind(role)
        .bind(family)
        .bind(format!("p{}@patients.example.org", id.simple()))
        .bind(level)
        .execute(&self.pool)
        .await
        .expect("a person");
    }

    pub async fn patient(&self, level: i16) -> Uuid {
        let id = new_id();
        self.add_person(id, "patient", "Patient", level).await;
        id
    }

    pub fn http(&self) -> Http {
        Http::new(&self.base).with_bearer(TOKEN)
    }

    pub fn anonymous(&self) -> Http {
        Http::new(&self.base)
    }

    /// The body of a booking of half an hour in person.
    pub fn booking(&self, patient: Uuid, starts_at: DateTime<Utc>) -> Value {
        json!({
            "patient_id": patient, "doctor_id": self.doctor, "starts_at": starts_at, "ends_at": starts_at + TimeDelta::minutes(30),
            "kind": "follow_up", "place": "Room 7; first floor, left",
        })
    }

    pub async fn book(&self, patient: Uuid, starts_at: DateTime<Utc>) -> Value {
        self.http().post("/v1/appointments", &self.booking(patient, starts_at)).await.expect_status(201).json()
    }

    /// One of the verbs of a visit.
    pub async fn act(&self, visit: &Value, verb: &str, body: &Value) -> Answer {
        let id = visit["id"].as_str().expect("an id");
        self.http().post(&format!("/v1/appointments/{id}/{verb}"), body).await
    }

    /// One of the verbs of a visit, done; the visit as it is then.
    pub async fn done(&self, visit: &Value, verb: &str, body: &Value) -> Value {
        self.act(visit, verb, body).await.expect_status(200).json()
    }

    /// What the log says of a visit's mails: occurrence, state, reason.
    pub async fn log_of(&self, visit: &Value) -> Vec<(String, String, Option<String>)> {
        let id: Uuid = visit["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        sqlx::query_as("SELECT occurrence, state, reason FROM messages WHERE subject_id = $1 ORDER BY occurrence")
            .bind(id)
            .fetch_all(&self.pool)
            .await
            .expect("the log reads")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("counted")
    }
}

/// A mail's parts by content type, decoded: text, HTML, calendar, attached file.
pub struct Parts {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The content type of the calendar part as it stands, and the object.
    pub calendar: Option<(String, String)>,
    /// The attached file's name, and the object.
    pub file: Option<(String, String)>,
    /// The content types of all parts, in order.
    pub kinds: Vec<String>,
}

pub fn parts(mail: &Accepted) -> Parts {
    use mail_parser::{MessageParser, MimeHeaders};
    let raw = mail.raw.as_deref().expect("bytes are kept");
    let message = MessageParser::default().parse(raw).expect("a message");
    let mut found = Parts {
        subject: message.subject().unwrap_or_default().to_owned(),
        text: message.body_text(0).unwrap_or_default().into_owned(),
        html: message.body_html(0).unwrap_or_default().into_owned(),
        calendar: None,
        file: None,
        kinds: Vec::new(),
    };
    for part in &message.parts {
        let Some(kind) = part.content_type() else { continue };
        let name = format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default());
        let content = || String::from_utf8(part.contents().to_vec()).expect("UTF-8");
        match name.as_str() {
            "text/calendar" => {
                let attribute = |name: &str| kind.attribute(name).unwrap_or_default().to_owned();
                let shown = format!(
                    "method={} charset={} component={}",
                    attribute("method"),
                    attribute("charset"),
                    attribute("component")
                );
                found.calendar = Some((shown, content()));
            }
            "application/ics" => {
                found.file = Some((part.attachment_name().unwrap_or_default().to_owned(), content()));
            }
            _ => {}
        }
        found.kinds.push(name);
    }
    found
}

/// The value of a line of a calendar object, unfolded.
pub fn line_of(calendar: &str, name: &str) -> String {
    let unfolded = calendar.replace("\r\n ", "");
    let event = unfolded.split("BEGIN:VEVENT").nth(1).unwrap_or(&unfolded).to_owned();
    let found = event.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with([':', ';']));
    found.unwrap_or_else(|| panic!("no {name} in {calendar}")).trim_end().to_owned()
}
