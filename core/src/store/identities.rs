//! Whom accounts are linked with at issuers of OpenID Connect. All of it is the platform's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::AccountId;
use crate::store::DbError;

/// The account that somebody of an issuer is linked with.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, issuer: &str, sub: &str) -> Result<Option<AccountId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT account_id AS "account: AccountId" FROM account_identities WHERE issuer = $1 AND sub = $2"#,
        issuer,
        sub
    )
    .fetch_optional(conn)
    .await
}

/// Links somebody of an issuer with an account. False: one of the two is linked already.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    issuer: &str,
    sub: &str,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO account_identities (issuer, sub, account_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        issuer,
        sub,
        account.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes the links of an account away, and says how many there were.
///
/// # Errors
/// Postgres.
pub async fn remove(conn: &mut PgConnection, account: AccountId) -> Result<u64, DbError> {
    let done = sqlx::query!("DELETE FROM account_identities WHERE account_id = $1", account.0).execute(conn).await?;
    Ok(done.rows_affected())
}
