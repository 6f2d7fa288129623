//! How often and when in the day.

use pulsecal_core::doses::timing::{Days, Timing};
use serde_json::json;

use super::support::{at, day, every, means, nth, refused, repeat, weekdays, with};

#[test]
fn a_number_of_doses_a_day_gets_the_documented_times() {
    let daily = |n: u32| json!({"frequency": n, "period": 1, "periodUnit": "d"});
    means(daily(1), at("08:00", Days::Day, None));
    means(daily(2), at("08:00 20:00", Days::Day, None));
    means(daily(3), at("08:00 14:00 20:00", Days::Day, None));
    means(daily(4), at("08:00 12:00 16:00 20:00", Days::Day, None));
    means(daily(5), at("06:00 10:00 14:00 18:00 22:00", Days::Day, None));
    means(daily(6), at("06:00 09:10 12:20 15:35 18:45 22:00", Days::Day, None));
    refused(daily(25), ".frequency", "more than 24");
}

#[test]
fn periods_that_come_to_whole_days_or_hours_are_understood() {
    let rule = |f: u32, p: f64, unit: &str| json!({"frequency": f, "period": p, "periodUnit": unit});
    means(json!({"period": 1, "periodUnit": "d"}), at("08:00", Days::Day, None));
    means(rule(1, 2.0, "d"), at("08:00", nth(2), None));
    means(rule(1, 1.0, "wk"), at("08:00", nth(7), None));
    means(rule(1, 2.0, "wk"), at("08:00", nth(14), None));
    means(rule(7, 1.0, "wk"), at("08:00", Days::Day, None));
    means(rule(14, 1.0, "wk"), at("08:00 20:00", Days::Day, None));
    means(rule(1, 0.5, "d"), at("08:00 20:00", Days::Day, None));
    means(rule(2, 24.0, "h"), at("08:00 20:00", Days::Day, None));
    means(rule(1, 8.0, "h"), every(8, "08:00", None));
    means(rule(1, 24.0, "h"), every(24, "08:00", None));
    means(rule(2, 12.0, "h"), every(6, "08:00", None));
    means(rule(1, 480.0, "min"), every(8, "08:00", None));
    means(rule(1, 14400.0, "s"), every(4, "08:00", None));
    refused(rule(1, 90.0, "min"), ".period", "whole number of hours");
    refused(rule(1, 721.0, "h"), ".period", "1 to 720");
    refused(rule(2, 3.0, "d"), ".frequency", "same number of doses each day");
    refused(rule(3, 1.0, "wk"), ".frequency", "name the days");
    refused(rule(1, 1.0, "mo"), ".periodUnit", "differ in length");
    refused(rule(1, 1.0, "a"), ".periodUnit", "differ in length");
    refused(rule(1, 367.0, "d"), ".period", "366");
    refused(rule(1, 1.0, "fortnight"), ".periodUnit", "\"fortnight\" is no unit");
}

#[test]
fn times_of_day_and_weekdays_hold_as_written() {
    means(json!({"timeOfDay": ["07:30:00", "21:00:00"]}), at("07:30 21:00", Days::Day, None));
    means(
        json!({"timeOfDay": ["07:30:00"], "frequency": 1, "period": 3, "periodUnit": "d"}),
        at("07:30", nth(3), None),
    );
    means(json!({"timeOfDay": ["07:30:00"], "dayOfWeek": ["fri", "mon"]}), at("07:30", weekdays("Mon Fri"), None));
    means(json!({"dayOfWeek": ["tue"]}), at("08:00", weekdays("Tue"), None));
    let week = json!(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
    means(json!({"dayOfWeek": week}), at("08:00", Days::Day, None));
    means(
        json!({"frequency": 2, "period": 1, "periodUnit": "d", "dayOfWeek": ["sat"]}),
        at("08:00 20:00", weekdays("Sat"), None),
    );
    means(
        json!({"frequency": 3, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon", "wed", "fri"]}),
        at("08:00", weekdays("Mon Wed Fri"), None),
    );
    refused(
        json!({"frequency": 1, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon", "wed"]}),
        ".frequency",
        "evenly",
    );
    refused(json!({"frequency": 3, "period": 1, "periodUnit": "d", "timeOfDay": ["08:00:00"]}), ".frequency", "says 3");
    refused(json!({"period": 6, "periodUnit": "h", "timeOfDay": ["08:00:00"]}), ".period", "whole number of days");
    refused(json!({"period": 6, "periodUnit": "h", "dayOfWeek": ["mon"]}), ".dayOfWeek", "period of hours");
    refused(json!({"period": 2, "periodUnit": "d", "dayOfWeek": ["mon"]}), ".dayOfWeek", "does not fit");
    refused(json!({"timeOfDay": ["8 o'clock"]}), ".timeOfDay[0]", "time of day such as");
    refused(json!({"timeOfDay": ["24:00:00"]}), ".timeOfDay[0]", "time of day such as");
    refused(json!({"timeOfDay": ["08:00:30"]}), ".timeOfDay[0]", "full minute");
    refused(json!({"timeOfDay": ["08:00:00", "08:00:00"]}), ".timeOfDay[1]", "second time");
    refused(json!({"timeOfDay": "08:00:00"}), ".timeOfDay", "must be a list");
    refused(json!({"dayOfWeek": ["Monday"]}), ".dayOfWeek[0]", "mon, tue");
}

#[test]
fn every_other_week_on_a_weekday_starts_on_that_weekday() {
    let value = json!({"period": 2, "periodUnit": "wk", "dayOfWeek": ["thu"], "timeOfDay": ["09:00:00"]});
    let Timing::TimesOfDay { days, start, .. } = repeat(&value).expect("understood") else {
        panic!("times of day");
    };
    assert_eq!((days, start), (nth(14), day("2026-03-05")));
}

#[test]
fn events_of_the_day_get_the_documented_times() {
    let when = |codes: &[&str]| json!({"when": codes});
    for (code, time) in [
        ("WAKE", "07:00"),
        ("MORN.early", "06:00"),
        ("MORN", "08:00"),
        ("MORN.late", "10:00"),
        ("NOON", "12:00"),
        ("AFT.early", "13:00"),
        ("AFT", "14:00"),
        ("AFT.late", "16:00"),
        ("EVE.early", "17:00"),
        ("EVE", "18:00"),
        ("EVE.late", "20:00"),
        ("NIGHT", "22:00"),
        ("HS", "22:00"),
        ("CM", "08:00"),
        ("CD", "12:00"),
        ("CV", "18:00"),
        ("ACM", "07:30"),
        ("ACD", "11:30"),
        ("ACV", "17:30"),
        ("PCM", "08:30"),
        ("PCD", "12:30"),
        ("PCV", "18:30"),
    ] {
        means(when(&[code]), at(time, Days::Day, None));
    }
    means(when(&["C"]), at("08:00 12:00 18:00", Days::Day, None));
    means(when(&["AC"]), at("07:30 11:30 17:30", Days::Day, None));
    means(when(&["MORN", "EVE"]), at("08:00 18:00", Days::Day, None));
    means(
        json!({"frequency": 2, "period": 1, "periodUnit": "d", "when": ["PC"], "offset": 60}),
        at("09:00 19:00", Days::Day, None),
    );
    means(json!({"when": ["ACM"], "offset": 45}), at("07:15", Days::Day, None));
    means(json!({"when": ["WAKE"], "offset": 20}), at("07:20", Days::Day, None));
    means(json!({"when": ["PCM"], "offset": 0}), at("08:00", Days::Day, None));
    means(json!({"frequency": 1, "period": 1, "periodUnit": "wk", "when": ["MORN"]}), at("08:00", nth(7), None));
    refused(when(&["PHS"]), ".when[0]", "no time of day");
    refused(when(&["LUNCHISH"]), ".when[0]", "\"LUNCHISH\"");
    refused(when(&["MORN", "CM"]), ".when[1]", "same time");
    refused(json!({"when": ["HS"], "offset": 180}), ".when[0]", "leaves the day");
    refused(json!({"frequency": 3, "period": 1, "periodUnit": "d", "when": ["MORN"]}), ".frequency", "says 3");
}

#[test]
fn broken_invariants_name_the_field() {
    refused(json!({"timeOfDay": ["08:00:00"], "when": ["MORN"]}), ".when", "beside timeOfDay");
    refused(json!({"timeOfDay": ["08:00:00"], "offset": 10}), ".offset", "needs a field when");
    refused(json!({"when": ["CM"], "offset": 10}), ".offset", "at a meal");
    refused(json!({"when": ["ACM"], "offset": -10}), ".offset", "0 or more");
    refused(json!({"frequency": 2, "period": 1}), ".periodUnit", "missing beside period");
    refused(json!({"frequency": 2, "periodUnit": "d"}), ".period", "missing beside periodUnit");
    refused(json!({"frequency": 2}), ".period", "missing beside frequency");
    refused(json!({"frequency": 0, "period": 1, "periodUnit": "d"}), ".frequency", "above 0");
    refused(json!({"frequency": "two", "period": 1, "periodUnit": "d"}), ".frequency", "whole number");
    refused(json!({"frequency": 1, "period": -1, "periodUnit": "d"}), ".period", "above 0");
    refused(json!({"frequency": 1, "period": 1e300, "periodUnit": "d"}), ".period", "whole number of minutes");
    for field in ["frequencyMax", "periodMax", "countMax"] {
        refused(
            with(&json!({"frequency": 1, "period": 1, "periodUnit": "d"}), &json!({field: 2})),
            &format!(".{field}"),
            "range",
        );
    }
    refused(json!({"boundsRange": {}, "frequency": 1, "period": 1, "periodUnit": "d"}), ".boundsRange", "range");
    refused(json!({"modifierExtension": [{}], "when": ["HS"]}), ".modifierExtension", "meaning");
    refused(
        json!({"boundsPeriod": {}, "boundsDuration": {}, "when": ["HS"]}),
        "",
        "both boundsDuration and boundsPeriod",
    );
}
