//! Who saw or changed what is a patient's.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::Before;

/// Somebody saw or changed something of a patient.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Access)]
pub struct Access {
    /// The audit entry.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// person, patient_link (whoever held the link in a patient's mail), account, job, schedule or operator.
    pub by: String,
    /// Who, if it was a person of this organization.
    pub person_id: Option<PersonId>,
    /// Their name now.
    pub name: Option<String>,
    /// Their role then.
    pub role: String,
    /// What they did, as the audit trail names it: `patient.read`, `appointment.list` …
    pub action: String,
    /// They do not treat the patient, and broke the glass.
    pub glass: bool,
}

/// A span of time; none: without that end.
#[derive(Clone, Copy, Debug, Default)]
pub struct During {
    /// At or after.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

/// Looks at, and changes of, one patient of `org`, newest first. Of changes those of the person, of their medical records and
/// contacts, and doses that staff gave: what was done to a visit or a prescription is on record under that.
///
/// # Errors
/// Postgres.
pub async fn accesses(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    during: During,
    before: Option<Before>,
    most: i32,
) -> Result<Vec<Access>, DbError> {
    sqlx::query_as!(
        Access,
        r#"SELECT a.id AS "id!", a.at AS "at!", a.actor_kind AS "by!", p.person_id AS "person_id?: PersonId",
             p.given_name || ' ' || p.family_name AS name, coalesce(a.role, '') AS "role!", a.action AS "action!",
             coalesce((SELECT e.detail ? 'glass' FROM audit_entries e WHERE e.id = a.id), false) AS "glass!"
           FROM accesses_of($1, $2, $3, $4, $5, $6, $7) a LEFT JOIN people p ON a.actor_kind = 'person' AND p.person_id = a.actor_id
           ORDER BY a.at DESC, a.id DESC"#,
        patient.0,
        org.0,
        during.from,
        during.to,
        before.map(|place| place.at),
        before.map(|place| place.id),
        most
    )
    .fetch_all(conn)
    .await
}
