//! Exports as they are worked on: tries begin, tell how far they are, and end; files expire.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::exports::{Encoded, Spec};
use crate::ids::{ExportId, OrgId, PersonId};
use crate::store::DbError;

/// A try that begins.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which try: what it reports later counts only while no other has begun.
    pub attempt: i32,
    /// What is asked for.
    pub spec: Spec,
    /// Where the try before, if there was one, was writing to.
    pub before: Option<String>,
}

/// Begins a try, which writes to `object`. None: the export is over, or there is none.
///
/// # Errors
/// Postgres.
pub async fn take(
    conn: &mut PgConnection,
    id: ExportId,
    object: &str,
    now: DateTime<Utc>,
) -> Result<Option<Taken>, DbError> {
    let row = sqlx::query!(
        r#"WITH before AS (SELECT export_id, object FROM exports WHERE export_id = $1 FOR UPDATE)
           UPDATE exports e SET state = 'running', phase = 'counting', attempt = e.attempt + 1, object = $2, rows_done = 0, rows_estimated = NULL,
             bytes = 0, as_of = NULL, problem = NULL, started_at = coalesce(e.started_at, $3)
           FROM before WHERE e.export_id = before.export_id AND e.state IN ('queued', 'running')
           RETURNING e.attempt, e.spec AS "spec: Json<Spec>", before.object"#,
        id.0,
        object,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Taken { attempt: row.attempt, spec: row.spec.0, before: row.object }))
}

/// How far a try is.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// What it does.
    pub phase: &'static str,
    /// Rows in the file.
    pub rows: u64,
    /// Rows that there will be.
    pub estimated: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The moment that the rows show.
    pub as_of: DateTime<Utc>,
}

/// Puts on record how far a try is. False: it is no longer wanted.
///
/// # Errors
/// Postgres.
pub async fn report(conn: &mut PgConnection, id: ExportId, attempt: i32, at: Reached) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE exports SET phase = $3, rows_done = $4, rows_estimated = $5, bytes = $6, as_of = $7
         WHERE export_id = $1 AND attempt = $2 AND state = 'running'",
        id.0,
        attempt,
        at.phase,
        count(at.rows),
        count(at.estimated),
        count(at.bytes),
        at.as_of
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The file is there. None: nobody waits for this try any more, so its file is to go; else who asked.
///
/// # Errors
/// Postgres.
pub async fn succeed(
    conn: &mut PgConnection,
    id: ExportId,
    attempt: i32,
    file: &Encoded,
    as_of: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<PersonId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE exports SET state = 'succeeded', phase = 'over', rows_done = $3, rows_estimated = $3, bytes = $4, sha256 = $5, notes = $6,
             as_of = $7, expires_at = $8, ended_at = $9, problem = NULL
           WHERE export_id = $1 AND attempt = $2 AND state = 'running' RETURNING asked_by AS "by: PersonId""#,
        id.0,
        attempt,
        count(file.rows),
        count(file.bytes),
        file.sha256,
        serde_json::Value::from(file.notes.clone()),
        as_of,
        expires_at,
        now
    )
    .fetch_optional(conn)
    .await
}

/// The try failed: for good, or to be tried again. False: nobody waits for it any more.
///
/// # Errors
/// Postgres.
pub async fn fail(
    conn: &mut PgConnection,
    id: ExportId,
    attempt: i32,
    problem: &str,
    for_good: bool,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE exports SET state = CASE WHEN $4 THEN 'failed' ELSE 'queued' END, phase = CASE WHEN $4 THEN 'over' ELSE 'waiting' END,
           problem = $3, object = NULL, ended_at = CASE WHEN $4 THEN $5::timestamptz END
         WHERE export_id = $1 AND attempt = $2 AND state = 'running'",
        id.0,
        attempt,
        problem,
        for_good,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Cancels an export of a person's that is not over. False: it is over, or there is none.
///
/// # Errors
/// Postgres.
pub async fn cancel(conn: &mut PgConnection, id: ExportId, by: PersonId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE exports SET state = 'cancelled', phase = 'over', ended_at = $3, problem = 'It was cancelled.'
         WHERE export_id = $1 AND asked_by = $2 AND state IN ('queued', 'running')",
        id.0,
        by.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What the mail about an export starts from.
#[derive(Clone, Debug)]
pub struct ReadySubject {
    /// The export.
    pub export: uuid::Uuid,
    /// Its state.
    pub state: String,
    /// Who asked.
    pub person: PersonId,
    /// Their address, if it is proven.
    pub email: Option<String>,
    /// They are there, and work there.
    pub reachable: bool,
    /// The name that gives nothing away.
    pub discreet_name: Option<String>,
}

/// Reads what the mails about these exports start from.
///
/// # Errors
/// Postgres.
pub async fn ready_subjects(conn: &mut PgConnection, ids: &[ExportId]) -> Result<Vec<ReadySubject>, DbError> {
    sqlx::query_as!(
        ReadySubject,
        r#"SELECT e.export_id AS export, e.state, e.asked_by AS "person: PersonId", CASE WHEN p.email_verified_at IS NOT NULL THEN p.email END AS email,
             p.active AND NOT p.deceased AS "reachable!", c.discreet_name
           FROM exports e JOIN people p ON p.person_id = e.asked_by JOIN organizations c ON c.org_id = e.org_id WHERE e.export_id = ANY ($1)"#,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await
}

/// An export that the sweep has changed.
#[derive(Clone, Copy, Debug)]
pub struct Swept {
    /// The export.
    pub id: ExportId,
    /// Whose.
    pub org: OrgId,
}

/// Lets exports expire whose time has come, so many at most.
///
/// # Errors
/// Postgres.
pub async fn expire(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<Vec<Swept>, DbError> {
    sqlx::query_as!(
        Swept,
        r#"UPDATE exports SET state = 'expired', object = NULL, problem = 'Its time was over, and the file was deleted. Ask for it anew.'
           WHERE export_id = ANY (ARRAY(
             SELECT export_id FROM exports WHERE state = 'succeeded' AND expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
           RETURNING export_id AS "id: ExportId", org_id AS "org: OrgId""#,
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// Ends exports that wait for a job which is no longer there: it died, or an operator cancelled it.
///
/// # Errors
/// Postgres.
pub async fn give_up(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<Vec<Swept>, DbError> {
    sqlx::query_as!(
        Swept,
        r#"UPDATE exports SET state = 'failed', phase = 'over', object = NULL, ended_at = $1,
             problem = coalesce(problem, 'It broke off again and again, or took too long. Ask for fewer rows, or tell whoever runs this server.')
           WHERE export_id = ANY (ARRAY(
             SELECT export_id FROM exports e WHERE state IN ('queued', 'running') AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = e.job_id)
             LIMIT $2 FOR UPDATE SKIP LOCKED))
           RETURNING export_id AS "id: ExportId", org_id AS "org: OrgId""#,
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// Which of these places in the store an export still needs.
///
/// # Errors
/// Postgres.
pub async fn needed(conn: &mut PgConnection, objects: &[String]) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT object AS "object!" FROM exports WHERE object = ANY ($1) AND state IN ('running', 'succeeded')"#,
        objects
    )
    .fetch_all(conn)
    .await
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
