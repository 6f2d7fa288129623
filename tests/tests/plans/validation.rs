//! What is refused in a timing, and how that is said.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Weekday};
use pulsecal_core::doses::{
    Days, PlanError, PlanRule, TimeMeaning, Timing, nominal_min_gap, occurrences, validate, validate_rule,
};

use crate::oracle::{at, daily, date, utc, wall, zone};

fn times_of_day(times: &[&str], days: Days, end: Option<&str>) -> Timing {
    let times: BTreeSet<_> = times.iter().map(|time| at(time)).collect();
    Timing::TimesOfDay { times, days, start: date("2026-06-01"), end: end.map(date) }
}

fn every_hours(hours: u16, end: Option<&str>) -> Timing {
    Timing::EveryHours {
        hours: hours.try_into().unwrap(),
        start: date("2026-06-01"),
        first: at("08:00"),
        end: end.map(date),
    }
}

fn problems(timing: &Timing, min_interval: TimeDelta) -> Vec<String> {
    validate(timing, min_interval).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn good_timings_pass() {
    for timing in [
        Timing::AsNeeded,
        daily(&["08:00", "20:00"], "2026-06-01"),
        times_of_day(&["08:00"], Days::Weekdays { on: vec![Weekday::Mon] }, Some("2026-06-01")),
        times_of_day(&["08:00"], Days::NthDay { n: 366.try_into().unwrap() }, None),
        every_hours(1, None),
        every_hours(720, Some("2026-12-31")),
    ] {
        assert_eq!(problems(&timing, TimeDelta::zero()), Vec::<String>::new(), "{timing:?}");
        let gap = nominal_min_gap(&timing).unwrap_or(TimeDelta::days(5));
        assert_eq!(problems(&timing, gap), Vec::<String>::new(), "{timing:?}");
    }
}

#[test]
fn each_wrong_field_is_named() {
    let weekdays = |on| Days::Weekdays { on };
    for (timing, said) in [
        (times_of_day(&[], Days::Day, None), "times: at least one time is needed"),
        (times_of_day(&["08:00"], Days::Day, Some("2026-05-31")), "end: 2026-05-31 is before the start, 2026-06-01"),
        (times_of_day(&["08:00"], weekdays(vec![]), None), "days.on: at least one weekday is needed"),
        (
            times_of_day(&["08:00"], weekdays(vec![Weekday::Mon, Weekday::Mon]), None),
            "days.on: a weekday is named twice",
        ),
        (
            times_of_day(&["08:00"], Days::NthDay { n: 367.try_into().unwrap() }, None),
            "days.n: must be 1 to 366, not 367",
        ),
        (every_hours(721, None), "hours: must be 1 to 720, not 721"),
        (every_hours(6, Some("2026-05-31")), "end: 2026-05-31 is before the start, 2026-06-01"),
        (daily(&["08:00"], "0026-06-01"), "start: must be in the years 1970 to 2200"),
    ] {
        assert_eq!(problems(&timing, TimeDelta::zero()), [said]);
    }
    let seconds = Timing::TimesOfDay {
        times: [at("08:00") + TimeDelta::seconds(1)].into(),
        days: Days::Day,
        start: date("2026-06-01"),
        end: None,
    };
    assert_eq!(problems(&seconds, TimeDelta::zero()), ["times: must be whole minutes"]);
    let both = times_of_day(&[], weekdays(vec![]), Some("2026-05-31"));
    assert_eq!(problems(&both, TimeDelta::zero()).len(), 3, "all problems are told at once");
}

#[test]
fn the_minimum_interval_must_fit_between_the_times() {
    let twice = daily(&["08:00", "18:30"], "2026-06-01");
    assert_eq!(nominal_min_gap(&twice), Some(TimeDelta::minutes(630)));
    assert_eq!(
        problems(&twice, TimeDelta::minutes(631)),
        ["min_interval: is 10 h 31 min, but the times are only 10 h 30 min apart"]
    );
    assert_eq!(problems(&twice, -TimeDelta::hours(1)), ["min_interval: must not be negative"]);
    // Over midnight, and over days without doses.
    assert_eq!(nominal_min_gap(&daily(&["01:00", "23:00"], "2026-06-01")), Some(TimeDelta::hours(2)));
    let weekend = Days::Weekdays { on: vec![Weekday::Sun, Weekday::Sat] };
    assert_eq!(nominal_min_gap(&times_of_day(&["08:00"], weekend, None)), Some(TimeDelta::hours(24)));
    let sundays = Days::Weekdays { on: vec![Weekday::Sun] };
    assert_eq!(nominal_min_gap(&times_of_day(&["08:00"], sundays, None)), Some(TimeDelta::days(7)));
    assert_eq!(nominal_min_gap(&every_hours(6, None)), Some(TimeDelta::hours(6)));
    assert_eq!(nominal_min_gap(&Timing::AsNeeded), None);
    assert_eq!(nominal_min_gap(&times_of_day(&[], Days::Day, None)), None);
}

#[test]
fn times_of_day_are_not_elapsed_time() {
    let timing = daily(&["08:00"], "2026-06-01");
    let wrong = validate_rule(&timing, TimeMeaning::Elapsed, TimeDelta::zero()).unwrap_err();
    assert_eq!(wrong.iter().map(|problem| problem.field).collect::<Vec<_>>(), ["meaning"]);
    assert_eq!(validate_rule(&timing, TimeMeaning::HomeZone, TimeDelta::zero()), Ok(()));
    assert_eq!(validate_rule(&every_hours(6, None), TimeMeaning::Elapsed, TimeDelta::zero()), Ok(()));
}

#[test]
fn the_planner_refuses_what_validation_refuses_and_never_panics() {
    let range = (utc("2026-06-01 00:00:00"), utc("2026-06-08 00:00:00"));
    let plan = |rule: &PlanRule<'_>| occurrences(rule, range.0, range.1, None);
    let timing = daily(&["08:00", "20:00"], "2026-06-01");
    let rule =
        PlanRule { timing: &timing, meaning: TimeMeaning::Elapsed, zone: zone("UTC"), min_interval: TimeDelta::zero() };
    assert_eq!(plan(&rule), Err(PlanError::TimesOfDayElapsed));
    for hours in [13, -1] {
        let error = plan(&wall(&timing, "UTC", hours)).unwrap_err().to_string();
        assert!(error.contains("min_interval"), "{error}");
    }
    assert_eq!(plan(&wall(&times_of_day(&[], Days::Day, None), "UTC", 0)), Ok(vec![]));
    assert_eq!(plan(&wall(&times_of_day(&["08:00"], Days::Weekdays { on: vec![] }, None), "UTC", 0)), Ok(vec![]));
    assert_eq!(plan(&wall(&times_of_day(&["08:00"], Days::Day, Some("2026-05-31")), "UTC", 0)), Ok(vec![]));
    for start in [chrono::NaiveDate::MIN, chrono::NaiveDate::MAX] {
        for end in [None, Some(chrono::NaiveDate::MIN), Some(chrono::NaiveDate::MAX)] {
            let days = Timing::TimesOfDay { times: [at("23:59")].into(), days: Days::Day, start, end };
            let hours = Timing::EveryHours { hours: 7.try_into().unwrap(), start, first: at("23:59"), end };
            for timing in [days, hours] {
                for name in ["Pacific/Kiritimati", "America/Adak"] {
                    drop(plan(&wall(&timing, name, 0)));
                    drop(occurrences(&wall(&timing, name, 0), chrono::DateTime::<chrono::Utc>::MIN_UTC, range.1, None));
                }
            }
        }
    }
}
