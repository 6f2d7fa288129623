//! The planner: from the timing of a medicine to the instants at which its doses fall due.
//!
//! A plan is an endless row of *slots*: nominal local times for times of day, nominal UTC times for "every n hours".
//! A slot is the identity of a dose; it stays what it is when the zone, the clocks or the minimum interval move the
//! instant at which the dose is due. Each slot is due at
//!
//! > the later of its own instant (RFC 5545 3.3.5) and the due instant of the slot before it plus the minimum interval.
//!
//! So doses come in the order of their slots, none is lost, none comes twice, and what clocks pushed together is pulled
//! apart again by the least that will do. All of it is a function of the rule alone: how a stretch of time is cut into
//! ranges makes no difference.
//!
//! A minimum interval as long as the nominal spacing (08:00 and 20:00, at least 12 hours) leaves no slack, so when clocks
//! go forward its doses stay an hour late on the clock until clocks go back. With slack they are back within days.
//!
//! Where a rule has no minimum interval, slots that a change of clocks pushes together are still kept apart, by half of
//! their nominal spacing or an hour, whichever is less: two doses in the same minute would be a double dose. When a
//! whole local day is missing (Samoa, 30 December 2011) its doses fall due on the next day at their times, and those of
//! the next day after them, each the minimum interval apart, until the plan is back on the clock.

mod check;
mod pattern;
mod replan;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

pub use check::{FieldProblem, MAX_DAYS, MAX_HOURS, YEARS, nominal_min_gap, validate, validate_rule};
pub use replan::{PlanChange, replan};

use super::timing::{TimeMeaning, Timing};
use crate::time::{LocalMoment, Zone};
use pattern::Pattern;

/// The most doses that one call plans.
pub const MAX_DOSES: usize = 20_000;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanRule<'a> {
    /// The structured timing.
    pub timing: &'a Timing,
    /// What its times mean. "Every n hours" is elapsed time whatever this says.
    pub meaning: TimeMeaning,
    /// The zone in force: the patient's for wall clock, the home zone for home zone, that of the first dose for elapsed.
    pub zone: Zone,
    /// The least time between two doses; zero when none was given. Counted in seconds, rounded up.
    pub min_interval: TimeDelta,
}

/// One dose of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The identity of the dose within its plan: nominal local date and time, or nominal UTC when elapsed.
    pub slot: NaiveDateTime,
    /// The instant at which it is due.
    pub due: DateTime<Utc>,
    /// Why that is not simply the slot's time on the wall, if it is not.
    pub shifted: Option<Shift>,
}

/// Why a dose is not due when a clock shows the time of its slot, or which of two such instants was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shift {
    /// Clocks go forward over the slot; it is due as much later as they leap.
    Gap,
    /// Clocks show the slot's time twice; the first is taken.
    Fold,
    /// It would come too soon after the dose before it.
    MinInterval,
    /// Its time had already gone by in the zone that is new, so it is due at the change of zone.
    ZoneChange,
}

impl Planned {
    /// A sentence for people that says why the dose is not due at the time of its slot; `None` when it is.
    /// `zone` is the zone the dose was planned in.
    pub fn explain(&self, zone: Zone) -> Option<String> {
        let due = zone.local(self.due);
        let same_day = due.date() == self.slot.date();
        let shown = |at: NaiveDateTime| at.format(if same_day { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string();
        let slot = shown(self.slot);
        // What was moved by as much as clocks go back is due when they show its time again.
        let (early, due) = if due == self.slot {
            (format!("{slot} comes twice, and the first"), "the second".to_owned())
        } else {
            (slot.clone(), shown(due))
        };
        Some(match self.shifted? {
            Shift::Gap => format!("clocks go forward: {slot} does not exist, so {due}"),
            Shift::Fold => format!("clocks go back: {slot} comes twice, the first is meant"),
            Shift::MinInterval => format!("{early} would be too soon after the dose before it, so {due}"),
            Shift::ZoneChange => format!("{early} had gone by when the time zone changed, so {due}"),
        })
    }
}

/// Why no plan can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Times of day have no meaning as elapsed time.
    #[error("times of day cannot be planned as elapsed time: give an interval in hours, or wall-clock times")]
    TimesOfDayElapsed,
    /// The timing itself is wrong; [`validate`] says how.
    #[error("the timing is not valid: {0}")]
    Invalid(FieldProblem),
    /// More doses than one call plans.
    #[error("the range holds more than {limit} doses: ask for a shorter one")]
    TooMany {
        /// The most that one call plans.
        limit: usize,
    },
}

/// The doses of a rule that are due from `from` (inclusive) until `until` (exclusive), in order.
///
/// Any range will do, past or future (up to the year 9999), and ranges that meet hold together exactly what one range
/// over all of them holds.
///
/// `previous` is the due instant of the last dose before the range where it is known from elsewhere, say because it
/// was planned in another zone. It can only push doses later, perhaps past `until`: which doses belong to a range is
/// decided without it, so that none is lost at the end. To plan on range by range, give the last due instant each time.
///
/// # Errors
///
/// When the rule makes no sense, or the range holds more than [`MAX_DOSES`].
pub fn occurrences(
    rule: &PlanRule<'_>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    previous: Option<DateTime<Utc>>,
) -> Result<Vec<Planned>, PlanError> {
    let Some(pattern) = Pattern::new(rule)? else {
        return Ok(Vec::new());
    };
    let first = pattern.first_due_near(from);
    collect(&pattern, first, previous, until, |own| (own >= from.seconds_up()).then_some(own))
}

/// The doses of a rule after a change of zone at `from`: every slot from `first_slot` on that is due before `until`.
///
/// `first_slot` is the first dose that was still to come in the old zone; the doses before it were due there and stay
/// as they are. So no slot is doubled when clocks go back by the journey, and none is lost when they go forward: a
/// slot whose time has gone by in the new zone is due at `from` ([`Shift::ZoneChange`]), each the minimum interval
/// after the one before. Whoever would rather have such a dose counted as missed can tell it by that.
///
/// `previous` is the due instant of the last dose in the old zone. Elapsed plans do not change with the zone.
///
/// A plan that was resumed is to be planned again, later on, by this function too, with `first_slot` the first dose
/// still to come: [`occurrences`] would leave out a dose whose time by the clock is past but which was moved to one
/// that is still to come. Where no zone was changed both find the same doses.
///
/// # Errors
///
/// As for [`occurrences`].
pub fn resume(
    rule: &PlanRule<'_>,
    first_slot: NaiveDateTime,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    previous: Option<DateTime<Utc>>,
) -> Result<Vec<Planned>, PlanError> {
    let Some(pattern) = Pattern::new(rule)? else {
        return Ok(Vec::new());
    };
    let first = pattern.index_from(first_slot.and_utc().seconds_up());
    collect(&pattern, first, previous, until, |own| Some(own.max(from.seconds_up())))
}

/// Walks the slots from index `first` on. `place` is given the instant at which the rule alone would have a slot due
/// and says where it may go, or that it is not wanted.
fn collect(
    pattern: &Pattern,
    first: i64,
    previous: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
    place: impl Fn(i64) -> Option<i64>,
) -> Result<Vec<Planned>, PlanError> {
    let until = until.seconds_up().min(LAST_SECOND);
    let spacing = pattern.spacing();
    let mut own_floor = pattern.floor_of(first);
    let mut floor = previous.map_or(i64::MIN, |previous| previous.seconds_up().saturating_add(spacing));
    let mut doses = Vec::new();
    for index in first.. {
        let Some(slot) = pattern.slot(index) else {
            break;
        };
        let moment = pattern.moment(slot);
        let base = moment.instant().timestamp();
        let own = base.max(own_floor);
        if own >= until {
            break;
        }
        own_floor = own + spacing;
        let Some(placed) = place(own) else { continue };
        let due = placed.max(floor);
        floor = due + spacing;
        if doses.len() == MAX_DOSES {
            return Err(PlanError::TooMany { limit: MAX_DOSES });
        }
        let shifted = match moment {
            _ if placed > own => Some(Shift::ZoneChange),
            _ if due > base => Some(Shift::MinInterval),
            LocalMoment::Gap { .. } => Some(Shift::Gap),
            LocalMoment::Fold { .. } => Some(Shift::Fold),
            LocalMoment::Once(_) => None,
        };
        doses.push(Planned { slot: pattern::naive(slot), due: pattern::instant(due), shifted });
    }
    Ok(doses)
}

/// Nothing is planned past the year 9999, in seconds since 1970.
const LAST_SECOND: i64 = 253_402_300_799;

/// Seconds since 1970, fractions rounded up: a slot is on a whole second, so it is at or after an instant exactly when
/// it is at or after that.
trait WholeSeconds {
    fn seconds_up(&self) -> i64;
}

impl WholeSeconds for DateTime<Utc> {
    fn seconds_up(&self) -> i64 {
        self.timestamp() + i64::from(self.timestamp_subsec_nanos() > 0)
    }
}
