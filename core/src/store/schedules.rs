//! Schedules and their slots.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::JobId;
use crate::store::DbError;

/// A schedule's row.
#[derive(Clone, Debug)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// Its cron expression, with seconds.
    pub cron: String,
    /// The zone of its local times.
    pub zone: String,
    /// The kind of its job.
    pub job_kind: String,
    /// The job's args.
    pub args: Value,
    /// Operators may switch it off.
    pub enabled: bool,
    /// `skip` or `allow`.
    pub overlap: String,
    /// `coalesce`, `catch_up:N` or `skip`.
    pub misfire: String,
    /// How late a slot may be made up.
    pub window_seconds: i32,
    /// `after` or `skip`.
    pub gap: String,
    /// `first`, `second` or `both`.
    pub fold: String,
    /// Every slot up to here is decided.
    pub decided_until: DateTime<Utc>,
    /// What the tick waits for.
    pub next_slot: Option<DateTime<Utc>>,
}

/// A schedule as the code ships it.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its cron expression, with seconds.
    pub cron: &'static str,
    /// The zone of its local times.
    pub zone: &'static str,
    /// The kind of its job.
    pub job_kind: &'static str,
    /// `coalesce`, `catch_up:N` or `skip`.
    pub misfire: &'static str,
    /// How late a slot may be made up.
    pub window_seconds: i32,
}

/// Ships a schedule: new ones are added, known ones follow the code unless an operator changed them.
///
/// # Errors
/// Postgres.
pub async fn ship(
    conn: &mut PgConnection,
    shipped: &Shipped,
    next: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO schedules (name, cron, zone, job_kind, misfire, window_seconds, decided_until, next_slot, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $8, $7, $8, $8)
         ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, zone = excluded.zone, job_kind = excluded.job_kind, misfire = excluded.misfire,
           window_seconds = excluded.window_seconds, updated_at = excluded.updated_at,
           next_slot = CASE WHEN schedules.cron = excluded.cron AND schedules.zone = excluded.zone THEN schedules.next_slot ELSE excluded.next_slot END
         WHERE NOT schedules.changed_by_operator
           AND (schedules.cron, schedules.zone, schedules.job_kind, schedules.misfire, schedules.window_seconds)
             IS DISTINCT FROM (excluded.cron, excluded.zone, excluded.job_kind, excluded.misfire, excluded.window_seconds)",
        shipped.name,
        shipped.cron,
        shipped.zone,
        shipped.job_kind,
        shipped.misfire,
        shipped.window_seconds,
        next,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Schedules whose next slot has come, locked; other schedulers skip them.
///
/// # Errors
/// Postgres.
pub async fn due(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<ScheduleRow>, DbError> {
    sqlx::query_as!(
        ScheduleRow,
        "SELECT name, cron, zone, job_kind, args, enabled, overlap, misfire, window_seconds, gap, fold, decided_until, next_slot
         FROM schedules WHERE enabled AND next_slot <= $1 ORDER BY next_slot LIMIT 50 FOR UPDATE SKIP LOCKED",
        now
    )
    .fetch_all(conn)
    .await
}

/// Every schedule, by name.
///
/// # Errors
/// Postgres.
pub async fn all(conn: &mut PgConnection) -> Result<Vec<ScheduleRow>, DbError> {
    sqlx::query_as!(
        ScheduleRow,
        "SELECT name, cron, zone, job_kind, args, enabled, overlap, misfire, window_seconds, gap, fold, decided_until, next_slot FROM schedules ORDER BY name"
    )
    .fetch_all(conn)
    .await
}

/// A schedule, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn lock(conn: &mut PgConnection, name: &str) -> Result<Option<ScheduleRow>, DbError> {
    sqlx::query_as!(
        ScheduleRow,
        "SELECT name, cron, zone, job_kind, args, enabled, overlap, misfire, window_seconds, gap, fold, decided_until, next_slot
         FROM schedules WHERE name = $1 FOR UPDATE",
        name
    )
    .fetch_optional(conn)
    .await
}

/// Whether a slot was decided.
///
/// # Errors
/// Postgres.
pub async fn is_decided(conn: &mut PgConnection, name: &str, slot: DateTime<Utc>) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM schedule_slots WHERE schedule = $1 AND slot_at = $2) AS "decided!""#,
        name,
        slot
    )
    .fetch_one(conn)
    .await
}

/// Whether the job of an earlier slot is still live.
///
/// # Errors
/// Postgres.
pub async fn runs_still(conn: &mut PgConnection, name: &str) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM jobs WHERE id = (
             SELECT job_id FROM schedule_slots WHERE schedule = $1 AND job_id IS NOT NULL ORDER BY slot_at DESC LIMIT 1)) AS "live!""#,
        name
    )
    .fetch_one(conn)
    .await
}

/// Decides a slot. False: it was decided before, so nothing must be done for it.
///
/// # Errors
/// Postgres.
pub async fn decide(
    conn: &mut PgConnection,
    name: &str,
    slot: DateTime<Utc>,
    decision: &str,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO schedule_slots (schedule, slot_at, decision, reason, decided_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        name,
        slot,
        decision,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes which job a slot fired.
///
/// # Errors
/// Postgres.
pub async fn fired(conn: &mut PgConnection, name: &str, slot: DateTime<Utc>, job: JobId) -> Result<(), DbError> {
    let job: Uuid = job.into();
    sqlx::query!("UPDATE schedule_slots SET job_id = $3 WHERE schedule = $1 AND slot_at = $2", name, slot, job)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves a schedule on.
///
/// # Errors
/// Postgres.
pub async fn move_on(
    conn: &mut PgConnection,
    name: &str,
    decided_until: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    sqlx::query!("UPDATE schedules SET decided_until = $2, next_slot = $3 WHERE name = $1", name, decided_until, next)
        .execute(conn)
        .await?;
    Ok(())
}
