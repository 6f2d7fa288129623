//! What those chose who signed up, until the link that was mailed to them comes back. All of it is the platform's.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::ids::{AccountId, AccountMailId};
use crate::store::DbError;

/// An account whose address nobody has proven is cleared away after so many days.
const UNPROVEN_DAYS: i64 = 7;

/// What somebody chose. No `Debug`: it holds personal data, and what is kept of a password.
pub struct SignUp {
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// What is kept of the password.
    pub password_hash: String,
}

/// Keeps a choice, which the link of this mail confirms.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, mail: AccountMailId, chosen: &SignUp) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO sign_ups (account_mail_id, given_name, family_name, password_hash) VALUES ($1, $2, $3, $4)",
        mail.0,
        chosen.given_name,
        chosen.family_name,
        chosen.password_hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The choice that the link of this mail confirms.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, mail: AccountMailId) -> Result<Option<SignUp>, DbError> {
    sqlx::query_as!(
        SignUp,
        "SELECT given_name, family_name, password_hash FROM sign_ups WHERE account_mail_id = $1",
        mail.0
    )
    .fetch_optional(conn)
    .await
}

/// Forgets every choice for an account.
///
/// # Errors
/// Postgres.
pub async fn forget_of(conn: &mut PgConnection, account: AccountId) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM sign_ups WHERE account_mail_id IN (SELECT account_mail_id FROM account_mails WHERE account_id = $1)",
        account.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets choices that nobody can confirm any more, and then the accounts that came of them and are nobody's, with their mails. No more
/// than `most` of each. Says how many of the one that were more.
///
/// # Errors
/// Postgres.
pub async fn forget_lapsed(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, DbError> {
    let choices = sqlx::query!(
        "DELETE FROM sign_ups WHERE account_mail_id IN
           (SELECT s.account_mail_id FROM sign_ups s JOIN account_mails m USING (account_mail_id) WHERE m.expires_at <= $1 LIMIT $2)",
        now,
        most
    )
    .execute(&mut *conn)
    .await?;
    let accounts = sqlx::query_scalar!(
        "SELECT account_id FROM accounts a
         WHERE verified_at IS NULL AND password_hash IS NULL AND created_at < $1
           AND EXISTS (SELECT FROM account_mails m WHERE m.account_id = a.account_id AND m.kind = 'verify')
           AND NOT EXISTS (SELECT FROM account_mails m WHERE m.account_id = a.account_id AND m.expires_at > $2)
           AND NOT EXISTS (SELECT FROM people p WHERE p.account_id = a.account_id)
         ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED",
        now - TimeDelta::days(UNPROVEN_DAYS),
        now,
        most
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM account_mails WHERE account_id = ANY ($1)", &accounts).execute(&mut *conn).await?;
    let gone = sqlx::query!("DELETE FROM accounts WHERE account_id = ANY ($1)", &accounts).execute(conn).await?;
    Ok(choices.rows_affected().max(gone.rows_affected()))
}
