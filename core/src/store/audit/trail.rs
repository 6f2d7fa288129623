//! The trail of an organization, as its administrators read it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::Way;

/// Ids are made a moment before the transaction's time, or after it: entries are looked for with so much room.
const ROOM: TimeDelta = TimeDelta::minutes(10);

/// An entry: ids and names of what was done, nothing else.
#[derive(Clone, Debug)]
pub struct TrailLine {
    /// The entry.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// person, patient_link, account, token, job, schedule or operator.
    pub actor_kind: String,
    /// Who.
    pub actor: Option<Uuid>,
    /// In which role; none: an entry of a release that did not write it.
    pub role: Option<String>,
    /// The request that made them do it.
    pub request: Option<Uuid>,
    /// What was done, as in `patient.read`.
    pub action: String,
    /// To what sort of thing.
    pub subject_type: String,
    /// To which.
    pub subject: Uuid,
    /// success, refused or failed.
    pub outcome: String,
    /// More: ids, numbers and names of fields.
    pub detail: Option<Value>,
    /// Its number in the chain; none: it is sealed within a moment.
    pub seq: Option<i64>,
}

/// Which entries to list.
#[derive(Clone, Copy, Debug)]
pub struct TrailFilter<'a> {
    /// At or after.
    pub from: DateTime<Utc>,
    /// Before.
    pub to: DateTime<Utc>,
    /// Of this action.
    pub action: Option<&'a str>,
    /// By this person.
    pub actor: Option<PersonId>,
    /// Done to this.
    pub subject: Option<Uuid>,
    /// With this outcome.
    pub outcome: Option<&'a str>,
}

macro_rules! select_trail {
    ([$($tail:tt)+], $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            TrailLine,
            r#"SELECT e.id, e.at, e.actor_kind, e.actor_id AS actor, e.role, e.request_id AS request, e.action, e.subject_type, e.subject_id AS subject,
                 e.outcome, e.detail, (SELECT c.seq FROM audit_chain c WHERE c.entry_id = e.id) AS seq
               FROM audit_entries e "# + $($tail)+,
            $($args),*
        )
    };
}

/// The first id that may have been made at this time (RFC 9562, 5.7: the first 48 bits are milliseconds).
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}

macro_rules! list_trail {
    ($conn:expr, $org:expr, $filter:expr, $bounds:expr, $limit:expr, $way:tt) => {
        match $filter.subject {
            Some(subject) => {
                select_trail!(["WHERE e.subject_id = $10 AND e.org_id = $1 AND e.id > $2 AND e.id < $3 AND e.at >= $4 AND e.at < $5
                       AND ($6::text IS NULL OR e.action = $6) AND ($7::uuid IS NULL OR e.actor_id = $7) AND ($8::text IS NULL OR e.outcome = $8)
                     ORDER BY e.id " + $way + " LIMIT $9"],
                    $org.0,
                    $bounds.0,
                    $bounds.1,
                    $filter.from,
                    $filter.to,
                    $filter.action,
                    $filter.actor.map(|id: PersonId| id.0),
                    $filter.outcome,
                    $limit,
                    subject
                )
                .fetch_all($conn)
                .await
            }
            None => {
                select_trail!(["WHERE e.org_id = $1 AND e.id > $2 AND e.id < $3 AND e.at >= $4 AND e.at < $5
                       AND ($6::text IS NULL OR e.action = $6) AND ($7::uuid IS NULL OR e.actor_id = $7) AND ($8::text IS NULL OR e.outcome = $8)
                     ORDER BY e.id " + $way + " LIMIT $9"],
                    $org.0,
                    $bounds.0,
                    $bounds.1,
                    $filter.from,
                    $filter.to,
                    $filter.action,
                    $filter.actor.map(|id: PersonId| id.0),
                    $filter.outcome,
                    $limit
                )
                .fetch_all($conn)
                .await
            }
        }
    };
}

/// Entries of `org` after an entry, by time. They are looked for by their ids, which follow the time: the trail is written with each
/// request, and another index would cost each of them.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: TrailFilter<'_>,
    way: Way,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<TrailLine>, DbError> {
    let (first, last) = (first_id(filter.from - ROOM), first_id(filter.to + ROOM));
    match way {
        Way::Up => list_trail!(conn, org, filter, (after.map_or(first, |after| after.max(first)), last), limit, "ASC"),
        Way::Down => {
            list_trail!(conn, org, filter, (first, after.map_or(last, |after| after.min(last))), limit, "DESC")
        }
    }
}

/// One entry of `org`.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, org: OrgId, id: Uuid) -> Result<Option<TrailLine>, DbError> {
    select_trail!(["WHERE e.org_id = $1 AND e.id = $2"], org.0, id).fetch_optional(conn).await
}
