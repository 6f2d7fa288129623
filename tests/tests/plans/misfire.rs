//! What becomes of slots that nobody fired in time.

use std::fmt::Debug;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::time::misfire::SlotVerdict;
use pulsecal_core::time::{FoldRule, GapRule, Misfire, MisfirePolicy, MissReason, OverlapPolicy};

use crate::oracle::utc;

/// Slots each 10 minutes from 10:00 to 12:00, looked at 30 s after the last.
fn after_an_outage(policy: &str, window_minutes: i64) -> Vec<(DateTime<Utc>, SlotVerdict)> {
    let due: Vec<_> = (0..=12).map(|k| utc("2026-06-01 10:00:00") + TimeDelta::minutes(10 * k)).collect();
    let misfire = Misfire { policy: policy.parse().unwrap(), window: TimeDelta::minutes(window_minutes) };
    let verdicts = misfire.judge(&due, utc("2026-06-01 12:00:30"));
    assert_eq!(verdicts.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), due, "each slot is accounted for, in order");
    verdicts
}

fn fired(verdicts: &[(DateTime<Utc>, SlotVerdict)]) -> Vec<String> {
    let fired = verdicts.iter().filter(|(_, verdict)| *verdict == SlotVerdict::Fire);
    fired.map(|(slot, _)| slot.format("%H:%M").to_string()).collect()
}

fn missed(verdicts: &[(DateTime<Utc>, SlotVerdict)], reason: MissReason) -> usize {
    verdicts.iter().filter(|(_, verdict)| *verdict == SlotVerdict::Missed { reason }).count()
}

#[test]
fn coalesce_fires_the_newest_for_all() {
    let verdicts = after_an_outage("coalesce", 60);
    assert_eq!(fired(&verdicts), ["12:00"]);
    assert_eq!(missed(&verdicts, MissReason::Coalesced), 5);
    assert_eq!(missed(&verdicts, MissReason::TooLate), 7);
}

#[test]
fn catch_up_fires_the_newest_few_oldest_first() {
    let verdicts = after_an_outage("catch_up:3", 60);
    assert_eq!(fired(&verdicts), ["11:40", "11:50", "12:00"]);
    assert_eq!(missed(&verdicts, MissReason::OverLimit), 3);
    assert_eq!(missed(&verdicts, MissReason::TooLate), 7);
    assert_eq!(fired(&after_an_outage("catch_up:100", 600)).len(), 13);
}

#[test]
fn skip_fires_what_is_on_time_and_nothing_else() {
    let verdicts = after_an_outage("skip", 600);
    assert_eq!(fired(&verdicts), ["12:00"]);
    assert_eq!(missed(&verdicts, MissReason::Skipped), 12);

    let skip = Misfire { policy: MisfirePolicy::Skip, window: TimeDelta::hours(10) };
    let late = skip.judge(&[utc("2026-06-01 12:00:00")], utc("2026-06-01 12:01:01"));
    assert_eq!(missed(&late, MissReason::Skipped), 1);
}

#[test]
fn a_tick_that_takes_a_moment_misses_nothing() {
    for policy in ["coalesce", "catch_up:1", "skip"] {
        let misfire = Misfire { policy: policy.parse().unwrap(), window: TimeDelta::zero() };
        let slot = utc("2026-06-01 12:00:00");
        assert_eq!(misfire.judge(&[slot], slot + TimeDelta::seconds(45)), [(slot, SlotVerdict::Fire)], "{policy}");
    }
}

#[test]
fn the_edge_of_the_window_is_within_it() {
    let misfire = Misfire { policy: MisfirePolicy::Coalesce, window: TimeDelta::hours(1) };
    let slot = utc("2026-06-01 12:00:00");
    assert_eq!(misfire.judge(&[slot], utc("2026-06-01 13:00:00")), [(slot, SlotVerdict::Fire)]);
    let reason = MissReason::TooLate;
    assert_eq!(misfire.judge(&[slot], utc("2026-06-01 13:00:01")), [(slot, SlotVerdict::Missed { reason })]);
}

#[test]
fn what_is_not_due_or_given_twice_is_left_out() {
    let misfire =
        Misfire { policy: MisfirePolicy::CatchUp { limit: 9.try_into().unwrap() }, window: TimeDelta::hours(1) };
    let (early, late) = (utc("2026-06-01 12:00:00"), utc("2026-06-01 12:10:00"));
    assert_eq!(misfire.judge(&[late, early, early], utc("2026-06-01 12:05:00")), [(early, SlotVerdict::Fire)]);
    assert_eq!(misfire.judge(&[], early), []);
}

#[test]
fn words_stand_for_choices_and_back() {
    fn same<T: FromStr + ToString + Debug>(words: &[&str])
    where
        T::Err: Debug,
    {
        for word in words {
            assert_eq!(word.parse::<T>().unwrap().to_string(), *word);
        }
        assert!("".parse::<T>().is_err() && "SKIP".parse::<T>().is_err());
    }
    same::<MisfirePolicy>(&["coalesce", "catch_up:7", "skip"]);
    same::<OverlapPolicy>(&["skip", "allow"]);
    same::<GapRule>(&["after", "skip"]);
    same::<FoldRule>(&["first", "second", "both"]);
    same::<MissReason>(&["too_late", "coalesced", "over_limit", "skipped", "overlap"]);
    assert_eq!(serde_json::to_string(&"catch_up:7".parse::<MisfirePolicy>().unwrap()).unwrap(), "\"catch_up:7\"");
    assert_eq!(serde_json::from_str::<OverlapPolicy>("\"allow\"").unwrap(), OverlapPolicy::Allow);
    for wrong in ["catch_up", "catch_up:0", "catch_up:-1", "catch_up:x"] {
        let error = wrong.parse::<MisfirePolicy>().unwrap_err().to_string();
        assert!(error.contains(wrong) && error.contains("coalesce"), "{error}");
    }
}
