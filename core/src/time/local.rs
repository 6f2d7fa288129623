//! From what a clock on the wall shows to the instant that is meant.
//!
//! The rule is that of RFC 5545 3.3.5: a time that the clocks leap over in spring is read with the offset before the
//! leap (02:30 becomes 03:30), a time that comes twice in autumn means the first.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::GapInfo;
use serde::{Deserialize, Serialize};

use super::choice::words;
use super::zone::Zone;

/// What a schedule does with a local time that does not exist because clocks go forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum GapRule {
    /// Fires after the gap, as much later as the gap is wide: 02:30 at 03:30.
    #[default]
    After,
    /// Does not fire on that day.
    Skip,
}

words!(GapRule, "gap rule", { After => "after", Skip => "skip" });

/// What a schedule does with a local time that comes twice because clocks go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum FoldRule {
    /// Fires once, at the first of the two.
    #[default]
    First,
    /// Fires once, at the second of the two.
    Second,
    /// Fires at both.
    Both,
}

words!(FoldRule, "fold rule", { First => "first", Second => "second", Both => "both" });

/// How a local time lies in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalMoment {
    /// It comes exactly once.
    Once(DateTime<Utc>),
    /// Clocks leap over it.
    Gap {
        /// The instant at which clocks go forward.
        leap: DateTime<Utc>,
        /// The instant that is meant: the local time read with the offset before the leap.
        after: DateTime<Utc>,
    },
    /// It comes twice.
    Fold {
        /// The first time clocks show it.
        first: DateTime<Utc>,
        /// The second time.
        second: DateTime<Utc>,
    },
}

impl LocalMoment {
    /// Looks a local time up in a zone.
    pub fn of(zone: Zone, local: NaiveDateTime) -> Self {
        match zone.tz().from_local_datetime(&local) {
            chrono::LocalResult::Single(at) => Self::Once(at.with_timezone(&Utc)),
            chrono::LocalResult::Ambiguous(first, second) => {
                Self::Fold { first: first.with_timezone(&Utc), second: second.with_timezone(&Utc) }
            }
            chrono::LocalResult::None => Self::gap(zone, local),
        }
    }

    fn gap(zone: Zone, local: NaiveDateTime) -> Self {
        let Some((begin, before)) = GapInfo::new(&local, &zone.tz()).and_then(|gap| gap.begin) else {
            // Not a gap at all but the end of chrono's range of years, where no offset can be applied.
            return Self::Once(local.and_utc());
        };
        let offset = TimeDelta::seconds(before.fix().local_minus_utc().into());
        Self::Gap { leap: (begin - offset).and_utc(), after: (local - offset).and_utc() }
    }

    /// The instant that is meant by the rule of RFC 5545.
    pub const fn instant(self) -> DateTime<Utc> {
        match self {
            Self::Once(at) | Self::Gap { after: at, .. } | Self::Fold { first: at, .. } => at,
        }
    }

    /// The earliest instant that this or any later local time of the zone can mean, under any rule.
    pub const fn earliest(self) -> DateTime<Utc> {
        match self {
            Self::Once(at) | Self::Gap { leap: at, .. } | Self::Fold { first: at, .. } => at,
        }
    }

    /// The instants that are meant under explicit rules: none, one or two, in order.
    pub fn instants(self, gap: GapRule, fold: FoldRule) -> impl Iterator<Item = DateTime<Utc>> {
        let pair = match self {
            Self::Once(at) => [Some(at), None],
            Self::Gap { after, .. } => [(gap == GapRule::After).then_some(after), None],
            Self::Fold { first, second } => {
                [(fold != FoldRule::Second).then_some(first), (fold != FoldRule::First).then_some(second)]
            }
        };
        pair.into_iter().flatten()
    }
}

/// The instant that a local time means in a zone, by the rule of RFC 5545 3.3.5.
pub fn resolve(zone: Zone, local: NaiveDateTime) -> DateTime<Utc> {
    LocalMoment::of(zone, local).instant()
}
