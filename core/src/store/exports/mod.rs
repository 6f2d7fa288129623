//! Exports: who asked for which, how far each is, and where its file lies.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::exports::{Format, Spec};
use crate::ids::{ExportId, JobId, OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::{Before, Way};

mod work;

pub use work::{
    Reached, ReadySubject, Swept, Taken, cancel, expire, fail, give_up, needed, ready_subjects, report, succeed, take,
};

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

macro_rules! list_exports {
    ($conn:expr, $org:expr, $by:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        sqlx::query_as!(
            Row,
            r#"SELECT export_id, org_id, asked_by, spec AS "spec: Json<Spec>", state, phase, rows_done, rows_estimated, bytes, as_of, sha256,
                 notes AS "notes: Json<Vec<String>>", problem, object, created_at, started_at, ended_at, expires_at
               FROM exports
               WHERE org_id = $1 AND asked_by = $2 AND ($3::timestamptz IS NULL OR (created_at, export_id) "# + $past + r#" ($3, $4::uuid))
               ORDER BY created_at "# + $way + ", export_id " + $way + " LIMIT $5",
            $org.0,
            $by.0,
            $after.map(|place: Before| place.at),
            $after.map(|place: Before| place.id),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// The exports that a person asked for, after a place.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    by: PersonId,
    way: Way,
    after: Option<Before>,
    limit: i64,
) -> Result<Vec<Export>, DbError> {
    let rows = match way {
        Way::Up => list_exports!(conn, org, by, after, limit, ">", "ASC"),
        Way::Down => list_exports!(conn, org, by, after, limit, "<", "DESC"),
    }?;
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
