//! What operators look at: processes, queues, schedules with their last slot.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::DbError;

/// A process that is alive, or was a moment ago.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessLine {
    /// Its id, new at each start.
    pub id: Uuid,
    /// `api`, `worker` or `scheduler`.
    pub kind: String,
    /// The host's name.
    pub host: String,
    /// The operating system's id.
    pub pid: i32,
    /// What it works on.
    pub queues: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it beat last.
    pub beat_at: DateTime<Utc>,
    /// It was told to stop.
    pub stopping: bool,
    /// How many jobs it runs.
    pub running: i64,
}

/// Every process that has not been given up. Reads all live jobs.
///
/// # Errors
/// Postgres.
pub async fn processes(conn: &mut PgConnection) -> Result<Vec<ProcessLine>, DbError> {
    sqlx::query_as!(
        ProcessLine,
        r#"SELECT process_id AS id, kind, host, pid, queues, started_at, beat_at, stopping, coalesce(r.running, 0) AS "running!"
           FROM processes p LEFT JOIN (SELECT worker, count(*) AS running FROM jobs WHERE worker IS NOT NULL GROUP BY worker) r
             ON r.worker = p.process_id
           ORDER BY kind, started_at LIMIT 500"#
    )
    .fetch_all(conn)
    .await
}

/// How many jobs ended within the last minute.
#[derive(Clone, Debug, Serialize)]
pub struct RateLine {
    /// The queue.
    pub queue: String,
    /// Done.
    pub done: i64,
    /// Ended in another way.
    pub other: i64,
}

/// How many jobs of each queue ended within the last minute.
///
/// # Errors
/// Postgres.
pub async fn rates(conn: &mut PgConnection) -> Result<Vec<RateLine>, DbError> {
    sqlx::query_as!(
        RateLine,
        r#"SELECT queue, count(*) FILTER (WHERE state = 'done') AS "done!", count(*) FILTER (WHERE state <> 'done') AS "other!"
           FROM job_history WHERE ended_at > now() - interval '1 minute' GROUP BY queue"#
    )
    .fetch_all(conn)
    .await
}

/// A schedule with its last slot.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleLine {
    /// Its name.
    pub name: String,
    /// Its cron expression, with seconds.
    pub cron: String,
    /// The zone of its local times.
    pub zone: String,
    /// The kind of its job.
    pub job: String,
    /// It is on.
    pub enabled: bool,
    /// `skip` or `allow`.
    pub overlap: String,
    /// `coalesce`, `catch_up:N` or `skip`.
    pub misfire: String,
    /// When it fires next.
    pub next_slot: Option<DateTime<Utc>>,
    /// The slot that was decided last.
    pub last_slot: Option<DateTime<Utc>>,
    /// `fired` or `missed`.
    pub last_decision: Option<String>,
    /// Why it was missed, or that it was run by hand.
    pub last_reason: Option<String>,
    /// Its job.
    pub last_job: Option<Uuid>,
    /// How its job is.
    pub last_state: Option<String>,
}

/// Every schedule, by name.
///
/// # Errors
/// Postgres.
pub async fn schedules(conn: &mut PgConnection) -> Result<Vec<ScheduleLine>, DbError> {
    sqlx::query_as!(
        ScheduleLine,
        r#"SELECT name, cron, zone, job_kind AS job, enabled, overlap, misfire, next_slot, l.slot_at AS "last_slot?", l.decision AS "last_decision?",
             l.reason AS last_reason, l.job_id AS last_job, (SELECT j.state FROM job_list j WHERE j.id = l.job_id LIMIT 1) AS last_state
           FROM schedules s LEFT JOIN LATERAL (
             SELECT slot_at, decision, reason, job_id FROM schedule_slots WHERE schedule = s.name ORDER BY slot_at DESC LIMIT 1) l ON true
           ORDER BY name"#
    )
    .fetch_all(conn)
    .await
}
