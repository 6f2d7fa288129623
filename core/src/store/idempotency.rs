//! Keys that senders give their writes, and what these were answered.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{OrgId, PersonId, RequestId};
use crate::store::DbError;

/// An answer is given again for so long; after that the key is as good as new.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// A key of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonsKey {
    /// Their organization.
    pub org: OrgId,
    /// Who.
    pub person: PersonId,
    /// The key, 1 to 255 characters.
    pub key: String,
}

/// An answer, as it went out.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: i16,
    /// An object: header names and their values.
    pub headers: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// What a key says about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is to be done, by this request and no other.
    Mine,
    /// Another request is at it.
    Busy,
    /// The key was given to another request.
    Other,
    /// It was done, and answered so.
    Answered(Answer),
}

/// Claims a key for a request, in a transaction of its own: the function says whose rows it sees. One that was claimed before `stale` and never answered belongs to a request that is no more.
///
/// # Errors
/// Postgres.
pub async fn claim(
    conn: &mut PgConnection,
    of: &PersonsKey,
    request_hash: &[u8; 32],
    request: RequestId,
    now: DateTime<Utc>,
    stale: DateTime<Utc>,
) -> Result<Claim, DbError> {
    let said = sqlx::query!(
        r#"SELECT mine AS "mine!", of_hash, status, headers, body FROM claim_key($1, $2, $3, $4, $5, $6, $7, $8)"#,
        of.org.0,
        of.person.0,
        of.key,
        request_hash.as_slice(),
        request.0,
        now,
        stale,
        now - KEPT
    )
    .fetch_one(conn)
    .await?;
    Ok(match (said.mine, said.of_hash) {
        (true, _) => Claim::Mine,
        (false, Some(of_hash)) if of_hash != request_hash.as_slice() => Claim::Other,
        (false, _) => match (said.status, said.headers, said.body) {
            (Some(status), Some(headers), Some(body)) => Claim::Answered(Answer { status, headers, body }),
            // Also where it was given back at this moment.
            _ => Claim::Busy,
        },
    })
}

/// Puts the answer on record, in the transaction of what was done. False: the claim is lost, and nothing of it may commit.
///
/// # Errors
/// Postgres.
pub async fn answer(
    conn: &mut PgConnection,
    of: &PersonsKey,
    request: RequestId,
    answer: &Answer,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE idempotency_keys SET status = $5, headers = $6, body = $7
         WHERE org_id = $1 AND person_id = $2 AND key = $3 AND request_id = $4 AND status IS NULL",
        of.org.0,
        of.person.0,
        of.key,
        request.0,
        answer.status,
        answer.headers,
        answer.body
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a claim back that came to nothing.
///
/// # Errors
/// Postgres.
pub async fn give_back(conn: &mut PgConnection, of: &PersonsKey, request: RequestId) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM idempotency_keys WHERE org_id = $1 AND person_id = $2 AND key = $3 AND request_id = $4 AND status IS NULL",
        of.org.0,
        of.person.0,
        of.key,
        request.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets keys whose time is over, `most` at a time; how many.
///
/// # Errors
/// Postgres.
pub async fn forget(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, DbError> {
    let gone = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE (org_id, person_id, key) IN
           (SELECT org_id, person_id, key FROM idempotency_keys WHERE claimed_at < $1 ORDER BY claimed_at LIMIT $2)",
        now - KEPT,
        most
    )
    .execute(conn)
    .await?;
    Ok(gone.rows_affected())
}
