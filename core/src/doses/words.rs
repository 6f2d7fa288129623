//! A timing, said in words.

use std::fmt;

use super::timing::{Days, Timing};

impl fmt::Display for Timing {
    /// As in "every day at 08:00 and 20:00".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimesOfDay { times, days, .. } => {
                let times: Vec<String> = times.iter().map(|time| time.format("%H:%M").to_string()).collect();
                write!(f, "{days} at {}", listed(&times))
            }
            Self::EveryHours { hours, .. } if hours.get() == 1 => f.write_str("every hour"),
            Self::EveryHours { hours, .. } => write!(f, "every {hours} hours"),
            Self::AsNeeded => f.write_str("as needed"),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("every day"),
            Self::Weekdays { on } => {
                let days: Vec<String> = on.iter().map(ToString::to_string).collect();
                f.write_str(&listed(&days))
            }
            Self::NthDay { n } if n.get() == 1 => f.write_str("every day"),
            Self::NthDay { n } if n.get() == 2 => f.write_str("every other day"),
            Self::NthDay { n } => write!(f, "every {n} days"),
        }
    }
}

fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn timings_are_said_as_people_say_them() {
        let of = |timing| serde_json::from_value::<Timing>(timing).expect("a timing").to_string();
        let times = |times: &[&str], days| {
            of(json!({"kind": "times_of_day", "times": times, "days": days, "start": "2026-11-26", "end": null}))
        };
        assert_eq!(times(&["20:00:00", "08:00:00"], json!({"every": "day"})), "every day at 08:00 and 20:00");
        assert_eq!(
            times(&["08:00:00"], json!({"every": "weekdays", "on": ["Mon", "Wed", "Fri"]})),
            "Mon, Wed and Fri at 08:00"
        );
        assert_eq!(times(&["08:00:00"], json!({"every": "nth_day", "n": 2})), "every other day at 08:00");
        assert_eq!(times(&["08:00:00"], json!({"every": "nth_day", "n": 3})), "every 3 days at 08:00");
        let hours = json!({"kind": "every_hours", "hours": 8, "start": "2026-11-26", "first": "06:00:00", "end": null});
        assert_eq!(of(hours), "every 8 hours");
        assert_eq!(of(json!({"kind": "as_needed"})), "as needed");
    }
}
