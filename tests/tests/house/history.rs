//! The history of ended jobs: one partition a month, made ahead, dropped when it is old, and closed to everybody but its owner.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use pulsecal_core::config::Config;
use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::{Fence, Job, JobError, Verdict};
use pulsecal_core::process::context;
use pulsecal_jobs::KeepHistory;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
use sqlx::PgPool;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);
const REST: &str = "job_history_rest";

/// A database whose months were made just now: one copied from a template may have been made last month.
async fn migrated(postgres: &Postgres) -> (TestDatabase, PgPool) {
    let db = TestDatabase::empty(postgres).await;
    let pool = db.pool().await;
    pulsecal_core::store::MIGRATOR.run(&pool).await.expect("up");
    (db, pool)
}

/// A run of the job as a worker has it, in the role of the processes.
fn run_context(url: &str, months: &str) -> RunContext {
    let config = Config::read(&|name| match name {
        "DATABASE_URL" => Some(url.to_owned()),
        "REDIS_URL" => Some("redis://127.0.0.1:1".to_owned()),
        "SECRET_KEY" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        "JOB_HISTORY_MONTHS" => Some(months.to_owned()),
        _ => None,
    });
    let ctx = context(&config.expect("a configuration"), "cli").expect("a context");
    let fence = Fence { job: JobId(Uuid::from_u128(7)), attempt: 1, worker: ProcessId(Uuid::from_u128(8)) };
    RunContext::new(ctx, fence, false)
}

async fn keep(url: &str, months: &str) {
    let ctx = run_context(url, months);
    let verdict = KeepHistory {}.run(&ctx).await.expect("the job runs");
    assert_eq!(verdict, Verdict::Done);
    ctx.db.close().await;
}

/// The partitions with their object ids and bounds, by name.
async fn partitions(pool: &PgPool) -> Vec<(String, i64, String)> {
    sqlx::query_as(
        "SELECT c.relname::text, c.oid::int8, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'job_history'::regclass ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue reads")
}

async fn names(pool: &PgPool) -> Vec<String> {
    partitions(pool).await.into_iter().map(|(name, _, _)| name).collect()
}

/// The first day of the month so many months from now.
async fn month(pool: &PgPool, ahead: i32) -> NaiveDate {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT now()").fetch_one(pool).await.expect("the time");
    let this = now.date_naive().with_day(1).expect("a first day");
    let by = Months::new(ahead.unsigned_abs());
    if ahead < 0 { this - by } else { this + by }
}

fn name_of(month: NaiveDate) -> String {
    month.format("job_history_y%Ym%m").to_string()
}

/// The names of these months' partitions, and of the default one.
async fn with_rest(pool: &PgPool, months: impl IntoIterator<Item = i32>) -> Vec<String> {
    let mut names = vec![REST.to_owned()];
    for ahead in months {
        names.push(name_of(month(pool, ahead).await));
    }
    names.sort();
    names
}

/// A job that ended at this moment.
async fn ended(pool: &PgPool, number: u128, at: DateTime<Utc>) -> Uuid {
    let id = Uuid::from_u128(number);
    sqlx::query(
        "INSERT INTO job_history (id, kind, queue, priority, args, run_at, attempt, max_attempts, crashes, enqueued_at, state, ended_at)
         VALUES ($1, 'noop', 'maintenance', 1, '{\"i\": 1}', $2, 1, 3, 0, $2, 'done', $2)",
    )
    .bind(id)
    .bind(at)
    .execute(pool)
    .await
    .expect("the row goes in");
    id
}

fn start_of(month: NaiveDate) -> DateTime<Utc> {
    month.and_time(NaiveTime::MIN).and_utc()
}

async fn partition_of(pool: &PgPool, job: Uuid) -> Option<String> {
    sqlx::query_scalar("SELECT tableoid::regclass::text FROM job_history WHERE id = $1")
        .bind(job)
        .fetch_optional(pool)
        .await
        .expect("reads")
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("counts")
}

/// What `pulsecal jobs show` says of a job's state; none: it does not find it.
async fn shown(db: &TestDatabase, job: Uuid) -> Option<String> {
    let job = job.to_string();
    let out = run("pulsecal", &["jobs", "show", &job, "--json"], [("DATABASE_URL", db.url())], LIMIT).await;
    let read: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    read["job"]["state"].as_str().filter(|_| out.status.success()).map(str::to_owned)
}

#[tokio::test]
async fn partitions_are_made_ahead_and_a_second_run_changes_nothing() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    assert_eq!(names(&pool).await, with_rest(&pool, 0..=2).await, "the migration makes this month and the next two");
    keep(db.url(), "13").await;
    let made = partitions(&pool).await;
    assert_eq!(names(&pool).await, with_rest(&pool, 0..=3).await, "the job makes the next three");
    let next = month(&pool, 1).await;
    let bounds = format!("FOR VALUES FROM ('{next} 00:00:00+00') TO ('{} 00:00:00+00')", next + Months::new(1));
    assert!(made.iter().any(|(name, _, found)| *name == name_of(next) && *found == bounds), "{bounds}: {made:?}");
    keep(db.url(), "13").await;
    assert_eq!(partitions(&pool).await, made);
    assert_eq!(count(&pool, "SELECT count(*) FROM audit_entries").await, 0, "nothing was removed");
    // Each instant of a month has one home, to the microsecond.
    let last = start_of(next) - chrono::TimeDelta::microseconds(1);
    let (job, after) = (ended(&pool, 1, last).await, ended(&pool, 2, start_of(next)).await);
    assert_eq!(partition_of(&pool, job).await, Some(name_of(month(&pool, 0).await)));
    assert_eq!(partition_of(&pool, after).await, Some(name_of(next)));
}

#[tokio::test]
async fn what_lies_in_the_default_partition_is_moved_and_what_is_too_old_there_is_deleted() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    let day = chrono::TimeDelta::days(1);
    // Months: the one that the job makes next, one that was passed by, and two about the end of what is kept.
    let mut jobs = Vec::new();
    for (number, ahead) in [(1, 3), (2, -2), (3, -13), (4, -14)] {
        let at = start_of(month(&pool, ahead).await) + day;
        let job = ended(&pool, number, at).await;
        assert_eq!(partition_of(&pool, job).await.as_deref(), Some(REST));
        assert_eq!(shown(&db, job).await.as_deref(), Some("done"), "month {ahead}, at rest");
        sqlx::query("INSERT INTO job_retries (job_id, attempt, ended_at, outcome) VALUES ($1, 1, $2, 'retry')")
            .bind(job)
            .bind(at)
            .execute(&pool)
            .await
            .expect("the try goes in");
        jobs.push((job, ahead));
    }
    for round in 0..2 {
        keep(db.url(), "13").await;
        for (job, ahead) in &jobs {
            let found = (partition_of(&pool, *job).await, shown(&db, *job).await);
            let kept = (Some(name_of(month(&pool, *ahead).await)), Some("done".to_owned()));
            assert_eq!(found, if *ahead == -14 { (None, None) } else { kept }, "month {ahead}, round {round}");
        }
        assert_eq!(names(&pool).await, with_rest(&pool, [-13, -2, 0, 1, 2, 3]).await);
        let tries: Vec<Uuid> =
            sqlx::query_scalar("SELECT job_id FROM job_retries ORDER BY 1").fetch_all(&pool).await.expect("reads");
        assert_eq!(tries, [jobs[0].0, jobs[1].0, jobs[2].0], "the tries of the oldest month are gone");
    }
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'job_history.trim' AND detail->>'ended' = '1' AND detail->>'tries' = '1'";
    assert_eq!(count(&pool, noted).await, 1, "what was deleted is on record");
}

#[tokio::test]
async fn a_month_that_is_too_old_is_dropped_and_a_young_one_never() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    let mut jobs = Vec::new();
    for ahead in [-26, -15, -14, -13, -2, -1, 0] {
        let first = month(&pool, ahead).await;
        sqlx::query("SELECT job_history_make_month($1)").bind(first).execute(&pool).await.expect("a month");
        jobs.push((ended(&pool, u128::from(first.num_days_from_ce().unsigned_abs()), start_of(first)).await, ahead));
    }
    // Its name says that it is old, its bounds that it is not.
    sqlx::raw_sql(
        "CREATE TABLE job_history_y2001m01 PARTITION OF job_history FOR VALUES FROM ('2999-01-01') TO ('2999-02-01')",
    )
    .execute(&pool)
    .await
    .expect("a partition");
    let with_decoy = async |months: &[i32]| {
        let mut names = with_rest(&pool, months.iter().copied()).await;
        names.push("job_history_y2001m01".to_owned());
        names.sort();
        names
    };
    for _ in 0..2 {
        keep(db.url(), "13").await;
        assert_eq!(names(&pool).await, with_decoy(&[-13, -2, -1, 0, 1, 2, 3]).await, "13 months are kept");
    }
    assert_eq!(count(&pool, "SELECT count(*) FROM audit_entries WHERE action = 'job_history.drop'").await, 3);
    for (job, ahead) in &jobs {
        let found = shown(&db, *job).await;
        assert_eq!(found.as_deref(), (*ahead >= -13).then_some("done"), "month {ahead}");
    }
    for _ in 0..2 {
        keep(db.url(), "1").await;
        assert_eq!(names(&pool).await, with_decoy(&[-1, 0, 1, 2, 3]).await, "one month is kept");
    }
}

#[tokio::test]
async fn too_many_rows_at_rest_stay_there_and_the_other_months_are_made() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    let at = start_of(month(&pool, 3).await);
    sqlx::query(
        "INSERT INTO job_history (id, kind, queue, priority, args, run_at, attempt, max_attempts, crashes, enqueued_at, state, ended_at)
         SELECT gen_random_uuid(), 'noop', 'maintenance', 1, '{}', $1, 1, 3, 0, $1, 'done', $1 FROM generate_series(1, 100001)",
    )
    .bind(at)
    .execute(&pool)
    .await
    .expect("many rows go in");
    let passed_by = ended(&pool, 1, start_of(month(&pool, -1).await)).await;
    keep(db.url(), "13").await;
    assert_eq!(names(&pool).await, with_rest(&pool, -1..=2).await);
    assert_eq!(partition_of(&pool, passed_by).await, Some(name_of(month(&pool, -1).await)));
    assert_eq!(count(&pool, "SELECT count(*) FROM job_history_rest").await, 100_001);
    sqlx::query("DELETE FROM job_history_rest WHERE ctid IN (SELECT ctid FROM job_history_rest LIMIT 1)")
        .execute(&pool)
        .await
        .expect("one goes");
    keep(db.url(), "13").await;
    assert_eq!(names(&pool).await, with_rest(&pool, -1..=3).await, "so many are moved");
    assert_eq!(count(&pool, "SELECT count(*) FROM job_history_rest").await, 0);
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_makes_the_job_try_again_and_holds_nobody_up() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    let mut long = pool.begin().await.expect("begins");
    sqlx::raw_sql("LOCK TABLE job_history_rest IN ROW EXCLUSIVE MODE").execute(&mut *long).await.expect("locks");
    let before = names(&pool).await;
    let ctx = run_context(db.url(), "13");
    let ended = tokio::time::timeout(LIMIT, KeepHistory {}.run(&ctx)).await.expect("it does not wait for ever");
    assert!(matches!(&ended, Err(JobError::Retry(why)) if why.contains("lock timeout")), "{ended:?}");
    assert_eq!(names(&pool).await, before);
    long.rollback().await.expect("ends");
    keep(db.url(), "13").await;
    assert_eq!(names(&pool).await, with_rest(&pool, 0..=3).await);
}

#[tokio::test]
async fn a_partition_is_closed_even_where_new_tables_are_open_by_default() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    sqlx::raw_sql("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, pulsecal_app, pulsecal_system")
        .execute(&pool)
        .await
        .expect("opened");
    keep(db.url(), "13").await;
    let found: Vec<(String, bool, i64, bool)> = sqlx::query_as(
        "SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid),
           EXISTS (SELECT FROM unnest(ARRAY['pulsecal_app', 'pulsecal_system']) r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) v
             WHERE has_table_privilege(r, c.oid, v))
         FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE i.inhparent = 'job_history'::regclass",
    )
    .fetch_all(&pool)
    .await
    .expect("the catalogue reads");
    assert_eq!(found.len(), 5);
    for (name, forced, policies, open) in found {
        assert_eq!((forced, policies, open), (true, 2, false), "{name}: row-level security, policies, grants");
    }
}

#[tokio::test]
async fn only_the_system_role_keeps_the_history_and_no_date_makes_it_lose_the_last_month() {
    let (_db, pool) = migrated(Postgres::shared().await).await;
    let may = async |role: &str, function: &str| -> bool {
        sqlx::query_scalar("SELECT has_function_privilege($1, $2, 'EXECUTE')")
            .bind(role)
            .bind(function)
            .fetch_one(&pool)
            .await
            .expect("the catalogue reads")
    };
    for (function, system) in [
        ("job_history_make_month(date)", true),
        ("job_history_drop_month(date)", true),
        ("job_history_trim(date)", true),
        ("job_history_rest_months()", true),
        ("job_history_seal(regclass)", false),
        ("job_history_check_limit(date)", false),
    ] {
        assert_eq!(may("pulsecal_system", function).await, system, "{function}");
        assert!(!may("pulsecal_app", function).await, "{function}");
        assert!(!may("public", function).await, "{function}");
    }
    let young = ended(&pool, 1, start_of(month(&pool, 0).await) - chrono::TimeDelta::days(1)).await;
    let refused = async |sql: &'static str, date: Option<NaiveDate>| {
        let mut tx = pool.begin().await.expect("begins");
        sqlx::raw_sql("SET LOCAL ROLE pulsecal_system").execute(&mut *tx).await.expect("the role");
        let done = sqlx::query(sql).bind(date).execute(&mut *tx).await;
        let code = done.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("22023"), "{sql} {date:?}");
    };
    let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
    let (make, drop, trim) =
        ("SELECT job_history_make_month($1)", "SELECT job_history_drop_month($1)", "SELECT job_history_trim($1)");
    for date in [None, Some(day("2026-11-02")), Some(day("1999-12-01")), Some(month(&pool, 13).await)] {
        refused(make, date).await;
    }
    for date in [None, Some(day("2001-01-02")), Some(month(&pool, 0).await), Some(month(&pool, 1).await)] {
        refused(drop, date).await;
        refused(trim, date).await;
    }
    assert!(partition_of(&pool, young).await.is_some());
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_keeps_the_history_too() {
    let postgres = Postgres::private().await;
    let admin = PgPool::connect(postgres.url()).await.expect("the server can be reached");
    sqlx::raw_sql(
        "CREATE ROLE pulsecal_app NOLOGIN; CREATE ROLE pulsecal_system NOLOGIN;
         CREATE ROLE clinic_owner LOGIN CREATEROLE PASSWORD 'for this test only';
         GRANT pulsecal_app, pulsecal_system TO clinic_owner WITH ADMIN OPTION",
    )
    .execute(&admin)
    .await
    .expect("an owner");
    let db = TestDatabase::empty(&postgres).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(r#"ALTER DATABASE "{}" OWNER TO clinic_owner"#, db.name())))
        .execute(&admin)
        .await
        .expect("owned");
    let url = db.url().replacen("//postgres", "//clinic_owner", 1);
    assert_ne!(url, db.url());
    let migrated = run("pulsecal", &["migrate"], [("DATABASE_URL", &url)], LIMIT).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let pool = db.pool().await;
    let moved = ended(&pool, 1, start_of(month(&pool, -1).await)).await;
    let deleted = ended(&pool, 2, start_of(month(&pool, -20).await)).await;
    sqlx::query("SELECT job_history_make_month($1)")
        .bind(month(&pool, -30).await)
        .execute(&pool)
        .await
        .expect("a month");
    for _ in 0..2 {
        keep(&url, "13").await;
        assert_eq!(names(&pool).await, with_rest(&pool, -1..=3).await);
        assert_eq!(partition_of(&pool, moved).await, Some(name_of(month(&pool, -1).await)));
        assert_eq!(partition_of(&pool, deleted).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_schedule_runs_it_in_a_worker() {
    let (db, pool) = migrated(Postgres::shared().await).await;
    let redis = Redis::shared().await;
    let env = || {
        [
            ("DATABASE_URL", db.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", db.name()),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("LOG_FORMAT", "text"),
            ("WORKER_QUEUES", "maintenance=2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let (scheduler, worker) = (Process::spawn("pulsecal-scheduler", env()), Process::spawn("pulsecal-worker", env()));
    scheduler.wait_line("keeps time", LIMIT).await;
    let due = "UPDATE schedules SET decided_until = now() - interval '1 day', next_slot = now() WHERE name = 'keep_history' AND enabled";
    assert_eq!(sqlx::query(due).execute(&pool).await.expect("due").rows_affected(), 1, "it is shipped");
    worker.wait_line("history.made", LIMIT).await;
    let (queue, home) = until(LIMIT, "the job is done", async || {
        sqlx::query_as::<_, (String, String)>(
            "SELECT queue, tableoid::regclass::text FROM job_history WHERE kind = 'keep_history' AND state = 'done'",
        )
        .fetch_optional(&pool)
        .await
        .ok()?
    })
    .await;
    assert_eq!((queue.as_str(), home), ("maintenance", name_of(month(&pool, 0).await)));
    assert_eq!(names(&pool).await, with_rest(&pool, 0..=3).await);
}
