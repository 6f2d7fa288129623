//! FHIR dates and times: `date`, `dateTime`, `instant`, `time`.

use chrono::{DateTime, NaiveDate, NaiveTime, Timelike, Utc};
use chrono_tz::Tz;

use super::node::Node;
use super::problem::Problem;

/// A `dateTime` that names at least a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A day, wherever one is.
    Day(NaiveDate),
    /// An instant; which local day that is depends on the zone.
    Instant(DateTime<Utc>),
}

impl Moment {
    /// The local day in a zone.
    #[must_use]
    pub fn day(self, zone: Tz) -> NaiveDate {
        match self {
            Self::Day(day) => day,
            Self::Instant(instant) => instant.with_timezone(&zone).date_naive(),
        }
    }

    /// The local time to the minute, if one is named.
    #[must_use]
    pub fn time(self, zone: Tz) -> Option<NaiveTime> {
        match self {
            Self::Day(_) => None,
            Self::Instant(instant) => {
                let time = instant.with_timezone(&zone).time();
                NaiveTime::from_hms_opt(time.hour(), time.minute(), 0)
            }
        }
    }
}

/// What a `date` or `dateTime` says.
pub(super) enum Stated {
    Moment(Moment),
    /// Only a year, or a year and month.
    Coarse,
}

/// Reads a field that is a `dateTime` (or `date`).
pub(super) fn moment(node: &Node<'_>, field: &str) -> Result<Option<Stated>, Problem> {
    let Some(text) = node.str(field)? else {
        return Ok(None);
    };
    stated(text)
        .map(Some)
        .ok_or_else(|| node.problem_at(field, "must be a date, or a date and time with its offset from UTC"))
}

fn stated(text: &str) -> Option<Stated> {
    if text.contains('T') {
        // RFC 3339 would also take a space or small letters; FHIR does not.
        let instant = DateTime::parse_from_rfc3339(text).ok()?;
        return Some(Stated::Moment(Moment::Instant(instant.with_timezone(&Utc))));
    }
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [year] if digits(year, 4) => Some(Stated::Coarse),
        [year, month] if digits(year, 4) && digits(month, 2) => {
            (1..=12).contains(&month.parse::<u8>().ok()?).then_some(Stated::Coarse)
        }
        [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => {
            let day = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
            Some(Stated::Moment(Moment::Day(day)))
        }
        _ => None,
    }
}

/// Reads a field that is an `instant`.
pub(super) fn instant(node: &Node<'_>, field: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    match moment(node, field)? {
        None => Ok(None),
        Some(Stated::Moment(Moment::Instant(instant))) => Ok(Some(instant)),
        Some(_) => Err(node.problem_at(field, "must be a date and time with its offset from UTC")),
    }
}

/// Reads a `time`: `08:00:00`; seconds may be missing, since nothing else can be meant.
pub(super) fn time_of_day(node: &Node<'_>) -> Result<NaiveTime, Problem> {
    let text = node.text()?;
    let colons = text.len() >= 5 && text.as_bytes().get(2) == Some(&b':');
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    match time {
        Ok(time) if colons && time.second() == 0 && time.nanosecond() == 0 => Ok(time),
        Ok(_) if colons => Err(node.problem("is not on the full minute")),
        _ => Err(node.problem("must be a time of day such as 08:00:00")),
    }
}
