//! How a moment is written to a person: one formatter for subject, text, HTML and pages, so that
//! they can never disagree.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, Datelike, Offset, Timelike, Utc};
use chrono_tz::Tz;

/// A language and region that messages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locale {
    /// English, dates as "Monday 23 November 2026", 24-hour clock.
    #[default]
    En,
}

impl Locale {
    /// The language tag (BCP 47) for `lang`.
    #[must_use]
    pub fn lang(self) -> &'static str {
        match self {
            Self::En => "en",
        }
    }

    /// The direction of writing for `dir`: `ltr` or `rtl`.
    #[must_use]
    pub fn dir(self) -> &'static str {
        match self {
            Self::En => "ltr",
        }
    }

    fn weekday(self, moment: &DateTime<Tz>) -> &'static str {
        const EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        match self {
            Self::En => EN[moment.weekday().num_days_from_monday() as usize],
        }
    }

    fn month(self, moment: &DateTime<Tz>) -> &'static str {
        const EN: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        match self {
            Self::En => EN[moment.month0() as usize],
        }
    }
}

/// An instant as the recipient's clock on the wall shows it.
///
/// Displayed with weekday, zone and offset, e.g.
/// `Monday 23 November 2026, 08:00 (Europe/Berlin, UTC+01:00)`.
#[derive(Debug, Clone, Copy)]
pub struct LocalMoment {
    moment: DateTime<Tz>,
    locale: Locale,
}

impl LocalMoment {
    /// `instant` as seen in `zone`, written for `locale`.
    #[must_use]
    pub fn new(instant: DateTime<Utc>, zone: Tz, locale: Locale) -> Self {
        Self { moment: instant.with_timezone(&zone), locale }
    }
}

impl Display for LocalMoment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let offset = self.moment.offset().fix().local_minus_utc();
        let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
        write!(
            f,
            "{} {} {} {}, {:02}:{:02} ({}, UTC{sign}{:02}:{:02})",
            self.locale.weekday(&self.moment),
            self.moment.day(),
            self.locale.month(&self.moment),
            self.moment.year(),
            self.moment.hour(),
            self.moment.minute(),
            self.moment.timezone().name(),
            offset / 3600,
            offset / 60 % 60,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(instant: &str, zone: Tz) -> String {
        let instant = instant.parse::<DateTime<Utc>>().expect("instant");
        LocalMoment::new(instant, zone, Locale::En).to_string()
    }

    #[test]
    fn moment_is_shown_on_the_wall_clock_with_zone_and_offset() {
        assert_eq!(
            shown("2026-11-23T07:00:00Z", chrono_tz::Europe::Berlin),
            "Monday 23 November 2026, 08:00 (Europe/Berlin, UTC+01:00)"
        );
        assert_eq!(
            shown("2026-07-05T02:30:00Z", chrono_tz::America::St_Johns),
            "Sunday 5 July 2026, 00:00 (America/St_Johns, UTC-02:30)"
        );
        assert_eq!(
            shown("2026-12-31T18:15:00Z", chrono_tz::Asia::Kathmandu),
            "Friday 1 January 2027, 00:00 (Asia/Kathmandu, UTC+05:45)"
        );
    }

    #[test]
    fn both_passes_through_the_autumn_fold_differ_by_their_offset() {
        let first = shown("2026-10-25T00:30:00Z", chrono_tz::Europe::Berlin);
        let second = shown("2026-10-25T01:30:00Z", chrono_tz::Europe::Berlin);
        assert_eq!(first, "Sunday 25 October 2026, 02:30 (Europe/Berlin, UTC+02:00)");
        assert_eq!(second, "Sunday 25 October 2026, 02:30 (Europe/Berlin, UTC+01:00)");
    }
}
