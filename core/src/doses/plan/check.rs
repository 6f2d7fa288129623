//! What can be wrong with a timing, field by field.

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike};

use super::pattern::Pattern;
use crate::doses::timing::{Days, TimeMeaning, Timing};

/// The longest interval between two doses of an elapsed plan: 30 days.
pub const MAX_HOURS: u16 = 720;

/// The most days between two days with doses.
pub const MAX_DAYS: u16 = 366;

/// Years in which a plan may start or end.
pub const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// Something wrong with one field of what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field, as it is called in JSON (`days.on` for a nested one).
    pub field: &'static str,
    /// What is wrong, as a sentence for people.
    pub message: String,
}

impl std::fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl FieldProblem {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }

    /// For a minimum interval that cannot be kept by doses `gap` apart.
    pub(super) fn min_interval(given: TimeDelta, gap: TimeDelta) -> Self {
        if given < TimeDelta::zero() {
            return Self::new("min_interval", "must not be negative");
        }
        let message = format!("is {}, but the times are only {} apart", in_words(given), in_words(gap));
        Self::new("min_interval", message)
    }
}

/// The shortest time between two doses by the timing itself, changes of clocks aside; `None` when it plans no doses.
pub fn nominal_min_gap(timing: &Timing) -> Option<TimeDelta> {
    Pattern::nominal_gap(timing).map(TimeDelta::seconds)
}

/// Checks a timing together with the least time between two doses (zero when there is none).
///
/// # Errors
///
/// Everything that is wrong, not only the first.
pub fn validate(timing: &Timing, min_interval: TimeDelta) -> Result<(), Vec<FieldProblem>> {
    let mut problems = Vec::new();
    match timing {
        Timing::AsNeeded => {}
        Timing::TimesOfDay { times, days, start, end } => {
            if times.is_empty() {
                problems.push(FieldProblem::new("times", "at least one time is needed"));
            }
            if !times.iter().all(is_whole_minute) {
                problems.push(FieldProblem::new("times", "must be whole minutes"));
            }
            check_days(days, &mut problems);
            check_dates(*start, *end, &mut problems);
        }
        Timing::EveryHours { hours, start, first, end } => {
            if hours.get() > MAX_HOURS {
                problems.push(FieldProblem::new("hours", format!("must be 1 to {MAX_HOURS}, not {hours}")));
            }
            if !is_whole_minute(first) {
                problems.push(FieldProblem::new("first", "must be a whole minute"));
            }
            check_dates(*start, *end, &mut problems);
        }
    }
    let gap = nominal_min_gap(timing).unwrap_or(TimeDelta::MAX);
    if min_interval < TimeDelta::zero() || whole_seconds(min_interval) > whole_seconds(gap) {
        problems.push(FieldProblem::min_interval(min_interval, gap));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// [`validate`], and whether the timing can have the meaning that it is given.
///
/// # Errors
///
/// Everything that is wrong, not only the first.
pub fn validate_rule(timing: &Timing, meaning: TimeMeaning, min_interval: TimeDelta) -> Result<(), Vec<FieldProblem>> {
    let mut problems = validate(timing, min_interval).err().unwrap_or_default();
    if matches!(timing, Timing::TimesOfDay { .. }) && meaning == TimeMeaning::Elapsed {
        let message = "times of day are on the wall clock; give an interval in hours for elapsed time";
        problems.push(FieldProblem::new("meaning", message));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn check_days(days: &Days, problems: &mut Vec<FieldProblem>) {
    match days {
        Days::Day => {}
        Days::Weekdays { on } if on.is_empty() => {
            problems.push(FieldProblem::new("days.on", "at least one weekday is needed"));
        }
        Days::Weekdays { on } => {
            let named = on.iter().fold(0_u8, |named, day| named | 1 << day.num_days_from_monday());
            if usize::try_from(named.count_ones()) != Ok(on.len()) {
                problems.push(FieldProblem::new("days.on", "a weekday is named twice"));
            }
        }
        Days::NthDay { n } if n.get() > MAX_DAYS => {
            problems.push(FieldProblem::new("days.n", format!("must be 1 to {MAX_DAYS}, not {n}")));
        }
        Days::NthDay { .. } => {}
    }
}

fn check_dates(start: NaiveDate, end: Option<NaiveDate>, problems: &mut Vec<FieldProblem>) {
    let years = format!("must be in the years {} to {}", YEARS.start(), YEARS.end());
    if !YEARS.contains(&start.year()) {
        problems.push(FieldProblem::new("start", years.clone()));
    }
    if let Some(end) = end {
        if end < start {
            problems.push(FieldProblem::new("end", format!("{end} is before the start, {start}")));
        } else if !YEARS.contains(&end.year()) {
            problems.push(FieldProblem::new("end", years));
        }
    }
}

fn is_whole_minute(time: &NaiveTime) -> bool {
    time.second() == 0 && time.nanosecond() == 0
}

/// A duration in seconds, fractions rounded up.
pub(super) fn whole_seconds(duration: TimeDelta) -> i64 {
    duration.num_seconds().saturating_add(i64::from(duration.subsec_nanos() > 0))
}

fn in_words(duration: TimeDelta) -> String {
    let (hours, minutes) = (duration.num_hours(), duration.num_minutes() % 60);
    match (hours, minutes) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
