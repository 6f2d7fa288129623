//! What a new plan changes, so that it can be applied and logged.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::Planned;

/// One difference between doses as they were planned and as they are planned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanChange {
    /// A dose that was not planned before.
    Add(Planned),
    /// A dose that is due at another instant than before.
    Move {
        /// Which dose.
        slot: NaiveDateTime,
        /// When it was due.
        from: DateTime<Utc>,
        /// When it is due now.
        to: DateTime<Utc>,
    },
    /// A dose that is no longer planned.
    Drop {
        /// Which dose.
        slot: NaiveDateTime,
    },
}

/// Compares the doses that are still to come with a new plan over the same time: what to add, move and drop, in the
/// order of slots. Doses that stay as they are do not appear, so applying the answer twice changes nothing more.
///
/// Slots that are done already belong in neither list; after a change of zone [`super::resume`] leaves them out.
pub fn replan(existing_future: &[(NaiveDateTime, DateTime<Utc>)], new: &[Planned]) -> Vec<PlanChange> {
    let existing: BTreeSet<_> = existing_future.iter().map(|(slot, _)| *slot).collect();
    let wanted: BTreeMap<_, _> = new.iter().map(|dose| (dose.slot, dose)).collect();
    let mut changes: BTreeMap<NaiveDateTime, PlanChange> = BTreeMap::new();
    for (slot, from) in existing_future.iter().copied() {
        match wanted.get(&slot).map(|dose| dose.due) {
            None => changes.insert(slot, PlanChange::Drop { slot }),
            Some(to) if to != from => changes.insert(slot, PlanChange::Move { slot, from, to }),
            Some(_) => None,
        };
    }
    for (slot, dose) in wanted {
        if !existing.contains(&slot) {
            changes.insert(slot, PlanChange::Add(*dose));
        }
    }
    changes.into_values().collect()
}
