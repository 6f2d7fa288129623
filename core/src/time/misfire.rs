//! What becomes of slots that fell due while nobody fired them, and of a slot whose predecessor still runs.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::choice::{UnknownWord, words};

/// A slot fired at most this late is on time, whatever its policy: a tick takes a moment, and so does the hand-over
/// from one scheduler to another.
pub const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// What happens to the slots of a schedule that were missed.
///
/// Its words, in the database and in JSON: `coalesce`, `catch_up:5`, `skip`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MisfirePolicy {
    /// All that was missed within the window is made up by one firing, that of the newest slot.
    #[default]
    Coalesce,
    /// The newest missed slots within the window are each fired, oldest first.
    CatchUp {
        /// The most slots that are made up at once.
        limit: NonZeroU32,
    },
    /// Nothing is made up: only the newest slot fires, and only on time.
    Skip,
}

const POLICIES: &[&str] = &["coalesce", "catch_up:N (N at least 1)", "skip"];

impl fmt::Display for MisfirePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coalesce => f.write_str("coalesce"),
            Self::CatchUp { limit } => write!(f, "catch_up:{limit}"),
            Self::Skip => f.write_str("skip"),
        }
    }
}

impl FromStr for MisfirePolicy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord::new("misfire policy", word, POLICIES);
        match word {
            "coalesce" => Ok(Self::Coalesce),
            "skip" => Ok(Self::Skip),
            _ => {
                let limit = word.strip_prefix("catch_up:").ok_or_else(unknown)?;
                limit.parse().map(|limit| Self::CatchUp { limit }).map_err(|_| unknown())
            }
        }
    }
}

impl From<MisfirePolicy> for String {
    fn from(policy: MisfirePolicy) -> Self {
        policy.to_string()
    }
}

impl TryFrom<String> for MisfirePolicy {
    type Error = UnknownWord;

    fn try_from(word: String) -> Result<Self, UnknownWord> {
        word.parse()
    }
}

/// What happens to a slot when the run of an earlier slot has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum OverlapPolicy {
    /// The slot is not run, and recorded as missed.
    #[default]
    Skip,
    /// Both run.
    Allow,
}

words!(OverlapPolicy, "overlap policy", { Skip => "skip", Allow => "allow" });

/// Why a slot was not fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum MissReason {
    /// Later than the window when it was looked at.
    TooLate,
    /// Made up for by the firing of a newer slot.
    Coalesced,
    /// More slots were missed than are made up at once.
    OverLimit,
    /// The policy makes nothing up.
    Skipped,
    /// The run of an earlier slot had not ended.
    Overlap,
}

words!(MissReason, "miss reason", {
    TooLate => "too_late",
    Coalesced => "coalesced",
    OverLimit => "over_limit",
    Skipped => "skipped",
    Overlap => "overlap",
});

/// What is to be done with one due slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotVerdict {
    /// Enqueue its job.
    Fire,
    /// Record that it was missed.
    Missed {
        /// Why.
        reason: MissReason,
    },
}

/// A schedule's misfire policy with its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfire {
    /// What is made up.
    pub policy: MisfirePolicy,
    /// How late a slot may be made up; less than [`ON_TIME`] counts as [`ON_TIME`].
    pub window: TimeDelta,
}

impl Misfire {
    /// Whether a slot is later than anything would be made up. The oldest instant for which it is worth to compute
    /// slots one by one is `now - window`; what is older can be recorded as one stretch.
    pub fn too_late(&self, slot: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now - slot > self.window.max(ON_TIME)
    }

    /// Says for each slot that is due and was not yet fired what is to be done with it.
    ///
    /// `due` may come in any order; slots after `now` and repeated slots are left out. The answer is in the order of
    /// time, which is the order to fire in. For `Coalesce` and `CatchUp` give all unfired slots at once: the newest
    /// are the ones that fire.
    pub fn judge(&self, due: &[DateTime<Utc>], now: DateTime<Utc>) -> Vec<(DateTime<Utc>, SlotVerdict)> {
        let mut slots: Vec<_> = due.iter().copied().filter(|slot| *slot <= now).collect();
        slots.sort_unstable();
        slots.dedup();
        let count = slots.len();
        let verdict = |(index, slot)| {
            let newer = count - 1 - index;
            let missed = |reason| SlotVerdict::Missed { reason };
            let verdict = match self.policy {
                _ if self.too_late(slot, now) => missed(MissReason::TooLate),
                MisfirePolicy::Coalesce if newer > 0 => missed(MissReason::Coalesced),
                MisfirePolicy::CatchUp { limit } if newer as u64 >= u64::from(limit.get()) => {
                    missed(MissReason::OverLimit)
                }
                MisfirePolicy::Skip if newer > 0 || now - slot > ON_TIME => missed(MissReason::Skipped),
                _ => SlotVerdict::Fire,
            };
            (slot, verdict)
        };
        slots.into_iter().enumerate().map(verdict).collect()
    }
}
