//! Doses on their way: what falls due, how far it has come, what was answered.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{OccurrenceId, OrgId};
use crate::store::DbError;

/// A dose whose next step has come.
#[derive(Clone, Debug)]
pub struct DueDose {
    /// The dose.
    pub id: OccurrenceId,
    /// Whose.
    pub org: OrgId,
    /// Its state.
    pub state: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// Where its steps count from.
    pub ladder_at: DateTime<Utc>,
    /// The step that comes next.
    pub step: i16,
    /// When nudges come, in seconds after `ladder_at`.
    pub nudge_after_seconds: Vec<i32>,
    /// When it is missed, in seconds after `ladder_at`.
    pub window_seconds: i32,
}

/// Doses whose next step has come by `now`, locked; other dispatchers skip them.
///
/// # Errors
/// Postgres.
pub async fn due_doses(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<DueDose>, DbError> {
    sqlx::query_as!(
        DueDose,
        r#"SELECT o.occurrence_id AS "id: OccurrenceId", o.org_id AS "org: OrgId", o.state, o.due_at, o.ladder_at, o.step, r.nudge_after_seconds, r.window_seconds
           FROM dose_occurrences o JOIN medication_reminders r USING (reminder_id)
           WHERE o.next_at <= $1 ORDER BY o.next_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// When the earliest next step of any dose falls due.
///
/// # Errors
/// Postgres.
pub async fn next_due(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, DbError> {
    sqlx::query_scalar!("SELECT min(next_at) FROM dose_occurrences WHERE next_at IS NOT NULL").fetch_one(conn).await
}

/// A dose's next place on its ladder.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The dose.
    pub id: OccurrenceId,
    /// The state it takes.
    pub state: &'static str,
    /// The step after this one.
    pub step: i16,
    /// When that comes; none: the dose is settled.
    pub next_at: Option<DateTime<Utc>>,
    /// Why it is settled.
    pub reason: Option<&'static str>,
}

/// Moves doses along their ladders.
///
/// # Errors
/// Postgres.
pub async fn advance(conn: &mut PgConnection, all: &[Advance], now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE dose_occurrences o SET state = n.state, step = n.step, next_at = n.next, reason = coalesce(n.why, o.reason),
           settled_at = CASE WHEN n.next IS NULL THEN $6::timestamptz END, updated_at = $6
         FROM unnest($1::uuid[], $2::text[], $3::int2[], $4::timestamptz[], $5::text[]) AS n (id, state, step, next, why)
         WHERE o.occurrence_id = n.id",
        &all.iter().map(|a| a.id.0).collect::<Vec<_>>(),
        &all.iter().map(|a| a.state.to_owned()).collect::<Vec<_>>(),
        &all.iter().map(|a| a.step).collect::<Vec<_>>(),
        &all.iter().map(|a| a.next_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &all.iter().map(|a| a.reason.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A dose as its patient answers it.
#[derive(Clone, Debug)]
pub struct AnsweredDose {
    /// Its state.
    pub state: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// How often it was snoozed.
    pub snoozes: i16,
    /// The end of the time in which an answer counts: the next dose, or a day.
    pub answer_until: DateTime<Utc>,
}

/// Reads and locks a dose to answer it.
///
/// # Errors
/// Postgres.
pub async fn dose_to_answer(conn: &mut PgConnection, id: OccurrenceId) -> Result<Option<AnsweredDose>, DbError> {
    sqlx::query_as!(
        AnsweredDose,
        r#"SELECT o.state, o.due_at, o.snoozes,
             least(o.due_at + interval '24 hours', coalesce(
               (SELECT min(n.due_at) FROM dose_occurrences n WHERE n.reminder_id = o.reminder_id AND n.due_at > o.due_at),
               o.due_at + interval '24 hours')) AS "answer_until!"
           FROM dose_occurrences o WHERE o.occurrence_id = $1 FOR UPDATE OF o"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// Records an answer. A snooze starts the ladder anew at `again_at`.
///
/// # Errors
/// Postgres.
pub async fn answer(
    conn: &mut PgConnection,
    id: OccurrenceId,
    state: &str,
    again_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE dose_occurrences SET state = $2, next_at = $3, ladder_at = coalesce($3, ladder_at), step = CASE WHEN $3::timestamptz IS NULL THEN step ELSE 0 END,
           snoozes = snoozes + CASE WHEN $3::timestamptz IS NULL THEN 0 ELSE 1 END, settled_at = CASE WHEN $3::timestamptz IS NULL THEN $4::timestamptz END,
           reason = NULL, updated_at = $4
         WHERE occurrence_id = $1",
        id.0,
        state,
        again_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
