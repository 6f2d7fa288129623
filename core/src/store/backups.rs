//! Runs of the backup, as operators see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::ids::BackupId;
use crate::store::DbError;

/// A run of the backup.
#[derive(Clone, Debug, Serialize)]
pub struct BackupRow {
    /// Its id.
    pub backup_id: BackupId,
    /// `running`, `succeeded`, `failed` or `deleted`.
    pub state: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub problem: Option<String>,
    /// Bytes of the encrypted dump.
    pub bytes: Option<i64>,
    /// When it was last read back whole.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was last restored and compared.
    pub drilled_at: Option<DateTime<Utc>>,
    /// How long that restore took.
    pub drill_seconds: Option<f64>,
    /// What the last drill found wrong.
    pub drill_problem: Option<String>,
}

/// A run begins.
///
/// # Errors
/// Postgres.
pub async fn begin(conn: &mut PgConnection, id: BackupId, database: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO backups (backup_id, database_name, state, started_at) VALUES ($1, $2, 'running', $3)",
        id.0,
        database,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a backup holds.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Bytes of the encrypted dump.
    pub bytes: i64,
    /// Tables.
    pub tables: i32,
    /// Rows of all tables.
    pub rows: i64,
}

/// A run ended well. Also of a backup that this database knows nothing of, or took for failed.
///
/// # Errors
/// Postgres.
pub async fn succeeded(
    conn: &mut PgConnection,
    id: BackupId,
    database: &str,
    started_at: DateTime<Utc>,
    size: Size,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO backups (backup_id, database_name, state, started_at, ended_at, bytes, tables, rows)
         VALUES ($1, $2, 'succeeded', $3, $4, $5, $6, $7)
         ON CONFLICT (backup_id) DO UPDATE SET state = 'succeeded', ended_at = $4, problem = NULL, bytes = $5, tables = $6, rows = $7",
        id.0,
        database,
        started_at,
        now,
        size.bytes,
        size.tables,
        size.rows
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A run failed.
///
/// # Errors
/// Postgres.
pub async fn failed(conn: &mut PgConnection, id: BackupId, problem: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE backups SET state = 'failed', ended_at = $3, problem = $2 WHERE backup_id = $1 AND state = 'running'",
        id.0,
        problem,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Runs that never said how they ended. Only who holds the lock of backups may ask: nobody else runs then.
///
/// # Errors
/// Postgres.
pub async fn running(conn: &mut PgConnection, but: BackupId) -> Result<Vec<BackupId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT backup_id AS "id: BackupId" FROM backups WHERE state = 'running' AND backup_id <> $1 ORDER BY started_at LIMIT 100"#,
        but.0
    )
    .fetch_all(conn)
    .await
}

/// A backup was removed from the store.
///
/// # Errors
/// Postgres.
pub async fn deleted(conn: &mut PgConnection, id: BackupId) -> Result<(), DbError> {
    sqlx::query!("UPDATE backups SET state = 'deleted' WHERE backup_id = $1", id.0).execute(conn).await?;
    Ok(())
}

/// A backup was read back whole, now.
///
/// # Errors
/// Postgres.
pub async fn verified(conn: &mut PgConnection, id: BackupId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE backups SET verified_at = $2 WHERE backup_id = $1", id.0, now).execute(conn).await?;
    Ok(())
}

/// A backup was found to be no good: it is proven no longer.
///
/// # Errors
/// Postgres.
pub async fn disproved(conn: &mut PgConnection, id: BackupId, problem: &str) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE backups SET verified_at = NULL, drilled_at = NULL, drill_problem = $2 WHERE backup_id = $1",
        id.0,
        problem
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A backup was restored and compared, now.
///
/// # Errors
/// Postgres.
pub async fn drilled(
    conn: &mut PgConnection,
    id: BackupId,
    seconds: f64,
    newest_row_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE backups SET verified_at = $4, drilled_at = $4, drill_seconds = $2, newest_row_at = $3, drill_problem = NULL WHERE backup_id = $1",
        id.0,
        seconds,
        newest_row_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest runs first.
///
/// # Errors
/// Postgres.
pub async fn newest(conn: &mut PgConnection, most: i64) -> Result<Vec<BackupRow>, DbError> {
    sqlx::query_as!(
        BackupRow,
        r#"SELECT backup_id AS "backup_id: BackupId", state, started_at, ended_at, problem, bytes, verified_at, drilled_at, drill_seconds,
           drill_problem
         FROM backups ORDER BY started_at DESC LIMIT $1"#,
        most
    )
    .fetch_all(conn)
    .await
}

/// Backups that were proven: read back whole, or restored.
///
/// # Errors
/// Postgres.
pub async fn proven(conn: &mut PgConnection) -> Result<Vec<BackupId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT backup_id AS "id: BackupId" FROM backups WHERE state = 'succeeded' AND (verified_at IS NOT NULL OR drilled_at IS NOT NULL)
         ORDER BY started_at DESC LIMIT 10000"#
    )
    .fetch_all(conn)
    .await
}

/// When the newest proven backup was begun.
///
/// # Errors
/// Postgres.
pub async fn newest_proven(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, DbError> {
    sqlx::query_scalar!(
        "SELECT max(started_at) FROM backups WHERE state = 'succeeded' AND (verified_at IS NOT NULL OR drilled_at IS NOT NULL)"
    )
    .fetch_one(conn)
    .await
}

/// When a backup was last restored as a drill; none: never, so far as is known.
///
/// # Errors
/// Postgres.
pub async fn newest_drill(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, DbError> {
    sqlx::query_scalar!("SELECT max(drilled_at) FROM backups").fetch_one(conn).await
}

/// What became of the last run that ended, for the alarm.
#[derive(Clone, Debug)]
pub struct LastEnded {
    /// Whether it made a backup.
    pub succeeded: bool,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// A drill, or reading it back, found it to be no good.
    pub disproved: bool,
}

/// The last run that ended; none while another one is at work, or before the first.
///
/// # Errors
/// Postgres.
pub async fn last_ended(conn: &mut PgConnection) -> Result<Option<LastEnded>, DbError> {
    sqlx::query_as!(
        LastEnded,
        r#"SELECT state = 'succeeded' AS "succeeded!", ended_at AS "ended_at!", drill_problem IS NOT NULL AS "disproved!"
         FROM (SELECT state, ended_at, drill_problem FROM backups WHERE state <> 'deleted' ORDER BY started_at DESC LIMIT 1) newest
         WHERE state <> 'running' AND ended_at IS NOT NULL"#
    )
    .fetch_optional(conn)
    .await
}
