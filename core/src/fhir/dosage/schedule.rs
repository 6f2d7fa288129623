//! Doses with their first and last day.

use chrono::{DateTime, Datelike, Days as Span, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::super::moment::Moment;
use super::super::node::Node;
use super::super::problem::{Effect, Problem};
use super::defaults::first_dose;
use super::pattern::Doses;
use super::repeat::{Bounds, Length};
use crate::doses::timing::{Days, Timing};

/// Doses and the bounds they hold in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    pub doses: Doses,
    start: Moment,
    bounds: Bounds,
    /// Template for problems that only the zone brings out.
    problem: Problem,
}

/// Most doses that a count may name, so that counting them ends soon.
const MOST_DOSES: u32 = 100_000;

impl Schedule {
    pub fn new(doses: Doses, start: Moment, bounds: Bounds, timing: &Node<'_>) -> Self {
        Self { doses, start, bounds, problem: timing.problem("").with_effect(Effect::Partial) }
    }

    pub fn has_count(&self) -> bool {
        self.bounds.count.is_some()
    }

    pub fn same_bounds(&self, other: &Self) -> bool {
        self.start == other.start && self.bounds == other.bounds
    }

    fn problem(&self, field: &str, reason: &str) -> Problem {
        let path = format!("{}.repeat.{field}", self.problem.path);
        Problem::new(Effect::Partial, &self.problem.resource, &path, reason)
    }

    pub fn timing(&self, zone: Tz) -> Result<Timing, Problem> {
        let begin = self.start.day(zone);
        let bounds_end = self.bounds.end.map(|end| end.day(zone));
        if bounds_end.is_some_and(|end| end < begin) {
            return Err(self.problem("boundsPeriod.end", "is before the start"));
        }
        let length_end = match self.bounds.length {
            None => None,
            Some(length) => Some(last_day(begin, length).ok_or_else(|| self.problem("boundsDuration", "is too long"))?),
        };
        let (start, counted) = match &self.doses {
            Doses::At { times, days, from } => {
                let start = match from {
                    None => begin,
                    Some(weekday) => on_or_after(begin, *weekday).ok_or_else(|| self.too_late())?,
                };
                (start, self.count_days(start, times.len(), days)?)
            }
            Doses::Every { hours } => (begin, self.count_hours(begin, hours.get(), zone)?),
        };
        let end = [bounds_end, length_end, counted].into_iter().flatten().min();
        if end.is_some_and(|end| end < start) {
            return Err(self.problem("dayOfWeek", "no such day comes before the end"));
        }
        Ok(match &self.doses {
            Doses::At { times, days, .. } => {
                Timing::TimesOfDay { times: times.clone(), days: days.clone(), start, end }
            }
            Doses::Every { hours } => Timing::EveryHours { hours: *hours, start, first: self.first_time(zone), end },
        })
    }

    /// The first dose's local time: that of an explicit start, else the default.
    fn first_time(&self, zone: Tz) -> NaiveTime {
        // The moment at which the order was written is no time to take anything.
        self.bounds.start.and_then(|start| start.time(zone)).unwrap_or_else(first_dose)
    }

    fn too_late(&self) -> Problem {
        self.problem("count", "leads beyond the calendar")
    }

    fn count(&self) -> Result<Option<u32>, Problem> {
        match self.bounds.count {
            Some(count) if count > MOST_DOSES => Err(self.problem("count", "is more than 100000 doses")),
            count => Ok(count),
        }
    }

    /// The last day of `count` doses at so many times a day.
    fn count_days(&self, start: NaiveDate, times: usize, days: &Days) -> Result<Option<NaiveDate>, Problem> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        let count = u64::from(count);
        if count % times != 0 {
            return Err(self.problem("count", "ends in the middle of a day; a plan ends with a day"));
        }
        let after_first = count / times - 1;
        let last = match days {
            Days::Day => start.checked_add_days(Span::new(after_first)),
            Days::NthDay { n } => start.checked_add_days(Span::new(after_first * u64::from(n.get()))),
            Days::Weekdays { on } => start
                .iter_days()
                .filter(|day| on.contains(&day.weekday()))
                .nth(usize::try_from(after_first).unwrap_or(usize::MAX)),
        };
        last.map(Some).ok_or_else(|| self.too_late())
    }

    /// The last day of `count` doses every so many hours.
    fn count_hours(&self, start: NaiveDate, hours: u16, zone: Tz) -> Result<Option<NaiveDate>, Problem> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        let first = local(zone, start.and_time(self.first_time(zone))).ok_or_else(|| self.too_late())?;
        let day_after = |doses: u32| {
            let hours = i64::from(doses) * i64::from(hours);
            first.checked_add_signed(TimeDelta::try_hours(hours)?).map(|dose| dose.date_naive())
        };
        let last = day_after(count - 1).ok_or_else(|| self.too_late())?;
        let next = day_after(count).ok_or_else(|| self.too_late())?;
        if next == last {
            return Err(self.problem("count", "ends in the middle of a day; a plan ends with a day"));
        }
        Ok(Some(last))
    }
}

/// A local time as an instant: the first of two, and what follows a gap for one in it.
fn local(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Tz>> {
    let found = zone.from_local_datetime(&time).earliest();
    // Gaps are an hour almost everywhere; a day was skipped twice in history.
    found.or_else(|| zone.from_local_datetime(&time.checked_add_signed(TimeDelta::hours(1))?).earliest())
}

fn last_day(start: NaiveDate, length: Length) -> Option<NaiveDate> {
    let next = match length {
        Length::Days(days) => start.checked_add_days(Span::new(days)),
        Length::Months(months) => start.checked_add_months(Months::new(months)),
    };
    next?.pred_opt()
}

fn on_or_after(day: NaiveDate, weekday: chrono::Weekday) -> Option<NaiveDate> {
    let ahead = (7 + weekday.num_days_from_monday() - day.weekday().num_days_from_monday()) % 7;
    day.checked_add_days(Span::new(ahead.into()))
}
