//! From what an order says to the doses it means.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use chrono::{NaiveTime, Weekday};

use super::super::node::Node;
use super::super::problem::{Problem, quote};
use super::defaults::{event, times_a_day};
use super::repeat::{Repeat, Unit};
use crate::doses::timing::Days;

/// When doses fall, without first and last day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doses {
    /// At times of day on some days; counted from the first such weekday, if one is named.
    At { times: BTreeSet<NaiveTime>, days: Days, from: Option<Weekday> },
    /// Every so many hours.
    Every { hours: NonZeroU16 },
}

const DAY: u64 = 24 * 60;
const LONGEST_HOURS: u64 = 720;
const LONGEST_DAYS: u64 = 366;

/// The doses of one `Timing`, whose `repeat` and `code` are read.
pub(super) fn doses(timing: &Node<'_>, repeat: &Repeat) -> Result<Doses, Problem> {
    let code = Code::from_node(timing)?;
    if !repeat.has_pattern() {
        if let Some(filled) = code.filled(repeat) {
            return read(timing, &filled);
        }
        if let Code::Unknown(reason) = code {
            return Err(timing.problem_at("code", reason));
        }
        if repeat.weekdays.is_empty() {
            return Err(timing.problem("says neither how often nor when"));
        }
    }
    let doses = read(timing, repeat)?;
    // A code is a complete statement too, so the two must agree.
    if let Some(filled) = code.filled(repeat) {
        let stated = read(timing, &filled)?;
        if agrees(&doses, &stated, repeat) {
            return Ok(doses);
        }
        if times_of(&doses) == times_a_day(1).as_ref() && !filled.when.is_empty() && repeat.when.is_empty() {
            // "Once a day" and "in the evening": the code says when.
            return Ok(stated);
        }
        return Err(timing.problem_at("code", "says something else than repeat"));
    }
    Ok(doses)
}

fn times_of(doses: &Doses) -> Option<&BTreeSet<NaiveTime>> {
    match doses {
        Doses::At { times, .. } => Some(times),
        Doses::Every { .. } => None,
    }
}

fn agrees(doses: &Doses, stated: &Doses, repeat: &Repeat) -> bool {
    let explicit = !(repeat.times.is_empty() && repeat.when.is_empty());
    match (doses, stated) {
        (Doses::At { times, days, .. }, Doses::At { times: stated, days: stated_days, .. }) if explicit => {
            times.len() == stated.len() && days == stated_days
        }
        _ => doses == stated,
    }
}

/// `Timing.code`.
enum Code {
    None,
    Known(Repeat),
    Unknown(String),
}

impl Code {
    fn from_node(timing: &Node<'_>) -> Result<Self, Problem> {
        let Some(concept) = timing.object("code")? else {
            return Ok(Self::None);
        };
        let mut codes = Vec::new();
        for coding in concept.list("coding")? {
            codes.extend(coding.str("code")?);
        }
        codes.extend(concept.str("text")?);
        let known = codes.iter().find_map(|code| abbreviation(code.trim()));
        Ok(match (known, codes.first()) {
            (Some(repeat), _) => Self::Known(repeat),
            (None, Some(code)) => Self::Unknown(format!("{} is no timing code that is understood", quote(code))),
            (None, None) => Self::None,
        })
    }

    /// What the code says, on the weekdays of `repeat`.
    fn filled(&self, repeat: &Repeat) -> Option<Repeat> {
        let Self::Known(stated) = self else {
            return None;
        };
        Some(Repeat { weekdays: repeat.weekdays.clone(), ..stated.clone() })
    }
}

/// The abbreviations of `GTSAbbreviation` that have one exact reading.
fn abbreviation(code: &str) -> Option<Repeat> {
    let every = |frequency: u32, period: f64, unit: Unit| Repeat {
        frequency: Some(frequency),
        period: Some((period, unit)),
        ..Repeat::default()
    };
    let when = |event: &str| Repeat { when: vec![event.to_owned()], ..Repeat::default() };
    let code = code.to_ascii_uppercase();
    if let Some(hours) = code.strip_prefix('Q').and_then(|rest| rest.strip_suffix('H')) {
        let hours = hours.parse::<u8>().ok().filter(|hours| (1..=72).contains(hours))?;
        return Some(every(1, hours.into(), Unit::Clock(3600)));
    }
    Some(match code.as_str() {
        "QD" => every(1, 1.0, Unit::Days(1)),
        "BID" => every(2, 1.0, Unit::Days(1)),
        "TID" => every(3, 1.0, Unit::Days(1)),
        "QID" => every(4, 1.0, Unit::Days(1)),
        "QOD" => every(1, 2.0, Unit::Days(1)),
        "WK" => every(1, 1.0, Unit::Days(7)),
        "AM" => when("MORN"),
        "PM" => when("EVE"),
        "BED" => when("HS"),
        _ => return None,
    })
}

fn read(timing: &Node<'_>, repeat: &Repeat) -> Result<Doses, Problem> {
    let reader = Pattern { timing, repeat };
    let times = reader.explicit_times()?;
    if times.is_empty() { reader.by_frequency() } else { reader.at(times) }
}

struct Pattern<'a> {
    timing: &'a Node<'a>,
    repeat: &'a Repeat,
}

impl Pattern<'_> {
    fn problem(&self, field: &str, reason: impl Into<String>) -> Problem {
        self.timing.problem_at(&format!("repeat.{field}"), reason)
    }

    /// The times that `timeOfDay` or `when` name; empty where neither does.
    fn explicit_times(&self) -> Result<BTreeSet<NaiveTime>, Problem> {
        let mut times: BTreeSet<NaiveTime> = self.repeat.times.iter().copied().collect();
        for (at, code) in self.repeat.when.iter().enumerate() {
            let field = format!("when[{at}]");
            let event =
                event(code).ok_or_else(|| self.problem(&field, format!("{} has no time of day", quote(code))))?;
            let frequency = self.repeat.frequency.filter(|_| self.is_daily());
            let named = event
                .times(frequency, self.repeat.offset)
                .ok_or_else(|| self.problem(&field, "with this offset and frequency leaves the day or the meals"))?;
            for time in named {
                if !times.insert(time) {
                    return Err(self.problem(&field, "falls on the same time as another code"));
                }
            }
        }
        Ok(times)
    }

    fn is_daily(&self) -> bool {
        self.minutes_of_period().is_none_or(|minutes| minutes == DAY)
    }

    fn minutes_of_period(&self) -> Option<u64> {
        self.repeat.period.and_then(|(value, unit)| unit.minutes(value))
    }

    /// Length of the period in minutes; a day where none is said.
    fn cycle(&self) -> Result<u64, Problem> {
        match self.repeat.period {
            None => Ok(DAY),
            Some((_, Unit::Months(_))) => {
                Err(self.problem("periodUnit", "months and years differ in length; say it in days or weeks"))
            }
            Some((value, unit)) => {
                unit.minutes(value).ok_or_else(|| self.problem("period", "comes to no whole number of minutes"))
            }
        }
    }

    /// Doses at times that are named.
    fn at(&self, times: BTreeSet<NaiveTime>) -> Result<Doses, Problem> {
        let cycle = self.cycle()?;
        if cycle % DAY != 0 {
            return Err(self.problem("period", "is no whole number of days, but times of day are named"));
        }
        let named = times.len();
        let weekly = cycle == 7 * DAY && !self.repeat.weekdays.is_empty();
        let in_period = if weekly { named * self.repeat.weekdays.len() } else { named };
        if let Some(frequency) = self.repeat.frequency
            && frequency as usize != in_period
        {
            return Err(
                self.problem("frequency", format!("says {frequency}, but {in_period} doses are named in the period"))
            );
        }
        let (days, from) = self.days(cycle / DAY, weekly)?;
        Ok(Doses::At { times, days, from })
    }

    /// Doses of which only the number is known.
    fn by_frequency(&self) -> Result<Doses, Problem> {
        if self.repeat.period.is_none() && self.repeat.frequency.is_some() {
            return Err(self.problem("period", "is missing beside frequency"));
        }
        let frequency = u64::from(self.repeat.frequency.unwrap_or(1));
        let cycle = self.cycle()?;
        let clock = matches!(self.repeat.period, Some((_, Unit::Clock(_))));
        if clock && !(frequency > 1 && cycle % DAY == 0) {
            return self.every(cycle, frequency);
        }
        let weekdays = self.repeat.weekdays.len() as u64;
        if weekdays > 0 && cycle == 7 * DAY {
            if frequency % weekdays != 0 {
                return Err(self.problem("frequency", "does not spread evenly over the days of dayOfWeek"));
            }
            return self.daily(frequency / weekdays, true);
        }
        if (frequency * DAY).is_multiple_of(cycle) && (cycle == DAY || weekdays == 0) {
            return self.daily(frequency * DAY / cycle, false);
        }
        if frequency > 1 || cycle % DAY != 0 {
            return Err(
                self.problem("frequency", "does not come to the same number of doses each day; name the days or times")
            );
        }
        let (days, from) = self.days(cycle / DAY, false)?;
        let times = times_a_day(1).unwrap_or_default();
        Ok(Doses::At { times, days, from })
    }

    fn daily(&self, doses: u64, weekly: bool) -> Result<Doses, Problem> {
        let times = u32::try_from(doses).ok().and_then(times_a_day);
        let times = times.ok_or_else(|| self.problem("frequency", "comes to more than 24 doses a day"))?;
        let (days, from) = self.days(1, weekly)?;
        Ok(Doses::At { times, days, from })
    }

    fn every(&self, cycle: u64, frequency: u64) -> Result<Doses, Problem> {
        if !self.repeat.weekdays.is_empty() {
            return Err(self.problem("dayOfWeek", "cannot stand beside a period of hours"));
        }
        let hours = cycle.is_multiple_of(frequency * 60).then_some(cycle / (frequency * 60));
        let hours = hours.filter(|hours| *hours <= LONGEST_HOURS).and_then(|hours| u16::try_from(hours).ok());
        let hours = hours.and_then(NonZeroU16::new);
        let hours = hours.ok_or_else(|| self.problem("period", "comes to no whole number of hours from 1 to 720"))?;
        Ok(Doses::Every { hours })
    }

    /// The days of a cycle of `n` days; of each week, if `weekly`.
    fn days(&self, n: u64, weekly: bool) -> Result<(Days, Option<Weekday>), Problem> {
        let on = &self.repeat.weekdays;
        match (on.as_slice(), n) {
            ([], 1) => Ok((Days::Day, None)),
            ([], _) => Ok((self.nth_day(n)?, None)),
            _ if on.len() == 7 && (n == 1 || weekly) => Ok((Days::Day, None)),
            (_, 1) => Ok((Days::Weekdays { on: on.clone() }, None)),
            _ if weekly => Ok((Days::Weekdays { on: on.clone() }, None)),
            ([one], _) if n.is_multiple_of(7) => Ok((self.nth_day(n)?, Some(*one))),
            _ => Err(self.problem("dayOfWeek", "does not fit the period")),
        }
    }

    fn nth_day(&self, n: u64) -> Result<Days, Problem> {
        let n = Some(n).filter(|n| *n <= LONGEST_DAYS).and_then(|n| u16::try_from(n).ok());
        let n = n.and_then(NonZeroU16::new);
        Ok(Days::NthDay { n: n.ok_or_else(|| self.problem("period", "is longer than 366 days"))? })
    }
}
