//! Cron expressions on local clocks, at the changes where the crate by itself loses slots or runs backwards.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc, Weekday};
use proptest::prelude::*;
use pulsecal_core::time::{CronExpr, FoldRule, GapRule, Zone};

use crate::oracle::{distinct_zones, meant, showings, utc, zone};

fn expr(text: &str) -> CronExpr {
    text.parse().unwrap()
}

fn slots(text: &str, zone_name: &str, fold: FoldRule, after: &str, until: &str) -> Vec<DateTime<Utc>> {
    expr(text).slots(zone(zone_name), GapRule::After, fold, utc(after), utc(until), 10_000)
}

#[test]
fn a_slot_in_the_gap_fires_after_it_once() {
    let text = "0 30 2 * * *";
    let days = slots(text, "America/New_York", FoldRule::First, "2026-03-07 00:00:00", "2026-03-10 00:00:00");
    // 02:30 EST, then 03:30 EDT, then 02:30 EDT.
    assert_eq!(days, [utc("2026-03-07 07:30:00"), utc("2026-03-08 07:30:00"), utc("2026-03-09 06:30:00")]);
    let skipped = expr(text).slots(
        zone("America/New_York"),
        GapRule::Skip,
        FoldRule::First,
        utc("2026-03-07 00:00:00"),
        utc("2026-03-10 00:00:00"),
        9,
    );
    assert_eq!(skipped, [utc("2026-03-07 07:30:00"), utc("2026-03-09 06:30:00")]);
}

#[test]
fn two_slots_that_the_gap_brings_together_fire_once() {
    let twice =
        slots("0 30 2,3 * * *", "America/New_York", FoldRule::First, "2026-03-08 00:00:00", "2026-03-09 00:00:00");
    assert_eq!(twice, [utc("2026-03-08 07:30:00")]);
    // A whole day is missing: what would have fired then is what fires on the next.
    let apia = slots("0 0 9 * * *", "Pacific/Apia", FoldRule::First, "2011-12-29 00:00:00", "2012-01-01 00:00:00");
    assert_eq!(apia, [utc("2011-12-29 19:00:00"), utc("2011-12-30 19:00:00"), utc("2011-12-31 19:00:00")]);
    // And a schedule for that day alone is not lost.
    let friday =
        slots("0 0 9 30 12 * 2011", "Pacific/Apia", FoldRule::First, "2011-01-01 00:00:00", "2013-01-01 00:00:00");
    assert_eq!(friday, [utc("2011-12-30 19:00:00")]);
}

#[test]
fn a_slot_in_the_fold_fires_as_its_rule_says() {
    let fired = |fold| slots("0 30 1 * * *", "America/New_York", fold, "2026-11-01 00:00:00", "2026-11-02 00:00:00");
    let (first, second) = (utc("2026-11-01 05:30:00"), utc("2026-11-01 06:30:00"));
    assert_eq!(fired(FoldRule::First), [first]);
    assert_eq!(fired(FoldRule::Second), [second]);
    assert_eq!(fired(FoldRule::Both), [first, second]);
}

#[test]
fn each_quarter_hour_runs_forward_through_autumn() {
    let next = |fold, after: DateTime<Utc>| {
        expr("0 */15 * * * *").next(zone("America/New_York"), GapRule::After, fold, after).unwrap()
    };
    for fold in [FoldRule::First, FoldRule::Second, FoldRule::Both] {
        let mut now = utc("2026-11-01 04:00:00");
        while now < utc("2026-11-01 08:00:00") {
            // Asked anew at every second minute, as a scheduler that has just started would.
            assert!(next(fold, now) > now, "{fold} {now}");
            now += TimeDelta::minutes(2);
        }
    }
    assert_eq!(next(FoldRule::First, utc("2026-11-01 05:45:00")), utc("2026-11-01 07:00:00"));
    assert_eq!(next(FoldRule::Both, utc("2026-11-01 05:45:00")), utc("2026-11-01 06:00:00"));
    assert_eq!(next(FoldRule::Second, utc("2026-11-01 04:45:00")), utc("2026-11-01 06:00:00"));
}

#[test]
fn an_hourly_schedule_has_a_known_count_on_days_of_23_and_25_hours() {
    let count = |fold, after, until| slots("0 0 * * * *", "America/New_York", fold, after, until).len();
    let (autumn, end) = ("2026-11-01 03:59:59", "2026-11-02 04:59:59");
    assert_eq!(count(FoldRule::First, autumn, end), 24);
    assert_eq!(count(FoldRule::Second, autumn, end), 24);
    assert_eq!(count(FoldRule::Both, autumn, end), 25);
    assert_eq!(count(FoldRule::First, "2026-03-08 04:59:59", "2026-03-09 03:59:59"), 23);
}

/// What a handful of expressions match, said again without the crate.
fn matches(index: usize, at: NaiveDateTime) -> bool {
    let (hour, minute, day) = (at.hour(), at.minute(), at.weekday());
    match index {
        0 => minute % 15 == 0,
        1 => minute == 30 && hour == 2,
        2 => minute == 0,
        3 => minute == 5 && matches!(hour, 0 | 1 | 3 | 23),
        4 => minute == 30 && hour == 1 && matches!(day, Weekday::Sat | Weekday::Sun),
        5 => minute == 0 && hour == 0 && at.day() == 1,
        _ => minute % 20 == 10 && hour < 4,
    }
}

const EXPRESSIONS: [&str; 7] = [
    "0 */15 * * * *",
    "30 2 * * *",
    "@hourly",
    "0 5 0,1,3,23 * * *",
    "30 1 * * 6-7",
    "0 0 0 1 * ?",
    "0 10/20 0-3 * * *",
];

/// All slots in a range, by trying every local minute around it.
fn by_trying(
    index: usize,
    zone: Zone,
    gap: GapRule,
    fold: FoldRule,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let mut found = BTreeSet::new();
    let mut minute = (after - TimeDelta::hours(40)).naive_utc().with_second(0).unwrap();
    while minute <= (until + TimeDelta::hours(40)).naive_utc() {
        if matches(index, minute) {
            let shown = showings(zone, minute);
            match (shown.as_slice(), fold) {
                ([], _) if gap == GapRule::After => drop(found.insert(meant(zone, minute))),
                ([], _) => {}
                ([first, ..], FoldRule::First) => drop(found.insert(*first)),
                ([.., second], FoldRule::Second) => drop(found.insert(*second)),
                (both, _) => found.extend(both.iter().copied()),
            }
        }
        minute += TimeDelta::minutes(1);
    }
    found.into_iter().filter(|slot| *slot > after && *slot <= until).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn slots_around_changes_are_those_found_by_trying_every_minute(
        which in any::<prop::sample::Index>(),
        change in any::<prop::sample::Index>(),
        index in 0..EXPRESSIONS.len(),
        gap in prop::sample::select(vec![GapRule::After, GapRule::Skip]),
        fold in prop::sample::select(vec![FoldRule::First, FoldRule::Second, FoldRule::Both]),
        before in prop_oneof![0..40_000_i64, 16_000..24_000_i64],
        length in 0..200_000_i64,
    ) {
        let zones = distinct_zones();
        let (zone, changes) = zones[which.index(zones.len())];
        let after = changes[change.index(changes.len())].at + TimeDelta::seconds(20_000 - before);
        let until = after + TimeDelta::seconds(length);
        let expr = expr(EXPRESSIONS[index]);
        let slots = expr.slots(zone, gap, fold, after, until, usize::MAX);
        prop_assert!(slots.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(&slots, &by_trying(index, zone, gap, fold, after, until));
        // One by one they are the same, and a limit cuts the end off.
        let mut now = after;
        for slot in &slots {
            now = expr.next(zone, gap, fold, now).unwrap();
            prop_assert_eq!(now, *slot);
        }
        let few = expr.slots(zone, gap, fold, after, until, 3);
        prop_assert_eq!(&few[..], &slots[..slots.len().min(3)]);
    }
}

#[test]
fn asked_in_the_middle_of_any_change_a_slot_is_not_lost() {
    for (zone, changes) in distinct_zones() {
        for change in changes {
            // The middle of the gap or of the fold, on that day alone.
            let slot = change.old_local() + change.leap() / 2;
            let expr = expr(&slot.format("%S %M %H %d %m ? %Y").to_string());
            let next = |fold, after| expr.next(zone, GapRule::After, fold, after);
            let half = change.leap().abs() / 2;
            let due = Some(change.at + half);
            for after in [change.at, change.at - TimeDelta::seconds(1), change.at + half - TimeDelta::seconds(1)] {
                assert_eq!(next(FoldRule::Both, after), due, "{zone} {slot} {after}");
                assert_eq!(next(FoldRule::Second, after), due, "{zone} {slot} {after}");
            }
            assert_eq!(next(FoldRule::Both, change.at + half), None, "{zone} {slot}");
            if change.leap() < TimeDelta::zero() {
                assert_eq!(next(FoldRule::First, change.at - half), None, "{zone} {slot}");
                assert_eq!(next(FoldRule::First, change.at - half * 2), Some(change.at - half), "{zone} {slot}");
            }
        }
    }
}

#[test]
fn five_fields_mean_what_they_mean_to_unix_cron() {
    let days = |text: &str| -> Vec<Weekday> {
        let slots = slots(text, "UTC", FoldRule::First, "2026-06-07 00:00:00", "2026-06-14 00:00:00");
        slots.iter().map(Datelike::weekday).collect()
    };
    use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
    assert_eq!(days("0 9 * * 1-5"), [Mon, Tue, Wed, Thu, Fri]);
    assert_eq!(days("0 9 * * 0"), [Sun]);
    assert_eq!(days("0 9 * * 7"), [Sun]);
    assert_eq!(days("0 9 * * 5-7"), [Sun, Fri, Sat]);
    assert_eq!(days("0 9 * * 1-5/2"), [Mon, Wed, Fri]);
    assert_eq!(days("0 9 * * Mon,3"), [Mon, Wed]);
    assert_eq!(days("0 9 * * Tue-Thu"), [Tue, Wed, Thu]);
    // Six fields keep the numbers of their own kind.
    assert_eq!(days("0 0 9 * * 1"), [Sun]);
    assert!("0 9 1 * 1".parse::<CronExpr>().unwrap_err().to_string().contains("either"));
}

#[test]
fn an_expression_keeps_the_form_it_was_given() {
    for text in ["30 7 * * 1-5", "0 30 7 * * Mon-Fri", "@daily", "0 0 0 29 2 ? 2028"] {
        let json = serde_json::to_string(&expr(text)).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(serde_json::from_str::<CronExpr>(&json).unwrap(), expr(text));
        assert_eq!(expr(text).to_string(), text);
    }
}

#[test]
fn a_wrong_expression_is_named_with_what_is_wrong_and_a_right_one() {
    for (wrong, part) in [
        ("", "0 fields"),
        ("* * *", "3 fields"),
        ("0 61 * * * *", "\"61\" cannot be read as minutes"),
        ("0 0 25 * * *", "\"25\" cannot be read as hours"),
        ("0 0 0 * Foo *", "\"Foo\" cannot be read as months"),
        ("0 0 0 * * 0", "\"0\" cannot be read as days of week"),
        ("0 0 0 * * L", "days of week"),
        ("0 9 * * 8", "\"8\" are not days of week"),
        ("0 9 * * 5-1", "\"5-1\" are not days of week"),
        ("0 0 1, 2 * * *", "\"1,\" is incomplete"),
        ("0 0 0 30 2 *", "no day"),
        ("@fortnightly", "@weekly"),
        ("0 0 * * * * * *", "8 fields"),
    ] {
        let error = wrong.parse::<CronExpr>().unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:?}")) && error.contains(part), "{error}");
        assert!(error.contains("0 30 7 * * Mon-Fri"), "{error}");
    }
    let long = "9\n".repeat(50_000).parse::<CronExpr>().unwrap_err().to_string();
    assert!(long.len() < 500 && !long.contains('\n'), "{long}");
}

#[test]
fn far_ends_of_time_end_quietly() {
    let next = |text: &str, after| expr(text).next(zone("Asia/Kathmandu"), GapRule::After, FoldRule::Both, after);
    assert_eq!(next("* * * * * *", DateTime::<Utc>::MAX_UTC), None);
    assert_eq!(next("0 0 0 1 1 * 2020", utc("2021-01-01 00:00:00")), None);
    assert_eq!(next("0 0 0 1 1 * 2100", DateTime::<Utc>::MIN_UTC), Some(utc("2099-12-31 18:15:00")));
    assert_eq!(next("0 0 0 29 2 *", utc("2096-03-01 00:00:00")), None);
    assert_eq!(
        next("* * * * * *", utc("2026-01-01 00:00:00") + TimeDelta::milliseconds(500)),
        Some(utc("2026-01-01 00:00:01"))
    );
}
