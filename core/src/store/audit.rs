//! Audit entries: written in the transaction of what they record, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{Ids, OrgId};
use crate::store::DbError;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person, by their token.
    Person(Uuid),
    /// Whoever held the link in a patient's mail.
    PatientLink,
    /// A job.
    Job(Uuid),
    /// The scheduler.
    Schedule,
    /// An operator at the command line.
    Operator,
}

impl Actor {
    fn parts(self) -> (&'static str, Option<Uuid>) {
        match self {
            Actor::Person(id) => ("person", Some(id)),
            Actor::PatientLink => ("patient_link", None),
            Actor::Job(id) => ("job", Some(id)),
            Actor::Schedule => ("schedule", None),
            Actor::Operator => ("operator", None),
        }
    }
}

/// What was done to what.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose.
    pub org: Option<OrgId>,
    /// Who did it.
    pub actor: Actor,
    /// What was done, as `thing.verb`.
    pub action: &'static str,
    /// To what sort of thing.
    pub subject_type: &'static str,
    /// To which.
    pub subject: Uuid,
    /// How it ended; `success` when it is nothing special.
    pub outcome: &'static str,
    /// Ids and numbers only.
    pub detail: Option<Value>,
}

/// Writes entries.
///
/// # Errors
/// Postgres; what they record must not commit then.
pub async fn write(conn: &mut PgConnection, ids: Ids, entries: &[Entry], now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO audit_entries (id, org_id, at, actor_kind, actor_id, action, subject_type, subject_id, outcome, detail)
         SELECT id, org, $10, kind, actor, action, subject_type, subject, outcome, detail
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::jsonb[])
           AS n (id, org, kind, actor, action, subject_type, subject, outcome, detail)",
        &entries.iter().map(|_| ids.new_id::<Uuid>()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.org.map(|org| org.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &entries.iter().map(|e| e.actor.parts().0.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.actor.parts().1).collect::<Vec<_>>() as &[Option<Uuid>],
        &entries.iter().map(|e| e.action.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.subject_type.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.subject).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.outcome.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.detail.clone()).collect::<Vec<_>>() as &[Option<Value>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
