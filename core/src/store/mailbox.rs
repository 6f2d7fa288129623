//! The development mailbox.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::DbError;

/// A mail in the development mailbox, without its text.
#[derive(Clone, Debug, serde::Serialize)]
pub struct InboxLine {
    /// The mail.
    pub id: Uuid,
    /// To whom.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its `Message-ID`.
    pub message_id: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Takes a mail in, as a server would.
///
/// # Errors
/// Postgres.
pub async fn take_in(conn: &mut PgConnection, line: &InboxLine, raw: &[u8]) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) VALUES ($1, $2, $3, $4, $5, $6)",
        line.id,
        line.to,
        line.subject,
        line.message_id,
        line.received_at,
        raw
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest mails, at most `limit`.
///
/// # Errors
/// Postgres.
pub async fn newest(conn: &mut PgConnection, limit: i64) -> Result<Vec<InboxLine>, DbError> {
    sqlx::query_as!(
        InboxLine,
        r#"SELECT id, recipient AS "to", subject, message_id, received_at FROM dev_mailbox ORDER BY received_at DESC, id DESC LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// One mail, with its bytes.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: Uuid) -> Result<Option<(InboxLine, Vec<u8>)>, DbError> {
    let row =
        sqlx::query!("SELECT id, recipient, subject, message_id, received_at, raw FROM dev_mailbox WHERE id = $1", id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|row| {
        let line = InboxLine {
            id: row.id,
            to: row.recipient,
            subject: row.subject,
            message_id: row.message_id,
            received_at: row.received_at,
        };
        (line, row.raw)
    }))
}
