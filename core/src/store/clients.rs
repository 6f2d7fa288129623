//! Clients that get tokens by their keys.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{ClientId, OrgId, PersonId};
use crate::store::DbError;

/// Tokens that are over are known for so long.
const TOKENS_KEPT: TimeDelta = TimeDelta::hours(1);

/// A client to store.
#[derive(Clone, Debug)]
pub struct NewClientRow<'a> {
    /// The client.
    pub id: ClientId,
    /// Whose.
    pub org: OrgId,
    /// Whom it acts as.
    pub person: PersonId,
    /// What it may do.
    pub scopes: Vec<String>,
    /// A note on what it is for.
    pub label: &'a str,
    /// Its public keys.
    pub keys: &'a Value,
}

/// Stores a client.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, row: &NewClientRow<'_>, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO oauth_clients (client_id, org_id, person_id, scopes, label, keys, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        row.id.0,
        row.org.0,
        row.person.0,
        &row.scopes,
        row.label,
        row.keys,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A client as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct ClientLine {
    /// The client.
    pub id: ClientId,
    /// Whom it acts as.
    pub person: PersonId,
    /// The note on what it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Since when it gets nothing any more.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The clients of an organization, newest first; also those that get nothing any more.
///
/// # Errors
/// Postgres.
pub async fn list(conn: &mut PgConnection, org: OrgId) -> Result<Vec<ClientLine>, DbError> {
    sqlx::query_as!(
        ClientLine,
        r#"SELECT client_id AS "id: ClientId", person_id AS "person: PersonId", label, scopes, created_at, revoked_at
           FROM oauth_clients WHERE org_id = $1 ORDER BY created_at DESC, client_id DESC LIMIT 1000"#,
        org.0
    )
    .fetch_all(conn)
    .await
}

/// Gives a client other keys, and gives its organization; none: there is no such client, or it was revoked.
///
/// # Errors
/// Postgres.
pub async fn set_keys(conn: &mut PgConnection, id: ClientId, keys: &Value) -> Result<Option<OrgId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE oauth_clients SET keys = $2 WHERE client_id = $1 AND revoked_at IS NULL RETURNING org_id AS "org: OrgId""#,
        id.0,
        keys
    )
    .fetch_optional(conn)
    .await
}

/// Revokes a client and gives its organization; none: there is no such client, or it was revoked before.
///
/// # Errors
/// Postgres.
pub async fn revoke(conn: &mut PgConnection, id: ClientId, now: DateTime<Utc>) -> Result<Option<OrgId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE oauth_clients SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL RETURNING org_id AS "org: OrgId""#,
        id.0,
        now
    )
    .fetch_optional(conn)
    .await
}

/// A client that may ask for tokens.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Whose.
    pub org: OrgId,
    /// Whom it acts as.
    pub person: PersonId,
    /// In which role.
    pub role: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Its public keys.
    pub keys: Value,
}

/// A client; none: it is unknown or revoked, or its person does not take part any more.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, id: ClientId) -> Result<Option<ClientRow>, DbError> {
    sqlx::query_as!(
        ClientRow,
        r#"SELECT c.org_id AS "org: OrgId", c.person_id AS "person: PersonId", p.role, c.scopes, c.keys
           FROM oauth_clients c JOIN people p USING (person_id)
           WHERE c.client_id = $1 AND c.revoked_at IS NULL AND p.active AND NOT p.deceased"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// Puts on record that a statement was used, by the hash of its name; forgets those of the client that are over. False: it was used
/// before.
///
/// # Errors
/// Postgres.
pub async fn spend(
    conn: &mut PgConnection,
    org: OrgId,
    id: ClientId,
    name: &[u8],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    sqlx::query!("DELETE FROM client_assertions WHERE client_id = $1 AND expires_at < $2", id.0, now)
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query!(
        "INSERT INTO client_assertions (client_id, name_hash, org_id, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        id.0,
        name,
        org.0,
        until
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the tokens of a client that are over.
///
/// # Errors
/// Postgres.
pub async fn forget_tokens(conn: &mut PgConnection, id: ClientId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM api_tokens WHERE client_id = $1 AND expires_at < $2", id.0, now - TOKENS_KEPT)
        .execute(conn)
        .await?;
    Ok(())
}
