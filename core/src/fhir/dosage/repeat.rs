//! `Timing.repeat` as it is written, with its invariants checked.

use chrono::{NaiveTime, Weekday};

use super::super::moment::{Moment, Stated, moment, time_of_day};
use super::super::node::Node;
use super::super::problem::{Problem, quote};

/// How a period is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds, minutes, hours: this many seconds each.
    Clock(u32),
    /// Days, or weeks: this many days each.
    Days(u32),
    /// Months, or years: this many months each.
    Months(u32),
}

impl Unit {
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "s" => Self::Clock(1),
            "min" => Self::Clock(60),
            "h" => Self::Clock(3600),
            "d" => Self::Days(1),
            "wk" => Self::Days(7),
            "mo" => Self::Months(1),
            "a" => Self::Months(12),
            _ => return None,
        })
    }

    /// So many of the unit in whole minutes; none if that is not exact.
    pub fn minutes(self, value: f64) -> Option<u64> {
        let seconds = match self {
            Self::Clock(seconds) => f64::from(seconds),
            Self::Days(days) => f64::from(days) * 86_400.0,
            Self::Months(_) => return None,
        };
        whole(value * seconds / 60.0)
    }
}

/// A number that is whole but for rounding of decimals, up to a billion.
pub(super) fn whole(value: f64) -> Option<u64> {
    let rounded = value.round();
    let fits = (value - rounded).abs() < 1e-6 && (1.0..=1e9).contains(&rounded);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and between 1 and a billion"
    )]
    fits.then_some(rounded as u64)
}

/// Length of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Days(u64),
    Months(u32),
}

/// From when to when, or how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    pub length: Option<Length>,
    pub count: Option<u32>,
}

/// The fields of `Timing.repeat` that matter for reminders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Repeat {
    pub frequency: Option<u32>,
    pub period: Option<(f64, Unit)>,
    pub times: Vec<NaiveTime>,
    pub weekdays: Vec<Weekday>,
    pub when: Vec<String>,
    pub offset: Option<u32>,
    pub bounds: Bounds,
}

impl Repeat {
    pub fn from_node(node: &Node<'_>) -> Result<Self, Problem> {
        ranges(node)?;
        let mut repeat = Self {
            frequency: node.positive("frequency")?,
            period: period(node)?,
            bounds: bounds(node)?,
            ..Self::default()
        };
        for item in node.list("timeOfDay")? {
            let time = time_of_day(&item)?;
            if repeat.times.contains(&time) {
                return Err(item.problem("names a time of day a second time"));
            }
            repeat.times.push(time);
        }
        for item in node.list("dayOfWeek")? {
            let day =
                weekday(item.text()?).ok_or_else(|| item.problem("must be mon, tue, wed, thu, fri, sat or sun"))?;
            if !repeat.weekdays.contains(&day) {
                repeat.weekdays.push(day);
            }
        }
        repeat.weekdays.sort_by_key(Weekday::num_days_from_monday);
        for item in node.list("when")? {
            repeat.when.push(item.text()?.to_owned());
        }
        repeat.offset = node.unsigned("offset")?;
        invariants(node, &repeat)?;
        Ok(repeat)
    }

    /// Whether it says how often or when in the day.
    pub fn has_pattern(&self) -> bool {
        self.frequency.is_some() || self.period.is_some() || !self.times.is_empty() || !self.when.is_empty()
    }
}

/// tim-9 and tim-10 of the specification; tim-2 and the like are checked where the fields are read.
fn invariants(node: &Node<'_>, repeat: &Repeat) -> Result<(), Problem> {
    if !repeat.times.is_empty() && !repeat.when.is_empty() {
        return Err(node.problem_at("when", "cannot stand beside timeOfDay"));
    }
    if repeat.offset.is_some() {
        if repeat.when.is_empty() {
            return Err(node.problem_at("offset", "needs a field when that it counts from"));
        }
        if repeat.when.iter().any(|code| ["C", "CM", "CD", "CV"].contains(&code.as_str())) {
            return Err(node.problem_at("offset", "cannot stand beside a dose at a meal (C, CM, CD, CV)"));
        }
    }
    Ok(())
}

/// Refuses what allows more than one reading: a reminder needs one.
fn ranges(node: &Node<'_>) -> Result<(), Problem> {
    node.refuse_modifiers()?;
    for field in ["frequencyMax", "periodMax", "countMax", "boundsRange"] {
        if node.has(field) {
            return Err(node.problem_at(field, "gives a range; reminders need one exact rule"));
        }
    }
    node.one_of(&["boundsDuration", "boundsPeriod"])
}

fn period(node: &Node<'_>) -> Result<Option<(f64, Unit)>, Problem> {
    let value = node.decimal("period")?;
    let Some(code) = node.str("periodUnit")? else {
        return match value {
            None => Ok(None),
            Some(_) => Err(node.problem_at("periodUnit", "is missing beside period")),
        };
    };
    let unit = Unit::parse(code).ok_or_else(|| {
        node.problem_at("periodUnit", format!("{} is no unit; it must be s, min, h, d, wk, mo or a", quote(code)))
    })?;
    match value {
        Some(value) => Ok(Some((value, unit))),
        None => Err(node.problem_at("period", "is missing beside periodUnit")),
    }
}

fn bounds(node: &Node<'_>) -> Result<Bounds, Problem> {
    let mut bounds = Bounds { count: node.positive("count")?, ..Bounds::default() };
    if let Some(period) = node.object("boundsPeriod")? {
        for (field, place) in [("start", &mut bounds.start), ("end", &mut bounds.end)] {
            *place = match moment(&period, field)? {
                None => None,
                Some(Stated::Moment(moment)) => Some(moment),
                Some(Stated::Coarse) => return Err(period.problem_at(field, "names no day")),
            };
        }
    }
    if let Some(duration) = node.object("boundsDuration")? {
        bounds.length = Some(length(&duration)?);
    }
    Ok(bounds)
}

fn length(duration: &Node<'_>) -> Result<Length, Problem> {
    if duration.has("comparator") {
        return Err(duration.problem_at("comparator", "leaves the length open; reminders need one exact rule"));
    }
    let value = duration.decimal("value")?.ok_or_else(|| duration.problem_at("value", "is missing"))?;
    let code = match duration.str("code")? {
        Some(code) => code,
        None => duration.str("unit")?.ok_or_else(|| duration.problem_at("code", "is missing"))?,
    };
    let unit = Unit::parse(code).or(match code {
        "day" | "days" => Some(Unit::Days(1)),
        "week" | "weeks" => Some(Unit::Days(7)),
        "month" | "months" => Some(Unit::Months(1)),
        "year" | "years" => Some(Unit::Months(12)),
        _ => None,
    });
    let length = match unit {
        None => None,
        Some(Unit::Months(months)) => {
            whole(value).and_then(|n| u32::try_from(n).ok()?.checked_mul(months)).map(Length::Months)
        }
        Some(unit) => {
            unit.minutes(value).filter(|minutes| minutes % 1440 == 0).map(|minutes| Length::Days(minutes / 1440))
        }
    };
    length.ok_or_else(|| duration.problem("must be whole days, weeks, months or years (d, wk, mo, a)"))
}

fn weekday(code: &str) -> Option<Weekday> {
    Some(match code {
        "mon" => Weekday::Mon,
        "tue" => Weekday::Tue,
        "wed" => Weekday::Wed,
        "thu" => Weekday::Thu,
        "fri" => Weekday::Fri,
        "sat" => Weekday::Sat,
        "sun" => Weekday::Sun,
        _ => return None,
    })
}
