//! People who are signed in at the pages.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{AccountId, OrgId, PersonId, SessionId, TokenId};
use crate::store::DbError;

/// What somebody signed in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A token. The session is worth no more than it.
    Token(TokenId),
    /// An account's password. The session is worth what the person's role is.
    Account(AccountId),
}

/// From where somebody signed in, for their own eyes. No `Debug`: it is personal data.
#[derive(Clone, Default)]
pub struct SeenFrom {
    /// The address of the connection.
    pub address: String,
    /// What the browser says that it is.
    pub agent: String,
}

/// A session to store. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct NewSessionRow {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub org: OrgId,
    /// The person who signed in.
    pub person: PersonId,
    /// What they signed in with.
    pub source: Source,
    /// From where.
    pub from: SeenFrom,
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
    let (token, account) = match row.source {
        Source::Token(token) => (Some(token.0), None),
        Source::Account(account) => (None, Some(account.0)),
    };
    sqlx::query!(
        "INSERT INTO sessions (session_id, org_id, person_id, token_id, account_id, secret_hash, created_at, seen_at, idle_seconds, expires_at, begun_from, begun_with)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11)",
        row.id.0,
        row.org.0,
        row.person.0,
        token,
        account,
        hash,
        now,
        row.idle_seconds,
        row.expires_at,
        row.from.address,
        row.from.agent
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
    /// The account that they signed in with; none: a token.
    pub account: Option<AccountId>,
    /// The person's role.
    pub role: String,
    /// The person's name, for their own pages only.
    pub name: String,
    /// The organization's name.
    pub organization: String,
    /// What the token of the session may do; none: it has no token, and may do what the role may.
    pub scopes: Option<Vec<String>>,
    /// When it was used last, to the minute.
    pub seen_at: DateTime<Utc>,
    /// The organization asks its staff for a second factor, and the account has none.
    pub lacks_factor: bool,
}

/// Who holds this session; none: it is unknown, ended, idle for too long, its token is worth nothing any more, the
/// person is no longer the account's, or no longer active. Works in every scope, since the organization is known only after it.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, hash: &[u8], at: DateTime<Utc>) -> Result<Option<SessionBearer>, DbError> {
    sqlx::query_as!(
        SessionBearer,
        r#"SELECT session_id AS "session!: SessionId", org_id AS "org!: OrgId", person_id AS "person!: PersonId", account_id AS "account: AccountId",
             role AS "role!", name AS "name!", organization AS "organization!", scopes, seen_at AS "seen_at!",
             lacks_factor AS "lacks_factor!"
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

/// A session of an account, for its owner. No `Debug`: it holds personal data.
pub struct SessionLine {
    /// The session.
    pub id: SessionId,
    /// The organization that it is for.
    pub organization: String,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was used last, to the minute.
    pub seen_at: DateTime<Utc>,
    /// The address that it was begun from.
    pub address: String,
    /// The browser that it was begun with.
    pub agent: String,
}

/// The sessions of an account that have not ended, the one that was used last first; a hundred at most.
///
/// # Errors
/// Postgres.
pub async fn of_account(
    conn: &mut PgConnection,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionLine>, DbError> {
    sqlx::query_as!(
        SessionLine,
        r#"SELECT s.session_id AS "id: SessionId", o.name AS organization, s.created_at, s.seen_at, s.begun_from AS address, s.begun_with AS agent
           FROM sessions s JOIN organizations o USING (org_id)
           WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND s.seen_at + make_interval(secs => s.idle_seconds) > $2
           ORDER BY s.seen_at DESC, s.session_id LIMIT 100"#,
        account.0,
        now
    )
    .fetch_all(conn)
    .await
}

/// Which sessions of an account are meant.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// This one.
    One(SessionId),
    /// All others than this one.
    Others(SessionId),
    /// All.
    All,
}

/// Ends sessions of an account, and says which with their organizations.
///
/// # Errors
/// Postgres.
pub async fn revoke_of_account(
    conn: &mut PgConnection,
    account: AccountId,
    which: Which,
    now: DateTime<Utc>,
) -> Result<Vec<(SessionId, OrgId)>, DbError> {
    let (one, but) = match which {
        Which::One(session) => (Some(session.0), None),
        Which::Others(session) => (None, Some(session.0)),
        Which::All => (None, None),
    };
    let rows = sqlx::query!(
        r#"UPDATE sessions SET revoked_at = $4 WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > $4
             AND ($2::uuid IS NULL OR session_id = $2) AND ($3::uuid IS NULL OR session_id <> $3)
           RETURNING session_id AS "id: SessionId", org_id AS "org: OrgId""#,
        account.0,
        one,
        but,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.org)).collect())
}
