//! When a clinic is open, by its own clock.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc, Weekday};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Zone;
use crate::time::local::resolve;

/// The days of a week, as their hours are named.
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// A minute of a day, 00:00 to 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DayMinute(u16);

/// A text that is no minute of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of day as in 08:00, 24:00 at the latest")]
pub struct NoMinute;

impl DayMinute {
    /// So many minutes after midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }

    /// The instant at which clocks in the zone show this on a day; 24:00 is midnight of the next.
    fn on(self, day: NaiveDate, zone: Zone) -> Option<DateTime<Utc>> {
        let (day, minute) = if self.0 == DAY { (day.succ_opt()?, 0) } else { (day, self.0) };
        let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(minute) * 60, 0)?;
        Some(resolve(zone, day.and_time(time)))
    }
}

impl FromStr for DayMinute {
    type Err = NoMinute;

    fn from_str(text: &str) -> Result<Self, NoMinute> {
        let two = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then_some(part)?.parse::<u16>().ok();
        let (hour, minute) = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or(NoMinute)?;
        let (hour, minute) = (two(hour).ok_or(NoMinute)?, two(minute).ok_or(NoMinute)?);
        let all = hour * 60 + minute;
        if minute < 60 && all <= DAY { Ok(Self(all)) } else { Err(NoMinute) }
    }
}

impl fmt::Display for DayMinute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TryFrom<String> for DayMinute {
    type Error = NoMinute;

    fn try_from(text: String) -> Result<Self, NoMinute> {
        text.parse()
    }
}

impl From<DayMinute> for String {
    fn from(minute: DayMinute) -> Self {
        minute.to_string()
    }
}

/// A span of a day in which a clinic is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Span {
    /// From.
    #[schema(value_type = String)]
    pub opens: DayMinute,
    /// Until.
    #[schema(value_type = String)]
    pub closes: DayMinute,
}

/// When a clinic is open, day by day: spans one after another that do not touch. None: closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpeningHours {
    /// Mondays.
    pub mon: Vec<Span>,
    /// Tuesdays.
    pub tue: Vec<Span>,
    /// Wednesdays.
    pub wed: Vec<Span>,
    /// Thursdays.
    pub thu: Vec<Span>,
    /// Fridays.
    pub fri: Vec<Span>,
    /// Saturdays.
    pub sat: Vec<Span>,
    /// Sundays.
    pub sun: Vec<Span>,
}

impl OpeningHours {
    /// The spans of each day, in the order of [`WEEKDAYS`].
    pub fn days_mut(&mut self) -> [&mut Vec<Span>; 7] {
        [&mut self.mon, &mut self.tue, &mut self.wed, &mut self.thu, &mut self.fri, &mut self.sat, &mut self.sun]
    }

    fn of(&self, day: Weekday) -> &[Span] {
        match day {
            Weekday::Mon => &self.mon,
            Weekday::Tue => &self.tue,
            Weekday::Wed => &self.wed,
            Weekday::Thu => &self.thu,
            Weekday::Fri => &self.fri,
            Weekday::Sat => &self.sat,
            Weekday::Sun => &self.sun,
        }
    }
}

/// A day on which a clinic is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holiday {
    /// The day.
    pub day: NaiveDate,
    /// What is celebrated.
    pub name: String,
}

/// All that says when a clinic is open.
#[derive(Clone, Debug)]
pub struct Hours {
    /// The zone of its clock.
    pub zone: Zone,
    /// Its week.
    pub opening: OpeningHours,
    /// The days on which that does not hold.
    pub holidays: Vec<Holiday>,
}

impl Hours {
    /// The spans in which it is open on a day.
    pub fn of_day(&self, day: NaiveDate) -> &[Span] {
        if self.holidays.iter().any(|holiday| holiday.day == day) { &[] } else { self.opening.of(day.weekday()) }
    }

    /// The instants of a span of a day.
    pub fn instants(&self, day: NaiveDate, span: Span) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        Some((span.opens.on(day, self.zone)?, span.closes.on(day, self.zone)?))
    }

    /// Whether it is open all the time from one instant until another.
    pub fn are_open(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        let mut at = from;
        // No visit is longer than a day: it lies on two days at most, and spans touch at midnight only.
        for _ in 0..3 {
            match self.open_until(at) {
                Some(end) if end >= until => return true,
                Some(end) => at = end,
                None => return false,
            }
        }
        false
    }

    fn open_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let day = self.zone.local(at).date();
        let spans = self.of_day(day).iter().filter_map(|span| self.instants(day, *span));
        spans.into_iter().find(|(opens, closes)| (*opens..*closes).contains(&at)).map(|(_, closes)| closes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(opens: &str, closes: &str) -> Span {
        Span { opens: opens.parse().expect("a time"), closes: closes.parse().expect("a time") }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_clinic_is_open_within_one_span_on_days_that_are_no_holidays() {
        let opening =
            OpeningHours { mon: vec![span("08:00", "12:00"), span("13:00", "18:00")], ..OpeningHours::default() };
        let holidays = vec![Holiday { day: "2026-12-07".parse().expect("a day"), name: "Founder's day".into() }];
        let hours = Hours { zone: "Europe/Berlin".parse().expect("a zone"), opening, holidays };
        for (from, until, open) in [
            ("2026-11-30T07:00:00Z", "2026-11-30T07:30:00Z", true),
            ("2026-11-30T06:59:00Z", "2026-11-30T07:30:00Z", false),
            ("2026-11-30T10:30:00Z", "2026-11-30T11:00:00Z", true),
            ("2026-11-30T10:30:00Z", "2026-11-30T11:01:00Z", false),
            ("2026-11-30T10:45:00Z", "2026-11-30T12:15:00Z", false), // over lunch
            ("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z", false), // a Tuesday
            ("2026-12-07T09:00:00Z", "2026-12-07T09:30:00Z", false), // a holiday
        ] {
            assert_eq!(hours.are_open(at(from), at(until)), open, "{from}");
        }
    }

    #[test]
    fn who_is_open_day_and_night_is_open_over_midnight_and_over_a_change_of_clocks() {
        let all = || vec![span("00:00", "24:00")];
        let opening =
            OpeningHours { mon: all(), tue: all(), wed: all(), thu: all(), fri: all(), sat: all(), sun: all() };
        let mut hours = Hours { zone: "Europe/Berlin".parse().expect("a zone"), opening, holidays: Vec::new() };
        assert!(hours.are_open(at("2026-11-30T22:45:00Z"), at("2026-11-30T23:15:00Z")));
        assert!(hours.are_open(at("2026-10-24T22:00:00Z"), at("2026-10-25T22:00:00Z")), "a day of 25 hours");
        hours.holidays.push(Holiday { day: "2026-12-01".parse().expect("a day"), name: "Closed".into() });
        assert!(!hours.are_open(at("2026-11-30T22:45:00Z"), at("2026-11-30T23:15:00Z")));
    }

    #[test]
    fn minutes_of_a_day_are_read_strictly() {
        for good in ["00:00", "08:05", "23:59", "24:00"] {
            assert_eq!(good.parse::<DayMinute>().map(|minute| minute.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "8:00", "24:01", "12:60", "08:00:00", "+8:00", "０８:00", "08.00"] {
            assert_eq!(bad.parse::<DayMinute>(), Err(NoMinute), "{bad}");
        }
    }
}
