//! Medical records: their words, who may read those of whom, and breaking the glass.
//!
//! Who treats a patient reads their records. Whoever else of the doctors and nurses says why, and then reads the records of that
//! one patient for [`GLASS_HOURS`]; operators and administrators are told, and each look is marked.

use chrono::TimeDelta;

use crate::ids::{GlassId, OrgId, PersonId};
use crate::ledger::NewJob;
use crate::store::audit::Role;
use crate::store::glass::{self, Glass};
use crate::store::{DbError, Tx};

/// The kinds of records.
pub const KINDS: [&str; 8] =
    ["allergy", "condition", "medication", "surgery", "vaccination", "lab_result", "imaging", "note"];

/// How grave it is, where that makes sense.
pub const SEVERITIES: [&str; 4] = ["low", "moderate", "high", "critical"];

/// The states of a record. None is ever deleted.
pub const STATES: [&str; 2] = ["active", "entered_in_error"];

/// The longest title, description, and reason for a withdrawal or for breaking the glass, in characters.
pub const TITLE: usize = 200;
/// See [`TITLE`].
pub const DESCRIPTION: usize = 10_000;
/// See [`TITLE`].
pub const REASON: usize = 500;
/// The shortest reason for breaking the glass.
pub const SHORTEST_REASON: usize = 10;

/// For so long a glass stays broken.
pub const GLASS_HOURS: i64 = 4;

/// Whether records of this kind have a severity.
pub fn has_severity(kind: &str) -> bool {
    matches!(kind, "allergy" | "condition" | "lab_result" | "imaging")
}

/// Why somebody may read the records of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They treat the patient.
    Treats,
    /// They broke the glass.
    Glass(GlassId),
}

impl Access {
    /// The broken glass.
    pub const fn glass(self) -> Option<GlassId> {
        match self {
            Self::Treats => None,
            Self::Glass(id) => Some(id),
        }
    }
}

/// Why this doctor or nurse may read the records of this patient; none: they may not. Nurses have no visits of their own: they
/// treat who is in the house, which is whoever has a visit within a day of now.
///
/// # Errors
/// Postgres.
pub async fn access(
    tx: &mut Tx,
    org: OrgId,
    (person, role): (PersonId, Role),
    patient: PersonId,
) -> Result<Option<Access>, DbError> {
    let now = tx.now();
    let found = glass::relation(tx.conn(), org, person, patient, role == Role::Nurse, now).await?;
    Ok(if found.treats { Some(Access::Treats) } else { found.glass.map(Access::Glass) })
}

/// What is wrong with a reason for breaking the glass; none: nothing.
pub fn wrong_reason(reason: &str) -> Option<String> {
    let length = reason.trim().chars().count();
    (!(SHORTEST_REASON..=REASON).contains(&length))
        .then(|| format!("must say why, in {SHORTEST_REASON} to {REASON} characters"))
}

/// One breaking of the glass that operators are to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlassAlarm {
    /// The organization.
    pub org: OrgId,
    /// The break.
    pub glass: GlassId,
}

/// Makes the job that tells them. Jobs are defined outside this crate, so who breaks the glass says how.
pub type MakeJob = fn(GlassAlarm) -> Result<NewJob, serde_json::Error>;

/// Breaks the glass: `person` may read the records of `patient` from now on, for [`GLASS_HOURS`].
///
/// # Errors
/// Postgres.
pub async fn break_glass(
    tx: &mut Tx,
    org: OrgId,
    person: PersonId,
    patient: PersonId,
    reason: &str,
    make: MakeJob,
) -> Result<Glass, DbError> {
    let now = tx.now();
    let glass = Glass {
        id: tx.new_id(),
        org,
        person,
        patient,
        reason: reason.trim().to_owned(),
        broken_at: now,
        ends_at: now + TimeDelta::hours(GLASS_HOURS),
        told_at: None,
    };
    glass::insert(tx.conn(), &glass).await?;
    let job = make(GlassAlarm { org, glass: glass.id }).map_err(|error| DbError::Encode(error.into()))?;
    tx.enqueue_all(vec![job]).await?;
    Ok(glass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_is_no_novel() {
        for wrong in ["", "          \n         ", "too short", &"x".repeat(REASON + 1)] {
            assert!(wrong_reason(wrong).is_some(), "{wrong:?}");
        }
        assert_eq!(wrong_reason("emergency, unconscious"), None);
    }

    #[test]
    fn severities_are_of_kinds_that_there_are() {
        assert_eq!(KINDS.iter().filter(|kind| has_severity(kind)).count(), 4);
    }
}
