//! Plans at changes of clocks that people remember.

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::doses::{Days, PlanError, PlanRule, Planned, TimeMeaning, Timing, occurrences};

use crate::oracle::{at, daily, date, local, utc, wall, zone};

pub fn plan(rule: &PlanRule<'_>, from: &str, until: &str) -> Vec<Planned> {
    occurrences(rule, utc(from), utc(until), None).unwrap()
}

/// Slots, what clocks show when they are due, and why they were moved: `08 02:30 -> 08 03:30 Gap`.
pub fn shown(rule: &PlanRule<'_>, doses: &[Planned]) -> Vec<String> {
    let line = |dose: &Planned| {
        let why = dose.shifted.map(|shift| format!(" {shift:?}")).unwrap_or_default();
        format!("{} -> {}{why}", dose.slot.format("%d %H:%M"), rule.zone.local(dose.due).format("%d %H:%M"))
    };
    doses.iter().map(line).collect()
}

#[test]
fn new_york_in_spring_takes_the_dose_an_hour_later_on_the_clock() {
    let timing = daily(&["02:30"], "2026-01-01");
    let rule = wall(&timing, "America/New_York", 0);
    let doses = plan(&rule, "2026-03-07 00:00:00", "2026-03-10 00:00:00");
    assert_eq!(shown(&rule, &doses), ["07 02:30 -> 07 02:30", "08 02:30 -> 08 03:30 Gap", "09 02:30 -> 09 02:30"]);
    assert_eq!(doses[1].due, utc("2026-03-08 07:30:00"));
    assert_eq!(doses[1].explain(rule.zone).unwrap(), "clocks go forward: 02:30 does not exist, so 03:30");
    assert_eq!(doses[0].explain(rule.zone), None);
}

#[test]
fn new_york_in_autumn_takes_the_dose_once_at_the_first() {
    let timing = daily(&["01:30"], "2026-01-01");
    let rule = wall(&timing, "America/New_York", 0);
    let doses = plan(&rule, "2026-10-31 00:00:00", "2026-11-03 00:00:00");
    assert_eq!(shown(&rule, &doses), ["31 01:30 -> 31 01:30", "01 01:30 -> 01 01:30 Fold", "02 01:30 -> 02 01:30"]);
    assert_eq!(doses[1].due, utc("2026-11-01 05:30:00"));
    assert_eq!(doses[1].explain(rule.zone).unwrap(), "clocks go back: 01:30 comes twice, the first is meant");
}

#[test]
fn lord_howe_leaps_half_an_hour() {
    let timing = daily(&["02:15"], "2026-01-01");
    let rule = wall(&timing, "Australia/Lord_Howe", 0);
    let doses = plan(&rule, "2026-10-03 00:00:00", "2026-10-05 00:00:00");
    assert_eq!(shown(&rule, &doses), ["04 02:15 -> 04 02:45 Gap", "05 02:15 -> 05 02:15"]);
}

#[test]
fn casablanca_changes_twice_around_ramadan() {
    let timing = daily(&["02:30", "14:30"], "2026-02-01");
    let rule = wall(&timing, "Africa/Casablanca", 6);
    let doses = plan(&rule, "2026-02-15 00:00:00", "2026-02-16 00:00:00");
    assert_eq!(shown(&rule, &doses), ["15 02:30 -> 15 02:30 Fold", "15 14:30 -> 15 14:30"]);
    let doses = plan(&rule, "2026-03-22 00:00:00", "2026-03-23 00:00:00");
    assert_eq!(shown(&rule, &doses), ["22 02:30 -> 22 03:30 Gap", "22 14:30 -> 22 14:30"]);
}

#[test]
fn the_day_that_samoa_left_out_loses_no_dose_and_doubles_none() {
    let timing = daily(&["08:00", "20:00"], "2011-12-01");
    let rule = wall(&timing, "Pacific/Apia", 6);
    let doses = plan(&rule, "2011-12-29 12:00:00", "2012-01-02 12:00:00");
    assert_eq!(
        shown(&rule, &doses),
        [
            "29 08:00 -> 29 08:00",
            "29 20:00 -> 29 20:00",
            "30 08:00 -> 31 08:00 Gap",
            "30 20:00 -> 31 20:00 Gap",
            "31 08:00 -> 01 02:00 MinInterval",
            "31 20:00 -> 01 08:00 MinInterval",
            "01 08:00 -> 01 14:00 MinInterval",
            "01 20:00 -> 01 20:00",
            "02 08:00 -> 02 08:00",
            "02 20:00 -> 02 20:00",
        ]
    );
    let sentence = doses[2].explain(rule.zone).unwrap();
    assert_eq!(sentence, "clocks go forward: 2011-12-30 08:00 does not exist, so 2011-12-31 08:00");
}

#[test]
fn doses_that_the_gap_pushes_together_are_kept_apart() {
    let timing = daily(&["02:30", "03:30"], "2026-01-01");
    let on_the_day = |min_hours| {
        let rule = wall(&timing, "America/New_York", min_hours);
        shown(&rule, &plan(&rule, "2026-03-08 00:00:00", "2026-03-09 00:00:00"))
    };
    assert_eq!(on_the_day(1), ["08 02:30 -> 08 03:30 Gap", "08 03:30 -> 08 04:30 MinInterval"]);
    // Without a minimum interval by half of their spacing.
    assert_eq!(on_the_day(0), ["08 02:30 -> 08 03:30 Gap", "08 03:30 -> 08 04:00 MinInterval"]);
}

#[test]
fn a_minimum_interval_without_slack_holds_all_summer_and_ends_in_autumn() {
    let timing = daily(&["08:00", "20:00"], "2020-01-01");
    let rule = wall(&timing, "Europe/Berlin", 12);
    // The first dose after each change, years after the plan began and without walking there.
    let summer = plan(&rule, "2026-07-01 00:00:00", "2026-07-02 00:00:00");
    assert_eq!(shown(&rule, &summer), ["01 08:00 -> 01 09:00 MinInterval", "01 20:00 -> 01 21:00 MinInterval"]);
    let winter = plan(&rule, "2026-12-01 00:00:00", "2026-12-02 00:00:00");
    assert_eq!(shown(&rule, &winter), ["01 08:00 -> 01 08:00", "01 20:00 -> 01 20:00"]);
    let sentence = summer[0].explain(rule.zone).unwrap();
    assert_eq!(sentence, "08:00 would be too soon after the dose before it, so 09:00");
}

/// Noronha put its clocks forward for one week only in 2000: what the first change moved meets the second.
#[test]
fn a_dose_that_is_moved_to_the_second_of_two_equal_times_says_which() {
    let timing = daily(&["11:00", "23:00"], "2000-09-15");
    let rule = wall(&timing, "America/Noronha", 12);
    let doses = plan(&rule, "2000-10-14 12:00:00", "2000-10-15 12:00:00");
    assert_eq!(shown(&rule, &doses), ["14 11:00 -> 14 12:00 MinInterval", "14 23:00 -> 14 23:00 MinInterval"]);
    assert_eq!(doses[1].due, utc("2000-10-15 01:00:00"));
    let sentence = "23:00 comes twice, and the first would be too soon after the dose before it, so the second";
    assert_eq!(doses[1].explain(rule.zone).unwrap(), sentence);
}

#[test]
fn every_eight_hours_keeps_its_spacing_through_both_changes() {
    for meaning in [TimeMeaning::Elapsed, TimeMeaning::WallClock, TimeMeaning::HomeZone] {
        let timing = Timing::EveryHours {
            hours: 8.try_into().unwrap(),
            start: date("2026-03-07"),
            first: at("06:00"),
            end: Some(date("2026-11-02")),
        };
        let rule =
            PlanRule { timing: &timing, meaning, zone: zone("America/New_York"), min_interval: TimeDelta::hours(8) };
        let doses = plan(&rule, "2026-01-01 00:00:00", "2027-01-01 00:00:00");
        assert_eq!(doses[0].due, utc("2026-03-07 11:00:00"));
        assert!(doses.windows(2).all(|pair| pair[1].due - pair[0].due == TimeDelta::hours(8)));
        assert!(doses.iter().all(|dose| dose.slot == dose.due.naive_utc() && dose.shifted.is_none()));
        let last = rule.zone.local(doses.last().unwrap().due);
        assert_eq!(last, local("2026-11-02 22:00:00"), "the last day is the last local day, inclusive");
    }
}

#[test]
fn days_are_those_that_the_timing_names() {
    let timing = |days, end| Timing::TimesOfDay {
        times: [at("21:00"), at("07:00")].into(),
        days,
        start: date("2026-06-03"),
        end,
    };
    let days = |timing: &Timing| -> Vec<String> {
        let rule = wall(timing, "Asia/Tokyo", 0);
        plan(&rule, "2026-06-01 00:00:00", "2026-06-15 00:00:00")
            .iter()
            .map(|dose| dose.slot.format("%a %d %H").to_string())
            .collect()
    };
    use chrono::Weekday::{Mon, Thu};
    assert_eq!(
        days(&timing(Days::Weekdays { on: vec![Thu, Mon, Thu] }, Some(date("2026-06-11")))),
        ["Thu 04 07", "Thu 04 21", "Mon 08 07", "Mon 08 21", "Thu 11 07", "Thu 11 21"]
    );
    assert_eq!(
        days(&timing(Days::NthDay { n: 5.try_into().unwrap() }, None)),
        ["Wed 03 07", "Wed 03 21", "Mon 08 07", "Mon 08 21", "Sat 13 07", "Sat 13 21"]
    );
    assert_eq!(days(&timing(Days::Day, Some(date("2026-06-03")))), ["Wed 03 07", "Wed 03 21"]);
    assert_eq!(days(&Timing::AsNeeded), Vec::<String>::new());
}

#[test]
fn a_range_that_is_too_long_is_refused_and_a_far_one_is_not() {
    let timing = daily(&["08:00", "14:00", "20:00"], "2026-01-01");
    let rule = wall(&timing, "Europe/Paris", 4);
    let whole = occurrences(&rule, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, None);
    assert_eq!(whole, Err(PlanError::TooMany { limit: 20_000 }));
    assert!(whole.unwrap_err().to_string().contains("20000"));
    assert_eq!(plan(&rule, "2999-01-01 00:00:00", "2999-01-02 00:00:00").len(), 3);
    assert_eq!(plan(&rule, "1999-01-01 00:00:00", "2000-01-02 00:00:00"), []);
    assert_eq!(plan(&rule, "2026-06-02 00:00:00", "2026-06-01 00:00:00"), []);
    assert_eq!(occurrences(&rule, DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MAX_UTC, None), Ok(vec![]));
}
