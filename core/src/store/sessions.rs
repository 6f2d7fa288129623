//! People who are signed in at the pages.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{OrgId, PersonId, SessionId, TokenId};
use crate::store::DbError;

/// A session to store.
#[derive(Clone, Copy, Debug)]
pub struct NewSessionRow {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub org: OrgId,
    /// The person who signed in.
    pub person: PersonId,
    /// The token that they signed in with.
    pub token: TokenId,
    /// Without a request for so long it ends.
    pub idle_seconds: i32,
    /// It ends then, however busy it is.
    pub expires_at: DateTime<Utc>,
}

/// Stores a session by the hash of its secret.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    row: &NewSessionRow,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO sessions (session_id, org_id, person_id, token_id, secret_hash, created_at, seen_at, idle_seconds, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)",
        row.id.0,
        row.org.0,
        row.person.0,
        row.token.0,
        hash,
        now,
        row.idle_seconds,
        row.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who is signed in with a session.
#[derive(Clone, Debug)]
pub struct SessionBearer {
    /// The session.
    pub session: SessionId,
    /// The organization.
    pub org: OrgId,
    /// The person.
    pub person: PersonId,
    /// The person's role.
    pub role: String,
    /// The person's name, for their own pages only.
    pub name: String,
    /// The organization's name.
    pub organization: String,
    /// What the token of the session may do.
    pub scopes: Vec<String>,
    /// When it was used last, to the minute.
    pub seen_at: DateTime<Utc>,
}

/// Who holds this session; none: it is unknown, ended, idle for too long, its token is worth nothing any more, or the person
/// is no longer active. Works in every scope, since the organization is known only after it.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, hash: &[u8], at: DateTime<Utc>) -> Result<Option<SessionBearer>, DbError> {
    sqlx::query_as!(
        SessionBearer,
        r#"SELECT session_id AS "session!: SessionId", org_id AS "org!: OrgId", person_id AS "person!: PersonId", role AS "role!", name AS "name!",
             organization AS "organization!", scopes AS "scopes!", seen_at AS "seen_at!"
           FROM find_session($1, $2)"#,
        hash,
        at
    )
    .fetch_optional(conn)
    .await
}

/// The session was used.
///
/// # Errors
/// Postgres.
pub async fn seen(conn: &mut PgConnection, session: SessionId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE sessions SET seen_at = greatest(seen_at, $2) WHERE session_id = $1", session.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a session. False: it had ended before, or there is none.
///
/// # Errors
/// Postgres.
pub async fn revoke(conn: &mut PgConnection, session: SessionId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE sessions SET revoked_at = $2 WHERE session_id = $1 AND revoked_at IS NULL",
        session.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the sessions of a person that ended before `before`: nothing else limits how many there are.
///
/// # Errors
/// Postgres.
pub async fn forget_ended(conn: &mut PgConnection, person: PersonId, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM sessions WHERE person_id = $1 AND (expires_at < $2 OR revoked_at < $2)",
        person.0,
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}
