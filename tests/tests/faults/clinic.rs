//! A clinic of its own for each test: database, key prefix, SMTP server, processes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use sqlx::PgPool;

/// The environment of one test's processes.
pub struct Clinic {
    pub db: TestDatabase,
    pub pool: PgPool,
    pub smtp: RecordingSmtp,
    redis: String,
    prefix: String,
}

impl Clinic {
    pub async fn open(postgres: &Postgres, redis: &Redis) -> Self {
        let db = TestDatabase::create(postgres).await;
        let pool = db.pool().await;
        let prefix = db.name().to_owned();
        Self { db, pool, smtp: RecordingSmtp::start(), redis: redis.url().to_owned(), prefix }
    }

    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.db.url()),
            ("REDIS_URL", &self.redis),
            ("REDIS_PREFIX", &self.prefix),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("SMTP_URL", &format!("{}?max_connections=32", self.smtp.url())),
            ("MAIL_FROM", "Clinic <reminders@clinic.example.org>"),
            ("LOG_FORMAT", "text"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    pub fn start(&self, program: &str) -> Process {
        Process::spawn(program, self.env())
    }

    /// `patients` doses of `patients` people in six zones, all due in `due_in` seconds.
    pub async fn seed(&self, patients: u32, due_in: i64, nudges: &str, window: u32) {
        let (patients, due_in, window) = (patients.to_string(), due_in.to_string(), window.to_string());
        let due_in = format!("--due-in={due_in}");
        let nudges = format!("--nudge-after={nudges}");
        let args = ["seed", "demo", "--patients", &patients, &due_in, &nudges, "--window", &window];
        let done = run("pulsecal", &args, self.env(), Duration::from_secs(180)).await;
        assert!(done.status.success(), "seeding failed: {} {}", done.stdout, done.stderr);
    }

    /// How many of the doses that fell due are in each state.
    pub async fn due_states(&self) -> BTreeMap<String, i64> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT state, count(*) FROM dose_occurrences WHERE due_at <= now() GROUP BY state")
                .fetch_all(&self.pool)
                .await
                .unwrap_or_default();
        rows.into_iter().collect()
    }

    /// Waits until `count` doses that fell due are settled.
    pub async fn all_settled(&self, count: i64, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let settled = sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM dose_occurrences WHERE due_at <= now() AND next_at IS NULL",
            )
            .fetch_one(&self.pool)
            .await;
            if matches!(settled, Ok(settled) if settled == count) {
                return;
            }
            if Instant::now() > deadline {
                let states = self.due_states().await;
                let jobs: Vec<(String, i64)> =
                    sqlx::query_as("SELECT kind || ' ' || state, count(*) FROM job_list GROUP BY 1")
                        .fetch_all(&self.pool)
                        .await
                        .unwrap_or_default();
                let counts = self.smtp.counts();
                panic!(
                    "waited {limit:?} until {count} doses were settled: {settled:?}; {states:?}; {jobs:?}; {counts:?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until no job is live but the schedules' own.
    pub async fn ledger_empty(&self, limit: Duration) {
        until(limit, "no reminder job is live", async || {
            let live: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'medication_reminder'")
                .fetch_one(&self.pool)
                .await
                .ok()?;
            (live == 0).then_some(())
        })
        .await;
    }

    /// The promises, checked against what the SMTP server saw: each Message-ID was accepted at most once; each accepted
    /// message is on record as sent or uncertain; each one on record as sent was accepted; nothing is left half way.
    pub async fn agrees_with_the_server(&self) -> BTreeMap<String, usize> {
        let log: Vec<(String, String)> = sqlx::query_as("SELECT message_id, state FROM messages")
            .fetch_all(&self.pool)
            .await
            .expect("the log reads");
        let log: BTreeMap<String, String> = log.into_iter().collect();
        let accepted = self.smtp.by_message_id();
        for (id, copies) in &accepted {
            assert_eq!(copies.len(), 1, "{id} was accepted {} times", copies.len());
            let state = log.get(id).unwrap_or_else(|| panic!("the server accepted {id}, which the log does not know"));
            assert!(state == "sent" || state == "uncertain", "the server accepted {id}, which the log calls {state}");
        }
        let mut counts = BTreeMap::new();
        for (id, state) in &log {
            *counts.entry(state.clone()).or_default() += 1;
            assert!(
                state != "sent" || accepted.contains_key(id),
                "{id} is on record as sent, and the server never accepted it"
            );
            assert!(state != "sending" && state != "planned", "{id} is left half way: {state}");
        }
        let twice: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT subject_id, occurrence FROM messages GROUP BY 1, 2 HAVING count(*) > 1) twice",
        )
        .fetch_one(&self.pool)
        .await
        .expect("the log reads");
        assert_eq!(twice, 0, "a dose has two messages for one step");
        counts
    }
}
