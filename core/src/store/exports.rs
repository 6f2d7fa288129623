//! Exports: who asked for which, how far each is, and where its file lies.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::exports::{Encoded, Format, Spec};
use crate::ids::{ExportId, JobId, OrgId, PersonId};
use crate::store::DbError;

/// The states of an export.
pub const EXPORT_STATES: [&str; 6] = ["queued", "running", "succeeded", "failed", "cancelled", "expired"];

/// An export that is asked for.
#[derive(Clone, Debug)]
pub struct NewExport<'a> {
    /// Its id.
    pub id: ExportId,
    /// Whose.
    pub org: OrgId,
    /// Who asked.
    pub by: PersonId,
    /// What for.
    pub spec: &'a Spec,
    /// The job that writes it.
    pub job: JobId,
}

/// How many exports of `org` are not yet over. Whoever asks in another transaction waits until this one has ended, so that
/// two cannot both be the last that is allowed.
///
/// # Errors
/// Postgres.
pub async fn count_live(conn: &mut PgConnection, org: OrgId) -> Result<i64, DbError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('exports ' || $1::text, 0))", org.to_string())
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM exports WHERE org_id = $1 AND state IN ('queued', 'running')"#,
        org.0
    )
    .fetch_one(conn)
    .await
}

/// Puts an export on record.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, new: &NewExport<'_>, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO exports (export_id, org_id, asked_by, report, format, spec, job_id, created_at)
         VALUES ($1, $2, $3, 'appointments', $4, $5, $6, $7)",
        new.id.0,
        new.org.0,
        new.by.0,
        new.spec.format.as_str(),
        Json(new.spec) as _,
        new.job.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An export, as its owner sees it.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its id.
    pub id: ExportId,
    /// Whose.
    pub org: OrgId,
    /// Who asked.
    pub by: PersonId,
    /// What for.
    pub spec: Spec,
    /// One of [`EXPORT_STATES`].
    pub state: String,
    /// What is being done.
    pub phase: String,
    /// Rows in the file so far.
    pub rows_done: i64,
    /// Rows that there will be.
    pub rows_estimated: Option<i64>,
    /// Bytes of the file so far.
    pub bytes: i64,
    /// The moment that the rows show.
    pub as_of: Option<DateTime<Utc>>,
    /// SHA-256 of the file.
    pub sha256: Option<String>,
    /// What its reader should know.
    pub notes: Vec<String>,
    /// Why it is not there, or not yet.
    pub problem: Option<String>,
    /// Where its file lies in the store.
    pub object: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When the first try began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// When its file is deleted.
    pub expires_at: Option<DateTime<Utc>>,
}

struct Row {
    export_id: uuid::Uuid,
    org_id: uuid::Uuid,
    asked_by: uuid::Uuid,
    spec: Json<Spec>,
    state: String,
    phase: String,
    rows_done: i64,
    rows_estimated: Option<i64>,
    bytes: i64,
    as_of: Option<DateTime<Utc>>,
    sha256: Option<String>,
    notes: Json<Vec<String>>,
    problem: Option<String>,
    object: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

impl From<Row> for Export {
    fn from(row: Row) -> Self {
        Self {
            id: row.export_id.into(),
            org: row.org_id.into(),
            by: row.asked_by.into(),
            spec: row.spec.0,
            state: row.state,
            phase: row.phase,
            rows_done: row.rows_done,
            rows_estimated: row.rows_estimated,
            bytes: row.bytes,
            as_of: row.as_of,
            sha256: row.sha256,
            notes: row.notes.0,
            problem: row.problem,
            object: row.object,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            expires_at: row.expires_at,
        }
    }
}

impl Export {
    /// Nothing more happens to it, but that its file expires.
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }

    /// The kind of its file.
    pub fn format(&self) -> Format {
        self.spec.format
    }
}

/// The exports that a person asked for, newest first.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    by: PersonId,
    before: Option<super::listing::Before>,
    limit: i64,
) -> Result<Vec<Export>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT export_id, org_id, asked_by, spec AS "spec: Json<Spec>", state, phase, rows_done, rows_estimated, bytes, as_of, sha256,
             notes AS "notes: Json<Vec<String>>", problem, object, created_at, started_at, ended_at, expires_at
           FROM exports
           WHERE org_id = $1 AND asked_by = $2 AND ($3::timestamptz IS NULL OR (created_at, export_id) < ($3, $4::uuid))
           ORDER BY created_at DESC, export_id DESC LIMIT $5"#,
        org.0,
        by.0,
        before.map(|place| place.at),
        before.map(|place| place.id),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Export::from).collect())
}

/// Some exports. Those that the transaction may not see are left out.
///
/// # Errors
/// Postgres.
pub async fn read(conn: &mut PgConnection, ids: &[ExportId]) -> Result<Vec<Export>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT export_id, org_id, asked_by, spec AS "spec: Json<Spec>", state, phase, rows_done, rows_estimated, bytes, as_of, sha256,
             notes AS "notes: Json<Vec<String>>", problem, object, created_at, started_at, ended_at, expires_at
           FROM exports WHERE export_id = ANY ($1)"#,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Export::from).collect())
}

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
