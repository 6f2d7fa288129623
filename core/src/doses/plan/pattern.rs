//! The row of slots of a rule, reached by arithmetic, and what lies before a slot without walking there.
//!
//! Slots and instants are seconds since 1970 here; a slot counts them on a clock without changes.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc, Weekday};

use super::check::{self, FieldProblem};
use super::{LAST_SECOND, PlanError, PlanRule};
use crate::doses::timing::{Days, TimeMeaning, Timing};
use crate::time::{LocalMoment, Zone, resolve};

const DAY: i64 = 86_400;

/// Wider than the offsets of any two zones at any two instants are apart, and so than a slot can be late for a change
/// of clocks: 32 hours.
const WIDEST: i64 = 32 * 3600;

/// How far back is looked at a time for an earlier change of clocks. No zone has kept an offset for so short a time
/// since 1970.
const STRIDE: i64 = 7 * DAY;

/// The slots of a rule: `offsets` from `origin` on, repeated every `period`.
pub(super) struct Pattern {
    origin: i64,
    /// Seconds after which the slots repeat.
    period: i64,
    /// Sorted, at least one, each less than `period`.
    offsets: Vec<i64>,
    /// How many slots there are, if the plan ends.
    count: Option<i64>,
    /// The zone whose local time the slots are in; UTC for elapsed plans.
    zone: Zone,
    /// Seconds that two doses are kept apart.
    spacing: i64,
    /// Slots that lie within a [`STRIDE`], at least one.
    stride: i64,
}

impl Pattern {
    /// `None` when the rule has no slots at all.
    pub(super) fn new(rule: &PlanRule<'_>) -> Result<Option<Self>, PlanError> {
        let mut pattern = match rule.timing {
            Timing::AsNeeded => return Ok(None),
            Timing::TimesOfDay { .. } if rule.meaning == TimeMeaning::Elapsed => {
                return Err(PlanError::TimesOfDayElapsed);
            }
            Timing::TimesOfDay { times, days, start, end } => {
                let mut pattern = Self::of_days(times.iter(), days, *start, rule.zone);
                pattern.count = end.map(|end| pattern.index_from(midnight(end) + DAY));
                pattern
            }
            Timing::EveryHours { hours, start, first, end } => {
                let anchor = resolve(rule.zone, start.and_time(*first)).timestamp();
                let mut pattern = Self::bare(anchor, i64::from(hours.get()) * 3600, vec![0], Zone::UTC);
                pattern.count = end
                    .and_then(|end| end.succ_opt())
                    .map(|after| pattern.index_from(resolve(rule.zone, after.and_time(NaiveTime::MIN)).timestamp()));
                pattern
            }
        };
        let Some(gap) = pattern.least_gap() else {
            return Ok(None);
        };
        let wanted = check::whole_seconds(rule.min_interval);
        if wanted < 0 || wanted > gap {
            return Err(PlanError::Invalid(FieldProblem::min_interval(rule.min_interval, TimeDelta::seconds(gap))));
        }
        pattern.spacing = if wanted == 0 { (gap / 2).clamp(1, 3600) } else { wanted };
        let per_period = pattern.per_period();
        pattern.stride = (STRIDE * per_period / pattern.period).max(1);
        Ok(Some(pattern))
    }

    fn bare(origin: i64, period: i64, offsets: Vec<i64>, zone: Zone) -> Self {
        Self { origin, period, offsets, count: None, zone, spacing: 1, stride: 1 }
    }

    fn of_days<'a>(times: impl Iterator<Item = &'a NaiveTime>, days: &Days, start: NaiveDate, zone: Zone) -> Self {
        let (length, days) = match days {
            Days::Day => (1, vec![0]),
            Days::NthDay { n } => (i64::from(n.get()), vec![0]),
            Days::Weekdays { on } => (7, weekday_offsets(on, start.weekday())),
        };
        let times: Vec<i64> = times.map(|time| i64::from(time.num_seconds_from_midnight())).collect();
        let mut offsets: Vec<i64> =
            days.iter().flat_map(|day| times.iter().map(move |time| day * DAY + time)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        Self::bare(midnight(start), length * DAY, offsets, zone)
    }

    /// The shortest time between two slots, changes of clocks aside; `None` when there are no slots.
    pub(super) fn least_gap(&self) -> Option<i64> {
        let around = self.offsets.first()? + self.period - self.offsets.last()?;
        let within = self.offsets.windows(2).map(|pair| pair[1] - pair[0]);
        Some(within.fold(around, i64::min))
    }

    /// Of a timing, whatever its zone.
    pub(super) fn nominal_gap(timing: &Timing) -> Option<i64> {
        match timing {
            Timing::AsNeeded => None,
            Timing::EveryHours { hours, .. } => Some(i64::from(hours.get()) * 3600),
            Timing::TimesOfDay { times, days, start, .. } => {
                Self::of_days(times.iter(), days, *start, Zone::UTC).least_gap()
            }
        }
    }

    fn per_period(&self) -> i64 {
        // A day has 86,400 seconds and a period at most 7 days with several times, so this is never large.
        i64::try_from(self.offsets.len()).unwrap_or(i64::MAX)
    }

    pub(super) const fn spacing(&self) -> i64 {
        self.spacing
    }

    /// The slot with an index, counted from 0; `None` past the end.
    pub(super) fn slot(&self, index: i64) -> Option<i64> {
        if self.count.is_some_and(|count| index >= count) {
            return None;
        }
        Some(self.at(index)).filter(|slot| *slot <= LAST_SECOND)
    }

    fn at(&self, index: i64) -> i64 {
        let within = usize::try_from(index.rem_euclid(self.per_period())).unwrap_or(0);
        self.origin + self.period * index.div_euclid(self.per_period()) + self.offsets[within]
    }

    /// The index of the first slot at or after a time on the slots' own clock.
    pub(super) fn index_from(&self, at: i64) -> i64 {
        let since = at.clamp(-LAST_SECOND, LAST_SECOND) - self.origin;
        if since <= 0 || self.offsets.is_empty() {
            return 0;
        }
        let before = self.offsets.partition_point(|offset| *offset < since % self.period);
        since / self.period * self.per_period() + i64::try_from(before).unwrap_or(0)
    }

    /// An index at or shortly before that of the first slot due at or after an instant.
    pub(super) fn first_due_near(&self, from: DateTime<Utc>) -> i64 {
        // Half of `WIDEST` between the slot's clock and UTC, and `WIDEST` for being late.
        let margin = if self.zone == Zone::UTC { 1 } else { WIDEST + WIDEST / 2 };
        self.index_from(from.timestamp().saturating_sub(margin))
    }

    /// How a slot lies in the zone.
    pub(super) fn moment(&self, slot: i64) -> LocalMoment {
        LocalMoment::of(self.zone, naive(slot))
    }

    fn base(&self, index: i64) -> i64 {
        self.moment(self.at(index)).instant().timestamp()
    }

    /// The earliest instant at which the slot `index` may be due because of the slots before it.
    ///
    /// A slot is due at the latest of `base(j) + (index - j) * spacing` over all `j` up to its own. While the offset
    /// stays the same that never falls with `j`, for slots are no closer than the spacing. So only the last slot before
    /// each change of clocks counts, and none that slack has made up for. Those are looked up going back in strides.
    pub(super) fn floor_of(&self, index: i64) -> i64 {
        let mut floor = i64::MIN;
        if self.zone == Zone::UTC {
            return floor;
        }
        let Some(slot) = (index > 0).then(|| self.at(index)) else {
            return floor;
        };
        let mut last = index - 1;
        loop {
            floor = floor.max(self.base(last) + (index - last) * self.spacing);
            let slack = slot - self.at(last) - (index - last) * self.spacing;
            if last == 0 || slack >= WIDEST {
                return floor;
            }
            let earlier = (last - self.stride).max(0);
            last = self.last_with_other_offset(earlier, last).unwrap_or(earlier);
        }
    }

    /// The last slot from `earlier` on to which another offset applies than to `later`, if it is not that of `earlier`
    /// too.
    fn last_with_other_offset(&self, earlier: i64, later: i64) -> Option<i64> {
        let applied = |index| self.at(index) - self.base(index);
        let offset = applied(later);
        if applied(earlier) == offset {
            return None;
        }
        let (mut other, mut same) = (earlier, later);
        while same - other > 1 {
            let middle = other + (same - other) / 2;
            if applied(middle) == offset { same = middle } else { other = middle }
        }
        Some(other)
    }
}

fn weekday_offsets(on: &[Weekday], start: Weekday) -> Vec<i64> {
    on.iter().map(|day| i64::from(day.days_since(start))).collect()
}

fn midnight(date: NaiveDate) -> i64 {
    date.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// A slot as the date and time it stands for.
pub(super) fn naive(slot: i64) -> NaiveDateTime {
    instant(slot).naive_utc()
}

/// Seconds since 1970 as an instant.
pub(super) fn instant(seconds: i64) -> DateTime<Utc> {
    // Out of chrono's range only for years beyond 262,000; plans end with 9999.
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
