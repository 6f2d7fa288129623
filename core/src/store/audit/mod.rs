//! Audit entries: written in the transaction of what they record, never changed.

pub mod accesses;
pub mod chain;
pub mod rollup;
pub mod trail;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, Ids, OrgId, PersonId, RequestId};
use crate::store::DbError;

/// The role in which somebody acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A patient, also by the link in a mail.
    Patient,
    /// A doctor.
    Doctor,
    /// A nurse.
    Nurse,
    /// A receptionist.
    Receptionist,
    /// Who administers an organization.
    Admin,
    /// Who operates the platform, signed in.
    Ops,
    /// A job.
    Job,
    /// A scheduler's loop.
    Schedule,
    /// An operator at the command line.
    Operator,
    /// Whoever could not say who they are, or acts for no organization yet.
    Nobody,
}

impl Role {
    /// The name that Postgres knows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Patient => "patient",
            Role::Doctor => "doctor",
            Role::Nurse => "nurse",
            Role::Receptionist => "receptionist",
            Role::Admin => "admin",
            Role::Ops => "ops",
            Role::Job => "job",
            Role::Schedule => "schedule",
            Role::Operator => "operator",
            Role::Nobody => "nobody",
        }
    }
}

/// No person has a role of that name.
#[derive(Debug, thiserror::Error)]
#[error("no person has the role {0:?}")]
pub struct UnknownRole(String);

/// Of the roles that a person may have.
impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let persons = [Role::Patient, Role::Doctor, Role::Nurse, Role::Receptionist, Role::Admin, Role::Ops];
        persons
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| UnknownRole(name.chars().take(40).collect()))
    }
}

/// Who did it, in which role, and the request that made them do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person who signed in, or by their token.
    Person {
        /// Who.
        id: PersonId,
        /// The role they had then.
        role: Role,
        /// The HTTP request.
        request: RequestId,
    },
    /// Whoever sent a token or a password that is worth nothing.
    UnknownToken {
        /// The HTTP request.
        request: RequestId,
    },
    /// Whoever held the link in a patient's mail.
    PatientLink {
        /// The HTTP request.
        request: RequestId,
    },
    /// The owner of an account, by a link that was mailed to them, or before it is said for which organization they act.
    Account {
        /// Which.
        id: AccountId,
        /// The HTTP request.
        request: RequestId,
    },
    /// A job, which is its own request.
    Job(Uuid),
    /// A scheduler.
    Schedule {
        /// The round of its loop.
        round: RequestId,
    },
    /// An operator at the command line.
    Operator {
        /// The run of the program.
        run: RequestId,
    },
}

impl Actor {
    fn kind(self) -> &'static str {
        match self {
            Actor::Person { .. } => "person",
            Actor::UnknownToken { .. } => "token",
            Actor::PatientLink { .. } => "patient_link",
            Actor::Account { .. } => "account",
            Actor::Job(_) => "job",
            Actor::Schedule { .. } => "schedule",
            Actor::Operator { .. } => "operator",
        }
    }

    fn id(self) -> Option<Uuid> {
        match self {
            Actor::Person { id, .. } => Some(id.0),
            Actor::Account { id, .. } => Some(id.0),
            Actor::Job(id) => Some(id),
            Actor::UnknownToken { .. }
            | Actor::PatientLink { .. }
            | Actor::Schedule { .. }
            | Actor::Operator { .. } => None,
        }
    }

    fn role(self) -> Role {
        match self {
            Actor::Person { role, .. } => role,
            Actor::UnknownToken { .. } | Actor::Account { .. } => Role::Nobody,
            Actor::PatientLink { .. } => Role::Patient,
            Actor::Job(_) => Role::Job,
            Actor::Schedule { .. } => Role::Schedule,
            Actor::Operator { .. } => Role::Operator,
        }
    }

    fn request(self) -> Uuid {
        match self {
            Actor::Person { request, .. }
            | Actor::UnknownToken { request }
            | Actor::PatientLink { request }
            | Actor::Account { request, .. } => request.0,
            Actor::Job(id) => id,
            Actor::Schedule { round } => round.0,
            Actor::Operator { run } => run.0,
        }
    }
}

/// What was done to what.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose; none: the platform's own.
    pub org: Option<OrgId>,
    /// Who did it, in which role, by which request.
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
        "INSERT INTO audit_entries (id, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail)
         SELECT id, org, $12, kind, actor, role, action, subject_type, subject, outcome, request, detail
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::uuid[],
             $11::jsonb[])
           AS n (id, org, kind, actor, role, action, subject_type, subject, outcome, request, detail)",
        &entries.iter().map(|_| ids.new_id::<Uuid>()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.org.map(|org| org.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &entries.iter().map(|e| e.actor.kind().to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.actor.id()).collect::<Vec<_>>() as &[Option<Uuid>],
        &entries.iter().map(|e| e.actor.role().as_str().to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.action.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.subject_type.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.subject).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.outcome.to_owned()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.actor.request()).collect::<Vec<_>>(),
        &entries.iter().map(|e| e.detail.clone()).collect::<Vec<_>>() as &[Option<Value>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
