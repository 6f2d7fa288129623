//! API tokens.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::ids::{ClientId, OrgId, PersonId, TokenId};
use crate::store::DbError;
use crate::tokens::TokenHash;

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewTokenRow {
    /// The token.
    pub id: TokenId,
    /// Whose.
    pub org: OrgId,
    /// The person who acts with it.
    pub person: PersonId,
    /// What it may do.
    pub scopes: Vec<String>,
    /// A note on what it is for.
    pub label: String,
    /// From then on it is worth nothing.
    pub expires_at: DateTime<Utc>,
    /// The client that it was granted to; none: an operator made it.
    pub client: Option<ClientId>,
}

/// Stores a token by its hash.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    row: &NewTokenRow,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, label, created_at, expires_at, client_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id.0,
        row.org.0,
        row.person.0,
        hash,
        &row.scopes,
        row.label,
        now,
        row.expires_at,
        row.client.map(|client| client.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A token as operators see it: all but the secret, of which nothing is kept.
#[derive(Clone, Debug, Serialize)]
pub struct TokenLine {
    /// The token.
    pub id: TokenId,
    /// The person who acts with it.
    pub person: PersonId,
    /// The note on what it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From then on it is worth nothing.
    pub expires_at: DateTime<Utc>,
    /// Since then it is worth nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The tokens that operators made for an organization, newest first; also those that are worth nothing any more.
///
/// # Errors
/// Postgres.
pub async fn list(conn: &mut PgConnection, org: OrgId) -> Result<Vec<TokenLine>, DbError> {
    sqlx::query_as!(
        TokenLine,
        r#"SELECT token_id AS "id: TokenId", person_id AS "person: PersonId", label, scopes, created_at, expires_at, revoked_at
           FROM api_tokens WHERE org_id = $1 AND client_id IS NULL ORDER BY created_at DESC, token_id DESC"#,
        org.0
    )
    .fetch_all(conn)
    .await
}

/// The tokens of a person that are worth something, newest first.
///
/// # Errors
/// Postgres.
pub async fn of_person(
    conn: &mut PgConnection,
    person: PersonId,
    now: DateTime<Utc>,
) -> Result<Vec<TokenLine>, DbError> {
    sqlx::query_as!(
        TokenLine,
        r#"SELECT token_id AS "id: TokenId", person_id AS "person: PersonId", label, scopes, created_at, expires_at, revoked_at
           FROM api_tokens WHERE person_id = $1 AND client_id IS NULL AND revoked_at IS NULL AND expires_at > $2
           ORDER BY created_at DESC, token_id DESC"#,
        person.0,
        now
    )
    .fetch_all(conn)
    .await
}

/// Locks a person until the transaction ends, for tokens that are added one after the other.
///
/// # Errors
/// Postgres.
pub async fn lock_owner(conn: &mut PgConnection, person: PersonId) -> Result<(), DbError> {
    sqlx::query!("SELECT FROM people WHERE person_id = $1 FOR NO KEY UPDATE", person.0).execute(conn).await?;
    Ok(())
}

/// Makes a token worthless and gives its organization; none: there is no such token, or it was revoked before.
///
/// # Errors
/// Postgres.
pub async fn revoke(conn: &mut PgConnection, id: TokenId, now: DateTime<Utc>) -> Result<Option<OrgId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE api_tokens SET revoked_at = $2 WHERE token_id = $1 AND revoked_at IS NULL RETURNING org_id AS "org: OrgId""#,
        id.0,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Who a token stands for.
#[derive(Clone, Debug)]
pub struct TokenBearer {
    /// The token.
    pub token: TokenId,
    /// The organization.
    pub org: OrgId,
    /// The person.
    pub person: PersonId,
    /// The person's role.
    pub role: String,
    /// What the token may do.
    pub scopes: Vec<String>,
    /// The client that it was granted to.
    pub client: Option<ClientId>,
}

/// Who holds this token; none: it is unknown, expired or revoked, or the person is no longer active. Works in every
/// scope, since the organization is known only after it.
///
/// # Errors
/// Postgres.
pub async fn find(
    conn: &mut PgConnection,
    hash: &TokenHash,
    at: DateTime<Utc>,
) -> Result<Option<TokenBearer>, DbError> {
    sqlx::query_as!(
        TokenBearer,
        r#"SELECT token_id AS "token!: TokenId", org_id AS "org!: OrgId", person_id AS "person!: PersonId", role AS "role!", scopes AS "scopes!", client_id AS "client: ClientId"
           FROM find_token($1, $2)"#,
        hash.as_bytes(),
        at
    )
    .fetch_optional(conn)
    .await
}

/// The organization of a person.
///
/// # Errors
/// Postgres.
pub async fn organization_of(conn: &mut PgConnection, person: PersonId) -> Result<Option<OrgId>, DbError> {
    sqlx::query_scalar!(r#"SELECT org_id AS "org: OrgId" FROM people WHERE person_id = $1"#, person.0)
        .fetch_optional(conn)
        .await
}
