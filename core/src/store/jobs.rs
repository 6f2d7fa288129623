//! Jobs enter the ledger and are claimed from it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::ids::{JobId, OrgId, ProcessId};
use crate::ledger::{Claimed, Fence, NewJob};
use crate::store::DbError;

/// Inserts jobs; returns the ids that went in. The others have a live job with their key already.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    ids: &[JobId],
    new: &[NewJob],
    now: DateTime<Utc>,
) -> Result<HashSet<JobId>, DbError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let kinds: Vec<String> = new.iter().map(|job| job.kind.to_owned()).collect();
    let queues: Vec<String> = new.iter().map(|job| job.queue.as_str().to_owned()).collect();
    let priorities: Vec<i16> = new.iter().map(|job| job.priority.level()).collect();
    let args: Vec<Value> = new.iter().map(|job| job.args.clone()).collect();
    let orgs: Vec<Option<uuid::Uuid>> = new.iter().map(|job| job.org.map(Into::into)).collect();
    let run_at: Vec<Option<DateTime<Utc>>> = new.iter().map(|job| job.run_at).collect();
    let expires_at: Vec<Option<DateTime<Utc>>> = new.iter().map(|job| job.expires_at).collect();
    let expires_after: Vec<Option<f64>> =
        new.iter().map(|job| job.expires_after.map(|wait| wait.as_secs_f64())).collect();
    let attempts: Vec<i32> = new.iter().map(|job| job.max_attempts).collect();
    let keys: Vec<Option<String>> = new.iter().map(|job| job.unique_key.clone()).collect();
    let inserted = sqlx::query_scalar!(
        "INSERT INTO jobs (id, kind, queue, priority, args, org_id, run_at, expires_at, max_attempts, unique_key, enqueued_at)
         SELECT id, kind, queue, priority, args, org_id, coalesce(run_at, now()),
           coalesce(expires_at, coalesce(run_at, now()) + make_interval(secs => expires_after)), attempts, key, $12
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int2[], $5::jsonb[], $6::uuid[], $7::timestamptz[], $8::timestamptz[],
           $9::float8[], $10::int4[], $11::text[])
           AS new (id, kind, queue, priority, args, org_id, run_at, expires_at, expires_after, attempts, key)
         ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
         RETURNING id AS \"id: JobId\"",
        &ids,
        &kinds,
        &queues,
        &priorities,
        &args,
        &orgs as &[Option<uuid::Uuid>],
        &run_at as &[Option<DateTime<Utc>>],
        &expires_at as &[Option<DateTime<Utc>>],
        &expires_after as &[Option<f64>],
        &attempts,
        &keys as &[Option<String>],
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// Which jobs a claim takes, by how often their worker died with them (`crashes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crashed {
    /// Ordinary jobs.
    Never,
    /// Suspects that may have run beside the one that crashed.
    Once,
    /// Suspects that are to run alone.
    Again,
}

impl Crashed {
    /// From how many crashes to how many.
    const fn bounds(self) -> (i16, i16) {
        match self {
            Self::Never => (0, 0),
            Self::Once => (1, 1),
            Self::Again => (2, i16::MAX),
        }
    }
}

/// Claims those of `ids` that are ready and have crashed so often: counts the attempt and names the worker. An id that is
/// not ready is dropped.
///
/// # Errors
/// Postgres.
pub async fn claim(
    conn: &mut PgConnection,
    ids: &[JobId],
    worker: ProcessId,
    crashed: Crashed,
) -> Result<Vec<Claimed>, DbError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let (from, to) = crashed.bounds();
    let rows = sqlx::query!(
        r#"UPDATE jobs j SET worker = $2, attempt = j.attempt + 1, started_at = clock_timestamp()
           WHERE j.ctid = ANY (ARRAY(
             SELECT ctid FROM jobs WHERE id = ANY($1) AND worker IS NULL AND run_at <= clock_timestamp() AND crashes BETWEEN $3 AND $4
             FOR UPDATE SKIP LOCKED))
           RETURNING j.id AS "id: JobId", j.kind, j.args AS "args: Json<Box<RawValue>>", j.org_id AS "org: OrgId", j.attempt, j.max_attempts, j.run_at,
             coalesce(j.expires_at <= clock_timestamp(), false) AS "expired!", j.cancel_asked"#,
        &ids,
        worker.0,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        fence: Fence { job: row.id, attempt: row.attempt, worker },
        kind: row.kind,
        args: row.args.0,
        org: row.org,
        max_attempts: row.max_attempts,
        run_at: row.run_at,
        expired: row.expired,
        cancel_asked: row.cancel_asked,
    });
    Ok(claimed.collect())
}

/// Whether `worker` runs this job.
///
/// # Errors
/// Postgres.
pub async fn is_held(conn: &mut PgConnection, job: JobId, worker: ProcessId) -> Result<bool, DbError> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM jobs WHERE id = $1 AND worker = $2) AS "held!""#, job.0, worker.0)
        .fetch_one(conn)
        .await
}

/// What `worker` runs according to the ledger, each with the seconds since it was claimed. Reads all live jobs.
///
/// # Errors
/// Postgres.
pub async fn held_by(conn: &mut PgConnection, worker: ProcessId) -> Result<Vec<(Fence, f64)>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: JobId", attempt, extract(epoch FROM clock_timestamp() - started_at)::float8 AS "seconds!"
           FROM jobs WHERE worker = $1"#,
        worker.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (Fence { job: row.id, attempt: row.attempt, worker }, row.seconds)).collect())
}
