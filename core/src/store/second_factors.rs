//! Second factors of accounts, and who is between password and code. All of it is the platform's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::AccountId;
use crate::store::DbError;

/// A second factor. No `Debug`: it holds a sealed key.
pub struct Factor {
    /// The app's key, sealed.
    pub sealed_key: Vec<u8>,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// Since when it is on; none: no code has confirmed it yet.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Codes of this step and of older ones are worth nothing any more.
    pub last_step: i64,
    /// Wrong codes since the last right one.
    pub failed: i32,
    /// Until then no code of the app is tried.
    pub locked_until: Option<DateTime<Utc>>,
}

/// The factor of an account, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn lock(conn: &mut PgConnection, account: AccountId) -> Result<Option<Factor>, DbError> {
    sqlx::query_as!(
        Factor,
        "SELECT sealed_key, begun_at, confirmed_at, last_step, failed, locked_until FROM account_factors WHERE account_id = $1 FOR UPDATE",
        account.0
    )
    .fetch_optional(conn)
    .await
}

/// A second factor as its owner sees it. No `Debug`: it holds a sealed key.
pub struct Look {
    /// The app's key, sealed.
    pub sealed_key: Vec<u8>,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// Since when it is on.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The account's address.
    pub email: String,
    /// How many recovery codes are left.
    pub codes_left: i64,
}

/// The factor of an account, to be shown.
///
/// # Errors
/// Postgres.
pub async fn look(conn: &mut PgConnection, account: AccountId) -> Result<Option<Look>, DbError> {
    sqlx::query_as!(
        Look,
        r#"SELECT f.sealed_key, f.begun_at, f.confirmed_at, a.email,
             (SELECT count(*) FROM account_recovery_codes c WHERE c.account_id = $1 AND c.used_at IS NULL) AS "codes_left!"
           FROM account_factors f JOIN accounts a USING (account_id) WHERE f.account_id = $1"#,
        account.0
    )
    .fetch_optional(conn)
    .await
}

/// Whether the account has a factor that is on.
///
/// # Errors
/// Postgres.
pub async fn is_on(conn: &mut PgConnection, account: AccountId) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM account_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL) AS "is!""#,
        account.0
    )
    .fetch_one(conn)
    .await
}

/// Begins a factor, in place of one that was begun before. False: one is on.
///
/// # Errors
/// Postgres.
pub async fn begin(
    conn: &mut PgConnection,
    account: AccountId,
    sealed_key: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO account_factors (account_id, sealed_key, begun_at) VALUES ($1, $2, $3)
         ON CONFLICT (account_id) DO UPDATE SET sealed_key = $2, begun_at = $3, last_step = 0, failed = 0, locked_until = NULL
         WHERE account_factors.confirmed_at IS NULL",
        account.0,
        sealed_key,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A code of this step was right. What was wrong before is forgotten.
///
/// # Errors
/// Postgres.
pub async fn set_step(conn: &mut PgConnection, account: AccountId, step: i64) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE account_factors SET last_step = $2, failed = 0, locked_until = NULL WHERE account_id = $1",
        account.0,
        step
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The factor is on from now on.
///
/// # Errors
/// Postgres.
pub async fn confirm(conn: &mut PgConnection, account: AccountId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE account_factors SET confirmed_at = $2 WHERE account_id = $1", account.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes how many codes were wrong, and until when none of the app is tried.
///
/// # Errors
/// Postgres.
pub async fn set_failed(
    conn: &mut PgConnection,
    account: AccountId,
    failed: i32,
    locked_until: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE account_factors SET failed = $2, locked_until = $3 WHERE account_id = $1",
        account.0,
        failed,
        locked_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes an account's factor away, with its recovery codes and whoever is about to type one. False: it had none that was on.
///
/// # Errors
/// Postgres.
pub async fn remove(conn: &mut PgConnection, account: AccountId) -> Result<bool, DbError> {
    sqlx::query!("DELETE FROM half_sessions WHERE account_id = $1", account.0).execute(&mut *conn).await?;
    let on = sqlx::query_scalar!(
        r#"DELETE FROM account_factors WHERE account_id = $1 RETURNING confirmed_at IS NOT NULL AS "on!""#,
        account.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(on.unwrap_or(false))
}

/// Gives an account these recovery codes, by their hashes, in place of all that it has.
///
/// # Errors
/// Postgres.
pub async fn set_codes(conn: &mut PgConnection, account: AccountId, hashes: &[Vec<u8>]) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM account_recovery_codes WHERE account_id = $1", account.0).execute(&mut *conn).await?;
    sqlx::query!(
        "INSERT INTO account_recovery_codes (account_id, code_hash) SELECT $1, hash FROM unnest($2::bytea[]) AS n (hash)",
        account.0,
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses a recovery code. False: there is no such one, or it was used before.
///
/// # Errors
/// Postgres.
pub async fn spend_code(
    conn: &mut PgConnection,
    account: AccountId,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE account_recovery_codes SET used_at = $3 WHERE account_id = $1 AND code_hash = $2 AND used_at IS NULL",
        account.0,
        hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts on record that the password of an account was right and that its code is to come; forgets those of it that are over, and all
/// but the newest nine.
///
/// # Errors
/// Postgres.
pub async fn insert_half(
    conn: &mut PgConnection,
    account: AccountId,
    secret_hash: &[u8],
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM half_sessions WHERE account_id = $1 AND (expires_at <= $2 OR secret_hash NOT IN
           (SELECT secret_hash FROM half_sessions WHERE account_id = $1 ORDER BY created_at DESC LIMIT 9))",
        account.0,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO half_sessions (secret_hash, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        secret_hash,
        account.0,
        now,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose code is to come. None: it is unknown or over, or the password was changed since.
///
/// # Errors
/// Postgres.
pub async fn find_half(
    conn: &mut PgConnection,
    secret_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<AccountId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT h.account_id AS "account: AccountId" FROM half_sessions h JOIN accounts a USING (account_id)
           WHERE h.secret_hash = $1 AND h.expires_at > $2 AND (a.password_changed_at IS NULL OR a.password_changed_at <= h.created_at)"#,
        secret_hash,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Counts a wrong code, and ends the way in after `most` of them. True: it has ended.
///
/// # Errors
/// Postgres.
pub async fn count_wrong(conn: &mut PgConnection, secret_hash: &[u8], most: i32) -> Result<bool, DbError> {
    sqlx::query!("UPDATE half_sessions SET wrong = wrong + 1 WHERE secret_hash = $1", secret_hash)
        .execute(&mut *conn)
        .await?;
    let ended = sqlx::query!("DELETE FROM half_sessions WHERE secret_hash = $1 AND wrong >= $2", secret_hash, most)
        .execute(conn)
        .await?;
    Ok(ended.rows_affected() == 1)
}

/// Ends the way in: the code was right.
///
/// # Errors
/// Postgres.
pub async fn end_half(conn: &mut PgConnection, secret_hash: &[u8]) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM half_sessions WHERE secret_hash = $1", secret_hash).execute(conn).await?;
    Ok(())
}
