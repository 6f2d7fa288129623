//! Who is signed in with an account that has no place yet. All of it is the platform's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::AccountId;
use crate::store::DbError;

/// Lets the owner of an account in until then; all but the newest nine of it end.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    account: AccountId,
    secret_hash: &[u8],
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM lobby_sessions WHERE account_id = $1 AND secret_hash NOT IN
           (SELECT secret_hash FROM lobby_sessions WHERE account_id = $1 ORDER BY created_at DESC LIMIT 9)",
        account.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO lobby_sessions (secret_hash, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        secret_hash,
        account.0,
        now,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who holds this. None: it is unknown or over, or the password was changed since.
///
/// # Errors
/// Postgres.
pub async fn find(
    conn: &mut PgConnection,
    secret_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<AccountId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT l.account_id AS "account: AccountId" FROM lobby_sessions l JOIN accounts a USING (account_id)
           WHERE l.secret_hash = $1 AND l.expires_at > $2 AND (a.password_changed_at IS NULL OR a.password_changed_at <= l.created_at)"#,
        secret_hash,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Ends one.
///
/// # Errors
/// Postgres.
pub async fn end(conn: &mut PgConnection, secret_hash: &[u8]) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM lobby_sessions WHERE secret_hash = $1", secret_hash).execute(conn).await?;
    Ok(())
}

/// Forgets those that are over, `most` at most. Says how many.
///
/// # Errors
/// Postgres.
pub async fn forget_over(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, DbError> {
    let gone = sqlx::query!(
        "DELETE FROM lobby_sessions WHERE secret_hash IN (SELECT secret_hash FROM lobby_sessions WHERE expires_at <= $1 LIMIT $2)",
        now,
        most
    )
    .execute(conn)
    .await?;
    Ok(gone.rows_affected())
}
