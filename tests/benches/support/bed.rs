//! The bed of a bench: a migrated database of its own, its keys in Redis, the environment of its programs.

use std::time::Duration;

use pulsecal_core::clock::Clock;
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::process::context;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use sqlx::PgPool;

use super::usage;

/// Loading a large clinic takes its time.
const SEED_LIMIT: Duration = Duration::from_secs(1800);
/// A program is ready within this.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// Where a bench runs.
pub struct Bed {
    /// For looking at what the programs did.
    pub pool: PgPool,
    /// The clock that the programs use too.
    pub clock: Clock,
    /// The process id of the Postgres server, if it runs on this machine.
    pub postgres: Option<u32>,
    /// The process id of the Redis server, if it runs on this machine.
    pub redis: Option<u32>,
    db: TestDatabase,
    redis_url: String,
}

impl Bed {
    /// A new database on the servers of `TEST_DATABASE_URL` and `TEST_REDIS_URL`, or on private ones.
    pub async fn open() -> Self {
        let db = TestDatabase::create(Postgres::shared().await).await;
        let pool = db.pool().await;
        let redis_url = Redis::shared().await.url().to_owned();
        let backend: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.expect("Postgres answers");
        let backend = u32::try_from(backend).ok().filter(|pid| usage::name(*pid).contains("postgres"));
        let postgres = backend.and_then(usage::parent);
        Self { pool, clock: Clock::system(), postgres, redis: redis_pid(&redis_url), db, redis_url }
    }

    /// The environment of the programs, with what `more` adds.
    pub fn env(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut env = vec![
            ("DATABASE_URL", self.db.url()),
            ("REDIS_URL", &self.redis_url),
            ("REDIS_PREFIX", self.db.name()),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("MAIL_FROM", "Clinic <reminders@clinic.example.org>"),
            ("LOG_FORMAT", "text"),
        ];
        env.extend(more);
        env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A context as a program of this kind has it.
    pub fn context(&self, kind: &str) -> Context {
        let env = self.env(&[]);
        let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let config = Config::read(&lookup).expect("the bench's own environment is valid");
        context(&config, kind).expect("the bench's own environment is valid")
    }

    /// Runs `pulsecal` with these arguments.
    ///
    /// # Panics
    /// If it fails.
    pub async fn pulsecal(&self, args: &[&str]) {
        let done = run("pulsecal", args, self.env(&[]), SEED_LIMIT).await;
        assert!(done.status.success(), "pulsecal {args:?} failed: {} {}", done.stdout, done.stderr);
    }

    /// Starts the scheduler and waits until it keeps time.
    pub async fn scheduler(&self) -> Process {
        let scheduler = Process::spawn("pulsecal-scheduler", self.env(&[]));
        scheduler.wait_line("keeps time", START_LIMIT).await;
        scheduler
    }

    /// Leaves the disk and the statistics as a server has them that has run for a while.
    pub async fn settle(&self) {
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(sql).execute(&self.pool).await.expect("maintenance runs");
        }
    }

    /// One number from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("the database reads")
    }

    /// A setting of Postgres.
    pub async fn postgres_setting(&self, name: &str) -> String {
        sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&self.pool)
            .await
            .expect("Postgres knows its settings")
    }

    /// CPU seconds of the Postgres server with all its processes.
    pub fn postgres_cpu(&self) -> f64 {
        self.postgres.map_or(f64::NAN, usage::tree_cpu_seconds)
    }

    /// CPU seconds of the Redis server.
    pub fn redis_cpu(&self) -> f64 {
        self.redis.map_or(f64::NAN, usage::cpu_seconds)
    }
}

fn redis_pid(url: &str) -> Option<u32> {
    let mut connection = redis::Client::open(url).and_then(|client| client.get_connection()).expect("Redis answers");
    let info: String = redis::cmd("INFO").arg("server").query(&mut connection).expect("Redis tells who it is");
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()?;
    ["redis", "valkey"].iter().any(|name| usage::name(pid).contains(name)).then_some(pid)
}
