//! From when to when, and how often in all.

use chrono_tz::Tz;
use pulsecal_core::doses::timing::{Days, Timing};
use serde_json::{Value, json};

use super::support::{at, day, every, instructed_in, means, nth, refused, weekdays, with};

#[test]
fn bounds_give_the_first_and_last_day() {
    let daily = json!({"frequency": 1, "period": 1, "periodUnit": "d"});
    let bounded = |more: Value| with(&daily, &more);
    let lasting = |value: f64, code: &str| bounded(json!({"boundsDuration": {"value": value, "code": code}}));
    means(bounded(json!({"boundsPeriod": {"end": "2026-03-10"}})), at("08:00", Days::Day, Some("2026-03-10")));
    means(lasting(10.0, "d"), at("08:00", Days::Day, Some("2026-03-11")));
    means(lasting(2.0, "wk"), at("08:00", Days::Day, Some("2026-03-15")));
    means(lasting(48.0, "h"), at("08:00", Days::Day, Some("2026-03-03")));
    means(lasting(1.0, "mo"), at("08:00", Days::Day, Some("2026-04-01")));
    means(lasting(1.0, "a"), at("08:00", Days::Day, Some("2027-03-01")));
    means(bounded(json!({"boundsDuration": {"value": 3, "unit": "days"}})), at("08:00", Days::Day, Some("2026-03-04")));
    refused(lasting(36.0, "h"), ".boundsDuration", "whole days");
    refused(lasting(1.5, "mo"), ".boundsDuration", "whole days");
    refused(lasting(1.0, "blinks"), ".boundsDuration", "whole days");
    refused(
        bounded(json!({"boundsDuration": {"value": 3, "code": "d", "comparator": "<"}})),
        ".boundsDuration.comparator",
        "open",
    );
    refused(bounded(json!({"boundsPeriod": {"start": "2026-03"}})), ".boundsPeriod.start", "no day");
    refused(bounded(json!({"boundsPeriod": {"start": "2026-02-30"}})), ".boundsPeriod.start", "must be a date");
    refused(
        bounded(json!({"boundsPeriod": {"start": "2026-03-09", "end": "2026-03-08"}})),
        ".boundsPeriod.end",
        "before the start",
    );
    // Authored on the 2nd, so the end may not lie before that.
    refused(bounded(json!({"boundsPeriod": {"end": "2026-03-01"}})), ".boundsPeriod.end", "before the start");
}

#[test]
fn a_count_gives_the_last_day_only_where_that_is_exact() {
    let counted = |count: u32, more: Value| with(&json!({"count": count}), &more);
    let bid = json!({"frequency": 2, "period": 1, "periodUnit": "d"});
    means(counted(14, bid.clone()), at("08:00 20:00", Days::Day, Some("2026-03-08")));
    refused(counted(13, bid.clone()), ".count", "middle of a day");
    refused(counted(2_000_000, bid), ".count", "100000");
    means(counted(3, json!({"period": 2, "periodUnit": "d"})), at("08:00", nth(2), Some("2026-03-06")));
    means(counted(3, json!({"dayOfWeek": ["mon", "thu"]})), at("08:00", weekdays("Mon Thu"), Some("2026-03-09")));
    means(counted(4, json!({"period": 36, "periodUnit": "h"})), every(36, "08:00", Some("2026-03-06")));
    // The 2nd at 08:00 and 16:00, the 3rd at 00:00, 08:00 and 16:00.
    means(counted(5, json!({"period": 8, "periodUnit": "h"})), every(8, "08:00", Some("2026-03-03")));
    refused(counted(4, json!({"period": 8, "periodUnit": "h"})), ".count", "middle of a day");
}

#[test]
fn instants_become_days_and_times_of_the_patients_zone() {
    let eight_hourly = json!([{"timing": {"repeat": {
        "period": 8, "periodUnit": "h",
        "boundsPeriod": {"start": "2026-03-02T23:30:00Z", "end": "2026-03-05T20:00:00Z"}
    }}}]);
    let in_zone = |zone: Tz| match instructed_in(zone, &eight_hourly).expect("understood") {
        Timing::EveryHours { start, first, end, .. } => (start, first.to_string(), end.expect("bounded")),
        other => panic!("{other:?}"),
    };
    assert_eq!(in_zone(Tz::Asia__Tokyo), (day("2026-03-03"), "08:30:00".to_owned(), day("2026-03-06")));
    assert_eq!(in_zone(Tz::America__New_York), (day("2026-03-02"), "18:30:00".to_owned(), day("2026-03-05")));

    // Five hours apart, but backwards on the calendar only in one zone.
    let backwards = json!([{"timing": {"repeat": {
        "when": ["HS"], "boundsPeriod": {"start": "2026-03-02T20:00:00Z", "end": "2026-03-02"}
    }}}]);
    assert!(instructed_in(Tz::Europe__Berlin, &backwards).is_ok());
    let problem = instructed_in(Tz::Asia__Tokyo, &backwards).expect_err("the 3rd there");
    assert_eq!(problem.reason, "is before the start");
}

#[test]
fn a_counted_interval_ends_right_across_a_clock_change() {
    // Berlin springs forward on 29 March: 28th 11:30 and 23:30, 29th 12:30, then 30th 00:30 by the clock.
    let value = json!([{"timing": {"repeat": {
        "period": 12, "periodUnit": "h", "count": 3, "boundsPeriod": {"start": "2026-03-28T11:30:00+01:00"}
    }}}]);
    let Timing::EveryHours { end, .. } = instructed_in(Tz::Europe__Berlin, &value).expect("three doses") else {
        panic!("an interval");
    };
    assert_eq!(end, Some(day("2026-03-29")));
    // Without the change the fourth dose would still be on the 29th.
    assert!(instructed_in(Tz::Africa__Lagos, &value).is_err());
}
