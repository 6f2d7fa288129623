//! A ledger, a Redis, a scheduler and workers, and what the ledger says of the jobs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{self, Process};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
use sqlx::PgPool;

use crate::Belt;

/// Long enough for what should happen at once, on a machine that does much else.
pub const SOON: Duration = Duration::from_secs(20);
/// The promise of P5: what a dead worker ran, another runs within this time.
pub const RESCUE: Duration = Duration::from_secs(30);

/// Everything that one test runs on.
pub struct SetUp {
    belt: Belt,
    db: TestDatabase,
    redis_url: String,
    /// What the processes left in the ledger.
    pub pool: PgPool,
    numbers: AtomicI64,
    scheduler: Process,
}

impl SetUp {
    /// On the servers that tests share.
    pub async fn new(belt: Belt) -> Self {
        let redis = Redis::shared().await.url().to_owned();
        Self::on(belt, redis).await
    }

    /// On a Redis of the test's own, which it may break.
    pub async fn with_redis(belt: Belt, redis: &Redis) -> Self {
        Self::on(belt, redis.url().to_owned()).await
    }

    async fn on(belt: Belt, redis_url: String) -> Self {
        let db = TestDatabase::create(Postgres::shared().await).await;
        let pool = db.pool().await;
        let scheduler = Process::spawn("pulsecal-scheduler", env(belt, &db, &redis_url));
        scheduler.wait_line("scheduler: keeps time", SOON).await;
        // Only the jobs of the test: what the clock brings would be counted among them.
        sqlx::query("UPDATE schedules SET enabled = false, changed_by_operator = true")
            .execute(&pool)
            .await
            .expect("the schedules are switched off");
        Self { belt, db, redis_url, pool, numbers: AtomicI64::new(0), scheduler }
    }

    /// A worker with 8 slots that takes jobs.
    pub async fn worker(&self) -> Process {
        self.worker_with("8").await
    }

    /// A worker with so many slots that takes jobs.
    pub async fn worker_with(&self, slots: &str) -> Process {
        let mut env = env(self.belt, &self.db, &self.redis_url);
        env.push(("WORKER_QUEUES", format!("maintenance={slots}")));
        env.push(("PULSECAL_ALLOW_ABORT", "1".to_owned()));
        let worker = Process::spawn("pulsecal-worker", env);
        worker.wait_line("worker: takes jobs", SOON).await;
        worker
    }

    /// Stops the scheduler, as an operator does: nobody sweeps any more.
    pub async fn stop_scheduler(&self) {
        assert!(self.scheduler.stop_gracefully(SOON).await.success(), "{:?}", self.scheduler.lines());
    }

    /// Enqueues trial jobs as an operator does.
    pub async fn enqueue(&self, count: usize, does: &str) {
        let count_text = count.to_string();
        let arguments = ["jobs", "try", "--count", &count_text, "--does", does];
        let done =
            processes::run("pulsecal", &arguments, env(self.belt, &self.db, &self.redis_url), Duration::from_secs(60))
                .await;
        assert!(done.status.success(), "pulsecal jobs try: {}", done.stderr);
    }

    /// `pulsecal` as an operator types it; it succeeds.
    pub async fn operator(&self, arguments: &[&str]) {
        let done = processes::run("pulsecal", arguments, env(self.belt, &self.db, &self.redis_url), SOON).await;
        assert!(done.status.success(), "pulsecal {arguments:?}: {}", done.stderr);
    }

    /// Puts a job into the ledger past the program, as a row of another release or of a broken one; the sweep finds it.
    pub async fn insert(&self, kind: &str, priority: i16, args: serde_json::Value) -> uuid::Uuid {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number.unsigned_abs()));
        sqlx::query(
            "INSERT INTO jobs (id, kind, queue, priority, args, run_at, max_attempts, enqueued_at) VALUES ($1, $2, 'maintenance', $3, $4, now(), 3, now())",
        )
        .bind(id)
        .bind(kind)
        .bind(priority)
        .bind(args)
        .execute(&self.pool)
        .await
        .expect("the row goes in");
        id
    }

    /// A number that a query gives.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.expect("the ledger answers")
    }

    /// How many trial jobs ended in this state.
    pub async fn ended(&self, state: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM job_history WHERE kind = 'noop' AND state = $1")
            .bind(state)
            .fetch_one(&self.pool)
            .await
            .expect("the ledger answers")
    }

    /// How many trial jobs run at this moment, as the ledger has it.
    pub async fn running(&self) -> i64 {
        self.count("SELECT count(*) FROM jobs WHERE kind = 'noop' AND worker IS NOT NULL").await
    }

    /// Waits until so many run.
    pub async fn wait_running(&self, count: i64) {
        until(SOON, "the jobs run", async || (self.running().await == count).then_some(())).await;
    }

    /// Waits until no trial job is left, and so many ended as done and as dead.
    pub async fn wait_ended(&self, done: i64, dead: i64, limit: Duration) {
        until(limit, "every job has ended", async || {
            let live = self.count("SELECT count(*) FROM jobs WHERE kind = 'noop'").await;
            (live == 0).then_some(())
        })
        .await;
        assert_eq!((self.ended("done").await, self.ended("dead").await), (done, dead), "(done, dead)");
    }

    /// Asserts that each trial job was claimed once: no claim of it failed, was lost, or was given back.
    pub async fn each_ran_once(&self) {
        let more = self.count("SELECT count(*) FROM job_history WHERE kind = 'noop' AND attempt <> 1").await;
        let twice = self.count("SELECT count(*) - count(DISTINCT id) FROM job_history WHERE kind = 'noop'").await;
        let tries = self
            .count("SELECT count(*) FROM job_retries r WHERE EXISTS (SELECT FROM job_list j WHERE j.id = r.job_id AND j.kind = 'noop')")
            .await;
        assert_eq!((more, twice, tries), (0, 0, 0), "(ended on a later attempt, ended twice, other tries)");
    }

    /// How often the tries of trial jobs that did not end them came to this outcome.
    pub async fn tries(&self, outcome: &str) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM job_retries r WHERE outcome = $1 AND EXISTS (SELECT FROM job_list j WHERE j.id = r.job_id AND j.kind = 'noop')",
        )
        .bind(outcome)
        .fetch_one(&self.pool)
        .await
        .expect("the ledger answers")
    }

    /// The keys of this test in Redis.
    pub async fn keys(&self) -> Vec<String> {
        ask(&self.redis_url, redis::cmd("KEYS").arg(format!("*{}*", self.db.name()))).await
    }
}

/// Asks a Redis that may take its time.
pub async fn ask<T: redis::FromRedisValue>(url: &str, command: &redis::Cmd) -> T {
    let client = redis::Client::open(url).expect("a URL");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
    let mut line = client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis can be reached");
    command.query_async(&mut line).await.expect("Redis obeys")
}

fn env(belt: Belt, db: &TestDatabase, redis_url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", db.url().to_owned()),
        ("REDIS_URL", redis_url.to_owned()),
        ("REDIS_PREFIX", db.name().to_owned()),
        ("SECRET_KEY", "not-a-secret-but-long-enough-for-tests".to_owned()),
        ("BELT", belt.name().to_owned()),
        ("LOG_FORMAT", "text".to_owned()),
    ]
}
