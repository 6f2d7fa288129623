//! What operators read at the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{JobId, MessageRowId, OrgId};
use crate::store::DbError;

/// A job, live or ended.
#[derive(Clone, Debug, Serialize)]
pub struct JobLine {
    /// The job.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: String,
    /// Its args: ids.
    pub args: Value,
    /// The attempt it is at.
    pub attempt: i32,
    /// Attempts in all.
    pub max_attempts: i32,
    /// When it is or was due.
    pub run_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The last error.
    pub last_error: Option<String>,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only those made before this one.
    pub before: Option<JobId>,
}

/// Jobs, newest first.
///
/// # Errors
/// Postgres.
pub async fn jobs(conn: &mut PgConnection, wanted: &JobFilter, limit: i64) -> Result<Vec<JobLine>, DbError> {
    sqlx::query_as!(
        JobLine,
        r#"SELECT id AS "id!", kind AS "kind!", queue AS "queue!", state AS "state!", args AS "args!", attempt AS "attempt!", max_attempts AS "max_attempts!",
             run_at AS "run_at!", ended_at, last_error
           FROM job_list WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR queue = $3)
             AND ($4::uuid IS NULL OR id < $4) ORDER BY id DESC LIMIT $5"#,
        wanted.state,
        wanted.kind,
        wanted.queue,
        wanted.before.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// A try of a job.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptLine {
    /// Which try.
    pub attempt: i32,
    /// The process that ran it.
    pub worker: Option<Uuid>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How.
    pub outcome: String,
    /// With which error.
    pub error: Option<String>,
}

/// One job with its tries.
///
/// # Errors
/// Postgres.
pub async fn job(conn: &mut PgConnection, id: JobId) -> Result<Option<(JobLine, Vec<AttemptLine>)>, DbError> {
    let line = sqlx::query_as!(
        JobLine,
        r#"SELECT id AS "id!", kind AS "kind!", queue AS "queue!", state AS "state!", args AS "args!", attempt AS "attempt!", max_attempts AS "max_attempts!",
             run_at AS "run_at!", ended_at, last_error FROM job_list WHERE id = $1"#,
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(line) = line else { return Ok(None) };
    let tries = sqlx::query_as!(
        AttemptLine,
        r#"SELECT attempt AS "attempt!", worker, started_at, ended_at, outcome AS "outcome!", error FROM job_attempts WHERE job_id = $1 ORDER BY started_at"#,
        id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(Some((line, tries)))
}

/// A message that was refused, and may be sent after all.
#[derive(Clone, Copy, Debug)]
pub struct FreedMessage {
    /// The row.
    pub id: MessageRowId,
    /// Whose.
    pub org: Option<OrgId>,
}

/// Puts a dead job back into the ledger, with its attempts to use again. If it died because its message failed, nothing was
/// sent, and the message is planned again; whether it is still right to send it is asked at the next try. A message that was
/// sent, or perhaps was, stays as it is. Gives the messages that were freed; none: there is no such dead job.
///
/// # Errors
/// Postgres.
pub async fn retry_dead(conn: &mut PgConnection, id: JobId) -> Result<Option<Vec<FreedMessage>>, DbError> {
    let done = sqlx::query!(
        "INSERT INTO jobs (id, kind, queue, priority, args, org_id, run_at, attempt, max_attempts, unique_key, trace, enqueued_at, last_error)
         SELECT id, kind, queue, priority, args, org_id, now(), 0, max_attempts, unique_key, trace, enqueued_at, last_error
         FROM job_history h WHERE id = $1 AND state = 'dead' AND NOT EXISTS (SELECT FROM job_history n WHERE n.id = h.id AND n.ended_at > h.ended_at)
         ON CONFLICT DO NOTHING",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    // No index goes by the job, but one by what a message is about, which is among the ids in the job's args.
    let freed = sqlx::query_as!(
        FreedMessage,
        r#"UPDATE messages SET state = 'planned', settled_at = NULL WHERE job_id = $1 AND state = 'failed' AND subject_id = ANY (ARRAY(
             SELECT (arg #>> '{}')::uuid
             FROM jobs, jsonb_path_query(args, '$.* ? (@ like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")') AS arg WHERE id = $1))
           RETURNING id AS "id: MessageRowId", org_id AS "org: OrgId""#,
        id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(freed))
}

/// A queue at this moment.
#[derive(Clone, Debug, Serialize)]
pub struct QueueLine {
    /// The queue.
    pub queue: String,
    /// Jobs that are due and wait.
    pub ready: i64,
    /// Jobs for later.
    pub scheduled: i64,
    /// Jobs that run.
    pub running: i64,
    /// How long the oldest due job has waited, in seconds.
    pub oldest_seconds: f64,
}

/// Every queue that has live jobs.
///
/// # Errors
/// Postgres.
pub async fn queues(conn: &mut PgConnection) -> Result<Vec<QueueLine>, DbError> {
    sqlx::query_as!(
        QueueLine,
        r#"SELECT queue, count(*) FILTER (WHERE worker IS NULL AND run_at <= now()) AS "ready!", count(*) FILTER (WHERE worker IS NULL AND run_at > now()) AS "scheduled!",
             count(*) FILTER (WHERE worker IS NOT NULL) AS "running!",
             coalesce(extract(epoch FROM now() - min(run_at) FILTER (WHERE worker IS NULL AND run_at <= now()))::float8, 0) AS "oldest_seconds!"
           FROM jobs GROUP BY queue ORDER BY queue"#
    )
    .fetch_all(conn)
    .await
}

/// A message, without whom it is to.
#[derive(Clone, Debug, Serialize)]
pub struct MessageLine {
    /// The row.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// What it is about.
    pub subject: Uuid,
    /// To which person.
    pub recipient: Uuid,
    /// Its state.
    pub state: String,
    /// Its `Message-ID`.
    pub message_id: String,
    /// Why, if it was not sent.
    pub reason: Option<String>,
    /// When it came to be.
    pub created_at: DateTime<Utc>,
}

/// Messages in a state (or any), newest first.
///
/// # Errors
/// Postgres.
pub async fn messages(conn: &mut PgConnection, state: Option<&str>, limit: i64) -> Result<Vec<MessageLine>, DbError> {
    sqlx::query_as!(
        MessageLine,
        "SELECT id, kind, subject_id AS subject, recipient_id AS recipient, state, message_id, reason, created_at
         FROM messages WHERE $1::text IS NULL OR state = $1 ORDER BY created_at DESC LIMIT $2",
        state,
        limit
    )
    .fetch_all(conn)
    .await
}
