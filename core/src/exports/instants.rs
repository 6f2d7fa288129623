//! Instants in the zone of an export, written fast.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// Instants, shown in one zone.
#[derive(Clone, Debug)]
pub(super) struct Instants {
    zone: Tz,
    text: String,
}

impl Instants {
    pub(super) fn new(zone: Tz) -> Self {
        Self { zone, text: String::with_capacity(32) }
    }

    /// The wall clock there, and how many seconds it is ahead of UTC.
    pub(super) fn local(&self, at: DateTime<Utc>) -> (NaiveDateTime, i32) {
        let utc = at.naive_utc();
        let ahead = self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        (utc + chrono::TimeDelta::seconds(ahead.into()), ahead)
    }

    /// As in `2026-03-29T03:30:00+02:00`, to the second.
    pub(super) fn iso(&mut self, at: DateTime<Utc>) -> &str {
        let (local, ahead) = self.local(at);
        self.text.clear();
        push_date(&mut self.text, local.date());
        for (mark, number) in [('T', local.hour()), (':', local.minute()), (':', local.second())] {
            self.text.push(mark);
            push_two(&mut self.text, number);
        }
        self.text.push(if ahead < 0 { '-' } else { '+' });
        push_two(&mut self.text, ahead.unsigned_abs() / 3600);
        self.text.push(':');
        push_two(&mut self.text, ahead.unsigned_abs() / 60 % 60);
        &self.text
    }

    /// As in `2026-03-29 03:30`, for people.
    pub(super) fn short(&mut self, at: DateTime<Utc>) -> &str {
        let (local, _) = self.local(at);
        self.text.clear();
        push_date(&mut self.text, local.date());
        for (mark, number) in [(' ', local.hour()), (':', local.minute())] {
            self.text.push(mark);
            push_two(&mut self.text, number);
        }
        &self.text
    }

    /// As in `2026-03-29`.
    pub(super) fn day(&mut self, day: NaiveDate) -> &str {
        self.text.clear();
        push_date(&mut self.text, day);
        &self.text
    }
}

fn push_date(text: &mut String, day: NaiveDate) {
    let year = day.year();
    if (0..=9999).contains(&year) {
        let year = year.unsigned_abs();
        push_two(text, year / 100);
        push_two(text, year % 100);
    } else {
        text.push_str(&format!("{year:+}"));
    }
    for number in [day.month(), day.day()] {
        text.push('-');
        push_two(text, number);
    }
}

fn push_two(text: &mut String, number: u32) {
    for digit in [number / 10 % 10, number % 10] {
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_its_offset() {
        let mut berlin = Instants::new(chrono_tz::Europe::Berlin);
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        assert_eq!(berlin.iso(at("2026-10-25T00:30:00Z")), "2026-10-25T02:30:00+02:00");
        assert_eq!(berlin.iso(at("2026-10-25T01:30:00Z")), "2026-10-25T02:30:00+01:00");
        let mut kathmandu = Instants::new(chrono_tz::Asia::Kathmandu);
        assert_eq!(kathmandu.iso(at("2026-01-01T00:00:00Z")), "2026-01-01T05:45:00+05:45");
        let mut chatham = Instants::new(chrono_tz::America::St_Johns);
        assert_eq!(chatham.iso(at("2026-01-01T00:00:00Z")), "2025-12-31T20:30:00-03:30");
    }

    proptest! {
        #[test]
        fn it_says_what_chrono_says(seconds in -5_000_000_000_i64..250_000_000_000, zone in 0..chrono_tz::TZ_VARIANTS.len()) {
            let (at, zone) = (DateTime::from_timestamp(seconds, 0).expect("in range"), chrono_tz::TZ_VARIANTS[zone]);
            let there = at.with_timezone(&zone);
            // Offsets with seconds are older than 1972 and have no form in ISO 8601.
            prop_assume!(there.offset().fix().local_minus_utc() % 60 == 0);
            let mut instants = Instants::new(zone);
            prop_assert_eq!(instants.iso(at), there.to_rfc3339());
        }
    }
}
