//! Files that belong to medical records.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{AttachmentId, OrgId, PersonId, RecordId};
use crate::store::DbError;

/// What is known of a file without its content. No `Debug`: names of files tell of patients.
#[derive(Clone)]
pub struct Attachment {
    /// The file.
    pub id: AttachmentId,
    /// The record that it belongs to.
    pub record: RecordId,
    /// Whose record that is.
    pub patient: PersonId,
    /// Who added it.
    pub author: PersonId,
    /// Its name.
    pub file_name: String,
    /// One of [`crate::attachments::MediaType`], by name.
    pub media_type: String,
    /// Its size.
    pub bytes: i32,
    /// SHA-256 of its content.
    pub sha256: Vec<u8>,
    /// When it was added.
    pub added_at: DateTime<Utc>,
    /// When it was marked as entered in error.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// Why.
    pub withdrawn_reason: Option<String>,
}

macro_rules! select_attachments {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Attachment,
            r#"SELECT f.attachment_id AS "id: AttachmentId", f.record_id AS "record: RecordId", r.patient_id AS "patient: PersonId",
                 f.author_id AS "author: PersonId", f.file_name, f.media_type, f.bytes, f.sha256, f.added_at, f.withdrawn_at, f.withdrawn_reason
               FROM record_attachments f JOIN medical_records r USING (record_id) "# + $tail,
            $($args),*
        )
    };
}

/// Stores a file with its content.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, org: OrgId, new: &Attachment, content: &[u8]) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO record_attachments (attachment_id, org_id, record_id, author_id, file_name, media_type, bytes, sha256, content, added_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        new.id.0,
        org.0,
        new.record.0,
        new.author.0,
        new.file_name,
        new.media_type,
        new.bytes,
        new.sha256,
        content,
        new.added_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many files a record has, withdrawn ones too.
///
/// # Errors
/// Postgres.
pub async fn count(conn: &mut PgConnection, record: RecordId) -> Result<i64, DbError> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM record_attachments WHERE record_id = $1"#, record.0)
        .fetch_one(conn)
        .await
}

/// The files of a record, oldest first, after `after`.
///
/// # Errors
/// Postgres.
pub async fn of_record(
    conn: &mut PgConnection,
    record: RecordId,
    after: Option<AttachmentId>,
    limit: i64,
) -> Result<Vec<Attachment>, DbError> {
    select_attachments!(
        "WHERE f.record_id = $1 AND ($2::uuid IS NULL OR f.attachment_id > $2) ORDER BY f.attachment_id LIMIT $3",
        record.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// The files of a patient's records, oldest first; so many at most.
///
/// # Errors
/// Postgres.
pub async fn of_patient(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    most: i64,
) -> Result<Vec<Attachment>, DbError> {
    select_attachments!(
        "WHERE r.org_id = $1 AND r.patient_id = $2 ORDER BY f.attachment_id LIMIT $3",
        org.0,
        patient.0,
        most
    )
    .fetch_all(conn)
    .await
}

/// One file.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: AttachmentId) -> Result<Option<Attachment>, DbError> {
    select_attachments!("WHERE f.attachment_id = $1", id.0).fetch_optional(conn).await
}

/// The content of a file.
///
/// # Errors
/// Postgres; there is no such file.
pub async fn content(conn: &mut PgConnection, id: AttachmentId) -> Result<Vec<u8>, DbError> {
    sqlx::query_scalar!("SELECT content FROM record_attachments WHERE attachment_id = $1", id.0).fetch_one(conn).await
}

/// Marks a file as entered in error. False: it was before.
///
/// # Errors
/// Postgres.
pub async fn withdraw(
    conn: &mut PgConnection,
    id: AttachmentId,
    by: PersonId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE record_attachments SET withdrawn_at = $2, withdrawn_by = $3, withdrawn_reason = $4
         WHERE attachment_id = $1 AND withdrawn_at IS NULL",
        id.0,
        now,
        by.0,
        reason
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
