//! Jobs end, or go back. One statement for each way, guarded by (id, attempt, worker): who lost its claim changes nothing.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{JobId, ProcessId};
use crate::ledger::{Ending, Finish};
use crate::store::DbError;

/// Records how jobs ended; returns those that were still held by their fence.
///
/// # Errors
/// Postgres; nothing is recorded then if the caller's transaction rolls back.
pub async fn finish(conn: &mut PgConnection, batch: &[Finish]) -> Result<HashSet<JobId>, DbError> {
    let mut held = HashSet::with_capacity(batch.len());
    let mut ended = Ended::default();
    let mut back = Back::default();
    for Finish { fence, ending } in batch {
        let (id, attempt, worker) = (fence.job.0, fence.attempt, fence.worker.0);
        match ending {
            Ending::Done => ended.push(id, attempt, worker, "done", None),
            Ending::Cancelled(why) => ended.push(id, attempt, worker, "cancelled", Some(why.clone())),
            Ending::Expired => ended.push(id, attempt, worker, "expired", None),
            Ending::Dead(why) => ended.push(id, attempt, worker, "dead", Some(why.clone())),
            Ending::Retry(at, why) => back.push(id, attempt, worker, "retry", Some(*at), Some(why.clone())),
            Ending::Snoozed(at) => back.push(id, attempt, worker, "snoozed", Some(*at), None),
            Ending::GivenBack => back.push(id, attempt, worker, "given_back", None, None),
        }
    }
    if !ended.ids.is_empty() {
        let gone = sqlx::query_scalar!(
            r#"WITH ended AS (
                 SELECT * FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::text[], $5::text[]) AS e (id, attempt, worker, state, why)
               ), gone AS (
                 DELETE FROM jobs j USING ended e WHERE j.id = e.id AND j.attempt = e.attempt AND j.worker = e.worker
                 RETURNING j.*, e.state, e.why
               )
               INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker,
                 started_at, unique_key, trace, enqueued_at, last_error, state, ended_at)
               SELECT id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker,
                 started_at, unique_key, trace, enqueued_at, coalesce(why, last_error), state, clock_timestamp() FROM gone
               RETURNING id AS "id: JobId""#,
            &ended.ids,
            &ended.attempts,
            &ended.workers,
            &ended.states,
            &ended.why as &[Option<String>],
        )
        .fetch_all(&mut *conn)
        .await?;
        held.extend(gone);
    }
    if !back.ids.is_empty() {
        let returned = sqlx::query_scalar!(
            r#"WITH back AS (
                 SELECT * FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[])
                   AS b (id, attempt, worker, outcome, at, why)
               ), held AS (
                 SELECT j.id, j.started_at, j.org_id, b.attempt, b.worker, b.outcome, b.at, b.why FROM jobs j JOIN back b
                   ON j.id = b.id AND j.attempt = b.attempt AND j.worker = b.worker FOR UPDATE OF j
               ), returned AS (
                 UPDATE jobs j SET worker = NULL, started_at = NULL,
                   run_at = CASE WHEN j.cancel_asked THEN j.run_at ELSE coalesce(h.at, j.run_at) END, -- to be cancelled: at once
                   attempt = j.attempt - CASE WHEN h.outcome = 'retry' THEN 0 ELSE 1 END, last_error = coalesce(h.why, j.last_error)
                 FROM held h WHERE j.id = h.id
               )
               INSERT INTO job_retries (job_id, attempt, worker, started_at, ended_at, outcome, org_id, error)
               SELECT id, attempt, worker, started_at, clock_timestamp(), outcome, org_id, why FROM held
               RETURNING job_id AS "id: JobId""#,
            &back.ids,
            &back.attempts,
            &back.workers,
            &back.outcomes,
            &back.at as &[Option<DateTime<Utc>>],
            &back.why as &[Option<String>],
        )
        .fetch_all(&mut *conn)
        .await?;
        held.extend(returned);
    }
    Ok(held)
}

/// Gives back the running jobs of processes that are gone; the attempt stays counted. Neither the first crash is held against
/// a job, since it ran among all, nor the second, since it ran in a group of suspects. From then on it runs beside no other
/// suspect. At the third, a job whose attempts are used up is dead if it was all that its process had; if an ordinary job was
/// beside it, which may have been the one, it is dead at the fourth. Returns (given back, dead).
///
/// # Errors
/// Postgres.
pub async fn rescue(conn: &mut PgConnection, gone: &[ProcessId]) -> Result<(u64, u64), DbError> {
    let gone: Vec<_> = gone.iter().map(|id| id.0).collect();
    let dead = sqlx::query!(
        "WITH lost AS (
           SELECT id, count(*) OVER (PARTITION BY worker) AS together FROM jobs WHERE worker = ANY($1)
         ), gone AS (
           DELETE FROM jobs j USING lost
           WHERE j.id = lost.id AND j.worker = ANY($1) AND j.attempt >= j.max_attempts
             AND (j.crashes > 2 OR (j.crashes = 2 AND lost.together = 1))
           RETURNING j.*
         )
         INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker,
           started_at, unique_key, trace, enqueued_at, last_error, state, ended_at)
         SELECT id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes + 1, worker,
           started_at, unique_key, trace, enqueued_at, 'its worker process died while it ran, on the last of its attempts', 'dead', now() FROM gone",
        &gone
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let back = sqlx::query!(
        "WITH lost AS (SELECT id, attempt, worker, started_at, org_id FROM jobs WHERE worker = ANY($1) FOR UPDATE SKIP LOCKED),
         back AS (
           UPDATE jobs j SET worker = NULL, started_at = NULL, crashes = crashes + 1, last_error = 'its worker process died while it ran'
           FROM lost WHERE j.id = lost.id
         )
         INSERT INTO job_retries (job_id, attempt, worker, started_at, ended_at, outcome, org_id, error)
         SELECT id, attempt, worker, started_at, now(), 'lost', org_id, 'its worker process died while it ran' FROM lost",
        &gone
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    Ok((back, dead))
}

#[derive(Default)]
struct Ended {
    ids: Vec<uuid::Uuid>,
    attempts: Vec<i32>,
    workers: Vec<uuid::Uuid>,
    states: Vec<String>,
    why: Vec<Option<String>>,
}

impl Ended {
    fn push(&mut self, id: uuid::Uuid, attempt: i32, worker: uuid::Uuid, state: &str, why: Option<String>) {
        self.ids.push(id);
        self.attempts.push(attempt);
        self.workers.push(worker);
        self.states.push(state.to_owned());
        self.why.push(why);
    }
}

#[derive(Default)]
struct Back {
    ids: Vec<uuid::Uuid>,
    attempts: Vec<i32>,
    workers: Vec<uuid::Uuid>,
    outcomes: Vec<String>,
    at: Vec<Option<DateTime<Utc>>>,
    why: Vec<Option<String>>,
}

impl Back {
    fn push(
        &mut self,
        id: uuid::Uuid,
        attempt: i32,
        worker: uuid::Uuid,
        outcome: &str,
        at: Option<DateTime<Utc>>,
        why: Option<String>,
    ) {
        self.ids.push(id);
        self.attempts.push(attempt);
        self.workers.push(worker);
        self.outcomes.push(outcome.to_owned());
        self.at.push(at);
        self.why.push(why);
    }
}
