//! What operators change: queues that stand still, schedules that are off, jobs that are to stop.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{JobId, OrgId, ProcessId};
use crate::ledger::{Fence, Queue};
use crate::store::DbError;

/// The queues that are paused, and the runs of `worker` that are to stop.
///
/// # Errors
/// Postgres.
pub async fn orders(conn: &mut PgConnection, worker: ProcessId) -> Result<(Vec<String>, Vec<Fence>), DbError> {
    let rows = sqlx::query!(
        r#"SELECT queue AS "queue?", NULL::uuid AS "job?: JobId", 0 AS "attempt!" FROM queues WHERE paused
           UNION ALL SELECT NULL, id, attempt FROM jobs WHERE cancel_asked AND worker = $1"#,
        worker.0
    )
    .fetch_all(conn)
    .await?;
    let (mut queues, mut runs) = (Vec::new(), Vec::new());
    for row in rows {
        queues.extend(row.queue);
        runs.extend(row.job.map(|job| Fence { job, attempt: row.attempt, worker }));
    }
    Ok((queues, runs))
}

/// The queues that are paused.
///
/// # Errors
/// Postgres.
pub async fn paused(conn: &mut PgConnection) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!("SELECT queue FROM queues WHERE paused ORDER BY queue").fetch_all(conn).await
}

/// Pauses a queue, or lets it go on. False: it was so before.
///
/// # Errors
/// Postgres.
pub async fn set_paused(
    conn: &mut PgConnection,
    queue: Queue,
    paused: bool,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO queues (queue, paused, changed_at) SELECT $1, $2, $3 WHERE $2 OR EXISTS (SELECT FROM queues WHERE queue = $1)
         ON CONFLICT (queue) DO UPDATE SET paused = excluded.paused, changed_at = excluded.changed_at WHERE queues.paused <> excluded.paused",
        queue.as_str(),
        paused,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of the wish to cancel a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and has ended as cancelled.
    Ended,
    /// It runs, and is told to stop.
    Told,
    /// It runs, and was told before.
    ToldBefore,
    /// It is not live.
    NotLive,
}

/// The jobs of `kind` with these keys that wait.
///
/// # Errors
/// Postgres.
pub async fn waiting(conn: &mut PgConnection, kind: &str, keys: &[String]) -> Result<Vec<JobId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: JobId" FROM jobs WHERE kind = $1 AND unique_key = ANY ($2) AND worker IS NULL"#,
        kind,
        keys
    )
    .fetch_all(conn)
    .await
}

/// Ends those of these jobs that wait as cancelled, with the reason, and says whose they were. One that runs stays as it is.
///
/// # Errors
/// Postgres.
pub async fn end_waiting(conn: &mut PgConnection, ids: &[JobId], why: &str) -> Result<Vec<Option<OrgId>>, DbError> {
    sqlx::query_scalar!(
        r#"WITH gone AS (DELETE FROM jobs WHERE id = ANY ($1) AND worker IS NULL RETURNING *)
           INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker,
             started_at, unique_key, trace, enqueued_at, last_error, state, ended_at)
           SELECT id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker,
             started_at, unique_key, trace, enqueued_at, $2, 'cancelled', clock_timestamp() FROM gone
           RETURNING org_id AS "org: OrgId""#,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
        why
    )
    .fetch_all(conn)
    .await
}

/// Cancels a job, with whose it is: one that waits ends in this transaction, one that runs is told to stop.
///
/// # Errors
/// Postgres.
pub async fn cancel(conn: &mut PgConnection, id: JobId, why: &str) -> Result<(Cancelled, Option<OrgId>), DbError> {
    let ended = end_waiting(conn, &[id], why).await?;
    if let [org] = ended[..] {
        return Ok((Cancelled::Ended, org));
    }
    let running = sqlx::query!(
        r#"WITH found AS (SELECT id, org_id, cancel_asked FROM jobs WHERE id = $1 FOR UPDATE),
             told AS (UPDATE jobs SET cancel_asked = true FROM found WHERE jobs.id = found.id AND NOT found.cancel_asked)
           SELECT org_id AS "org: OrgId", cancel_asked FROM found"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(match running {
        None => (Cancelled::NotLive, None),
        Some(row) if row.cancel_asked => (Cancelled::ToldBefore, row.org),
        Some(row) => (Cancelled::Told, row.org),
    })
}

/// Switches a schedule on or off. None: there is no such schedule; false: it was so before.
///
/// # Errors
/// Postgres.
pub async fn set_enabled(
    conn: &mut PgConnection,
    schedule: &str,
    enabled: bool,
    now: DateTime<Utc>,
) -> Result<Option<bool>, DbError> {
    let before = sqlx::query_scalar!("SELECT enabled FROM schedules WHERE name = $1 FOR UPDATE", schedule)
        .fetch_optional(&mut *conn)
        .await?;
    if before == Some(!enabled) {
        sqlx::query!("UPDATE schedules SET enabled = $2, updated_at = $3 WHERE name = $1", schedule, enabled, now)
            .execute(conn)
            .await?;
    }
    Ok(before.map(|before| before != enabled))
}
