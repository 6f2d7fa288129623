//! API tokens.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{OrgId, PersonId, TokenId};
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
        "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, label, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.id.0,
        row.org.0,
        row.person.0,
        hash,
        &row.scopes,
        row.label,
        now,
        row.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
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
        r#"SELECT token_id AS "token!: TokenId", org_id AS "org!: OrgId", person_id AS "person!: PersonId", role AS "role!", scopes AS "scopes!"
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
