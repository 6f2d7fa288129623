//! Accounts and whose they are. All of it is the platform's: only a transaction that sees every organization gets here.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{AccountId, OrgId, PersonId};
use crate::store::DbError;

/// An account. No `Debug`: it holds an address, and what is kept of a password.
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The address, in lower case.
    pub email: String,
    /// What is kept of the password; none: it was never set.
    pub password_hash: Option<String>,
    /// Wrong passwords since the last right one.
    pub failed: i32,
    /// Until then no password is tried.
    pub locked_until: Option<DateTime<Utc>>,
    /// Its address was proven.
    pub verified: bool,
}

/// The account with this address, which is in lower case.
///
/// # Errors
/// Postgres.
pub async fn with_address(conn: &mut PgConnection, email: &str) -> Result<Option<Account>, DbError> {
    sqlx::query_as!(
        Account,
        r#"SELECT account_id AS "id: AccountId", email, password_hash, failed, locked_until, verified_at IS NOT NULL AS "verified!" FROM accounts WHERE email = $1"#,
        email
    )
    .fetch_optional(conn)
    .await
}

/// An account, locked until the transaction ends.
///
/// # Errors
/// Postgres; there is no such account.
pub async fn lock(conn: &mut PgConnection, id: AccountId) -> Result<Account, DbError> {
    sqlx::query_as!(
        Account,
        r#"SELECT account_id AS "id: AccountId", email, password_hash, failed, locked_until, verified_at IS NOT NULL AS "verified!" FROM accounts WHERE account_id = $1 FOR UPDATE"#,
        id.0
    )
    .fetch_one(conn)
    .await
}

/// Makes an account without a password, if there is none with this address.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, id: AccountId, email: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO accounts (account_id, email, created_at, updated_at) VALUES ($1, $2, $3, $3) ON CONFLICT (email) DO NOTHING",
        id.0,
        email,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes how many passwords were wrong, and until when none is tried.
///
/// # Errors
/// Postgres.
pub async fn set_failed(
    conn: &mut PgConnection,
    id: AccountId,
    failed: i32,
    locked_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE accounts SET failed = $2, locked_until = $3, updated_at = $4 WHERE account_id = $1",
        id.0,
        failed,
        locked_until,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an account another password; what was wrong before is forgotten.
///
/// # Errors
/// Postgres.
pub async fn set_password(
    conn: &mut PgConnection,
    id: AccountId,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE accounts SET password_hash = $2, password_changed_at = $3, failed = 0, locked_until = NULL, updated_at = $3 WHERE account_id = $1",
        id.0,
        hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The address was proven: a link that was mailed to it came back.
///
/// # Errors
/// Postgres.
pub async fn set_verified(conn: &mut PgConnection, id: AccountId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE accounts SET verified_at = coalesce(verified_at, $2) WHERE account_id = $1", id.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives an account the name that its owner has.
///
/// # Errors
/// Postgres.
pub async fn set_name(
    conn: &mut PgConnection,
    id: AccountId,
    given: &str,
    family: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE accounts SET given_name = $2, family_name = $3, updated_at = $4 WHERE account_id = $1",
        id.0,
        given,
        family,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the same password in another way. Nothing happens if it was changed meanwhile.
///
/// # Errors
/// Postgres.
pub async fn rehash(conn: &mut PgConnection, id: AccountId, old: &str, new: &str) -> Result<(), DbError> {
    sqlx::query!("UPDATE accounts SET password_hash = $3 WHERE account_id = $1 AND password_hash = $2", id.0, old, new)
        .execute(conn)
        .await?;
    Ok(())
}

/// A person of an account, who takes part. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct Membership {
    /// Who.
    pub person: PersonId,
    /// Of which organization.
    pub org: OrgId,
    /// In which role.
    pub role: String,
    /// Their name there.
    pub name: String,
    /// The organization's name.
    pub organization: String,
}

/// The active people of an account: who signed in last first; a hundred at most.
///
/// # Errors
/// Postgres.
pub async fn memberships(conn: &mut PgConnection, account: AccountId) -> Result<Vec<Membership>, DbError> {
    sqlx::query_as!(
        Membership,
        r#"SELECT p.person_id AS "person: PersonId", p.org_id AS "org: OrgId", p.role, concat_ws(' ', p.given_name, p.family_name) AS "name!",
             o.name AS organization
           FROM people p JOIN organizations o USING (org_id)
           WHERE p.account_id = $1 AND p.active AND NOT p.deceased
           ORDER BY (SELECT max(s.created_at) FROM sessions s WHERE s.person_id = p.person_id AND s.account_id = $1) DESC NULLS LAST, o.name, p.person_id
           LIMIT 100"#,
        account.0
    )
    .fetch_all(conn)
    .await
}

/// Somebody who may be invited. No `Debug`: it holds personal data.
pub struct Invitee {
    /// Who.
    pub person: PersonId,
    /// Of which organization.
    pub org: OrgId,
    /// The address that the organization has of them.
    pub email: Option<String>,
    /// Whose account they are.
    pub account: Option<AccountId>,
    /// Takes part.
    pub active: bool,
    /// Their name.
    pub name: String,
    /// The organization's name.
    pub organization: String,
}

/// A person, as somebody to invite, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn invitee(conn: &mut PgConnection, person: PersonId) -> Result<Option<Invitee>, DbError> {
    sqlx::query_as!(
        Invitee,
        r#"SELECT p.person_id AS "person: PersonId", p.org_id AS "org: OrgId", p.email, p.account_id AS "account: AccountId",
             p.active AND NOT p.deceased AS "active!", concat_ws(' ', p.given_name, p.family_name) AS "name!", o.name AS organization
           FROM people p JOIN organizations o USING (org_id) WHERE p.person_id = $1 FOR UPDATE OF p"#,
        person.0
    )
    .fetch_optional(conn)
    .await
}

/// Makes a person one of the account's, with an address that counts as proven if it is still the account's. False: the person
/// is another account's, no longer active, or has another address by now.
///
/// # Errors
/// Postgres.
pub async fn join(
    conn: &mut PgConnection,
    account: AccountId,
    person: PersonId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE people p SET account_id = a.account_id, email_verified_at = coalesce(p.email_verified_at, $3), updated_at = $3, version = p.version + 1
         FROM accounts a
         WHERE a.account_id = $1 AND p.person_id = $2 AND p.account_id IS NULL AND p.active AND NOT p.deceased AND lower(p.email) = a.email",
        account.0,
        person.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
