//! Properties of plans of any kind in any zone.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use proptest::prelude::*;
use pulsecal_core::doses::{
    Days, PlanRule, Planned, TimeMeaning, Timing, nominal_min_gap, occurrences, replan, resume,
};
use pulsecal_core::time::Zone;

use crate::oracle::{distinct_zones, showings, utc, whole_plan};

/// A timing with a minimum interval it can keep, sometimes none, sometimes all there is room for.
#[derive(Clone, Debug)]
struct Plan {
    timing: Timing,
    min_interval: TimeDelta,
}

impl Plan {
    fn rule(&self, zone: Zone) -> PlanRule<'_> {
        PlanRule { timing: &self.timing, meaning: TimeMeaning::WallClock, zone, min_interval: self.min_interval }
    }

    /// What two doses are at least apart.
    fn spacing(&self) -> TimeDelta {
        let gap = nominal_min_gap(&self.timing).unwrap();
        if self.min_interval.is_zero() { (gap / 2).min(TimeDelta::hours(1)) } else { self.min_interval }
    }
}

fn start() -> impl Strategy<Value = NaiveDate> {
    (2000..2038_i32, 1..=365_u32).prop_map(|(year, day)| NaiveDate::from_yo_opt(year, day).unwrap())
}

fn time() -> impl Strategy<Value = NaiveTime> {
    // Half of the times lie where clocks change.
    let minute = prop_oneof![0..240_u32, 0..1440_u32];
    minute.prop_map(|minute| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap())
}

fn days() -> impl Strategy<Value = Days> {
    let weekday = prop::sample::select(vec![Weekday::Mon, Weekday::Tue, Weekday::Thu, Weekday::Sat, Weekday::Sun]);
    prop_oneof![
        3 => Just(Days::Day),
        1 => prop::collection::vec(weekday, 1..4).prop_map(|on| Days::Weekdays { on }),
        1 => (1..10_u16).prop_map(|n| Days::NthDay { n: n.try_into().unwrap() }),
    ]
}

/// Times spread evenly over the day, or any.
fn times() -> impl Strategy<Value = BTreeSet<NaiveTime>> {
    let evenly = (time(), 1..=4_i64).prop_map(|(first, count)| {
        let nth = |k| first.overflowing_add_signed(TimeDelta::hours(24 / count * k)).0;
        (0..count).map(nth).collect()
    });
    prop_oneof![evenly, prop::collection::btree_set(time(), 1..6)]
}

fn times_of_day() -> impl Strategy<Value = Timing> {
    let end = prop::option::of(0..500_i64);
    (times(), days(), start(), end).prop_map(|(times, days, start, end)| Timing::TimesOfDay {
        times,
        days,
        start,
        end: end.map(|days| start + TimeDelta::days(days)),
    })
}

fn every_hours() -> impl Strategy<Value = Timing> {
    (1..100_u16, start(), time(), prop::option::of(0..500_i64)).prop_map(|(hours, start, first, end)| {
        let end = end.map(|days| start + TimeDelta::days(days));
        Timing::EveryHours { hours: hours.try_into().unwrap(), start, first, end }
    })
}

fn with_interval(timing: impl Strategy<Value = Timing>) -> impl Strategy<Value = Plan> {
    // Close to all the room there is, what a change of clocks moved stays moved for long.
    let share = prop_oneof![Just(0), Just(100), 95..100_i32, 1..100_i32];
    (timing, share).prop_map(|(timing, percent)| {
        let gap = nominal_min_gap(&timing).unwrap();
        Plan { timing, min_interval: TimeDelta::seconds(gap.num_seconds() * i64::from(percent) / 100) }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    with_interval(prop_oneof![4 => times_of_day(), 1 => every_hours()])
}

fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()).prop_map(Zone::from)
}

/// A zone with one of its changes from 2000 to 2040.
fn at_a_change() -> impl Strategy<Value = (Zone, DateTime<Utc>)> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    change.prop_map(|(zone, change)| {
        let zones = distinct_zones();
        let (zone, changes) = zones[zone.index(zones.len())];
        (zone, changes[change.index(changes.len())].at)
    })
}

fn began(timing: &Timing) -> DateTime<Utc> {
    let (Timing::TimesOfDay { start, .. } | Timing::EveryHours { start, .. }) = timing else { unreachable!() };
    start.and_time(NaiveTime::MIN).and_utc()
}

fn with_start(plan: &Plan, new: NaiveDate) -> Plan {
    let mut plan = plan.clone();
    if let Timing::TimesOfDay { start, end, .. } | Timing::EveryHours { start, end, .. } = &mut plan.timing {
        (*start, *end) = (new, None);
    }
    plan
}

fn pairs(doses: &[Planned]) -> Vec<(chrono::NaiveDateTime, DateTime<Utc>)> {
    doses.iter().map(|dose| (dose.slot, dose.due)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Any range of any plan is what a walk from its first dose finds there: nothing lost, doubled or drifted.
    #[test]
    fn a_range_is_its_part_of_the_whole(plan in plan(), zone in any_zone(), from in -90..700_i64, hours in 0..400_i64) {
        let rule = plan.rule(zone);
        let from = began(&plan.timing) + TimeDelta::hours(from * 24 + 5);
        let until = from + TimeDelta::hours(hours);
        let mut expected = whole_plan(&rule, until);
        expected.retain(|(_, due)| *due >= from);
        prop_assert_eq!(pairs(&occurrences(&rule, from, until, None).unwrap()), expected);
    }

    /// The same right at a change of clocks, in a plan that began up to a year and a half before it.
    #[test]
    fn a_range_at_a_change_is_its_part_of_the_whole(
        plan in plan(), (zone, change) in at_a_change(), age in 0..550_i64, before in -40..40_i64, hours in 0..200_i64,
    ) {
        let plan = with_start(&plan, change.date_naive() - TimeDelta::days(age));
        let rule = plan.rule(zone);
        let from = change - TimeDelta::hours(before);
        let until = from + TimeDelta::hours(hours);
        let mut expected = whole_plan(&rule, until);
        expected.retain(|(_, due)| *due >= from);
        prop_assert_eq!(pairs(&occurrences(&rule, from, until, None).unwrap()), expected);
    }

    /// However a stretch of time is cut, and whether or not the last dose is handed on, the doses are the same.
    #[test]
    fn cuts_make_no_difference(
        plan in plan(), (zone, change) in at_a_change(), age in 0..100_i64,
        cuts in prop::collection::btree_set(0..14 * 86_400_i64, 0..12),
    ) {
        let plan = with_start(&plan, change.date_naive() - TimeDelta::days(age));
        let rule = plan.rule(zone);
        let (from, until) = (change - TimeDelta::days(7), change + TimeDelta::days(7));
        let whole = occurrences(&rule, from, until, None).unwrap();
        let ends: Vec<_> = cuts.iter().map(|cut| from + TimeDelta::seconds(*cut)).chain([until]).collect();
        let (mut alone, mut handed_on): (Vec<Planned>, Vec<Planned>) = (Vec::new(), Vec::new());
        let mut begin = from;
        for end in ends {
            alone.extend(occurrences(&rule, begin, end, None).unwrap());
            let last = handed_on.last().map(|dose| dose.due);
            handed_on.extend(occurrences(&rule, begin, end, last).unwrap());
            begin = end;
        }
        prop_assert_eq!(&alone, &whole);
        prop_assert_eq!(&handed_on, &whole);
        prop_assert!(whole.is_sorted_by(|a, b| a.due + plan.spacing() <= b.due && a.slot < b.slot));
        prop_assert!(whole.iter().all(|dose| dose.due >= from && dose.due < until));
    }

    /// A dose is due when clocks first show its slot, or later for a reason that is given.
    #[test]
    fn the_clock_shows_the_slot_or_there_is_a_reason(plan in with_interval(times_of_day()), (zone, change) in at_a_change()) {
        let plan = with_start(&plan, change.date_naive() - TimeDelta::days(30));
        let rule = plan.rule(zone);
        for dose in occurrences(&rule, change - TimeDelta::days(3), change + TimeDelta::days(3), None).unwrap() {
            let first_shown = showings(zone, dose.slot).first() == Some(&dose.due);
            prop_assert_eq!(first_shown, matches!(dose.shifted, None | Some(pulsecal_core::doses::Shift::Fold)), "{:?}", dose);
            prop_assert_eq!(dose.explain(zone).is_none(), dose.shifted.is_none());
        }
    }

    /// From any zone to any zone at any instant: every slot once, in order, none before the change, none too soon.
    #[test]
    fn a_journey_keeps_every_dose_and_the_minimum_interval(
        plan in plan(), old in any_zone(), new in any_zone(), hour in 0..1000_i64, second in 0..3600_i64,
    ) {
        let plan = with_start(&plan, utc("2026-02-20 00:00:00").date_naive());
        let meaning = TimeMeaning::WallClock;
        let (rule_old, rule_new) = (PlanRule { meaning, ..plan.rule(old) }, plan.rule(new));
        let elapsed = matches!(plan.timing, Timing::EveryHours { .. });
        // Elapsed plans keep the zone of their first dose.
        let rule_new = if elapsed { rule_old } else { rule_new };
        let change = utc("2026-02-22 00:00:00") + TimeDelta::seconds(hour * 3600 + second);
        let (until, later) = (change + TimeDelta::days(12), change + TimeDelta::days(20));
        let old_plan = occurrences(&rule_old, utc("2026-02-01 00:00:00"), later, None).unwrap();
        let (done, to_come): (Vec<_>, Vec<_>) = old_plan.into_iter().partition(|dose| dose.due < change);
        let Some(next) = to_come.first() else { return Ok(()) };
        let previous = done.last().map(|dose| dose.due);

        let there = resume(&rule_new, next.slot, change, until, previous).unwrap();
        let last = there.last().map(|dose| dose.due).or(previous);
        let after = occurrences(&rule_new, until, later, last).unwrap();
        let all: Vec<Planned> = [done.clone(), there.clone(), after].concat();
        prop_assert!(all.is_sorted_by(|a, b| a.due + plan.spacing() <= b.due), "{:#?}", all);
        prop_assert!(there.iter().all(|dose| dose.due >= change));
        // Every slot of the rule, as a plan in the new zone alone would have them.
        let slots: Vec<_> = all.iter().map(|dose| dose.slot).collect();
        let alone = occurrences(&rule_new, utc("2026-02-01 00:00:00"), later, None).unwrap();
        prop_assert_eq!(slots, alone.iter().map(|dose| dose.slot).collect::<Vec<_>>());
        // Days after the journey nothing is left of it, if there is slack to make it up.
        let slack = nominal_min_gap(&plan.timing).unwrap() - plan.spacing() > TimeDelta::hours(6);
        if slack && plan.min_interval < TimeDelta::hours(20) {
            let tail: BTreeSet<_> = alone.iter().filter(|dose| dose.due > until).map(|dose| dose.due).collect();
            prop_assert!(all.iter().filter(|dose| dose.due > until).all(|dose| tail.contains(&dose.due)));
        }

        // Planned again while doses that the journey moved are still to come, nothing changes.
        let again = change + TimeDelta::seconds(hour * 997);
        let (over, still): (Vec<_>, Vec<_>) = there.into_iter().partition(|dose| dose.due < again);
        if let Some(next) = still.first() {
            let last = over.last().or(done.last()).map(|dose| dose.due);
            let anew = resume(&rule_new, next.slot, again, until, last).unwrap();
            prop_assert_eq!(replan(&pairs(&still), &anew), []);
        }

        // Without knowing the slot, the interval is kept all the same.
        let blunt = occurrences(&rule_new, change, until, previous).unwrap();
        let dues: Vec<_> = previous.into_iter().chain(blunt.iter().map(|dose| dose.due)).collect();
        prop_assert!(dues.is_sorted_by(|a, b| *a + plan.spacing() <= *b));
    }
}

#[test]
fn planning_does_not_walk_there() {
    // Without slack the past matters for ever; a plan of a century must still be a matter of milliseconds.
    let timing = Timing::TimesOfDay {
        times: (0..24).map(|hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap()).collect(),
        days: Days::Day,
        start: NaiveDate::from_ymd_opt(1975, 1, 1).unwrap(),
        end: None,
    };
    let plan = Plan { timing, min_interval: TimeDelta::hours(1) };
    let rule = plan.rule(chrono_tz::Europe::Berlin.into());
    let began = std::time::Instant::now();
    for day in 0..10 {
        let from = utc("2090-01-01 00:00:00") + TimeDelta::days(day);
        assert_eq!(occurrences(&rule, from, from + TimeDelta::days(1), None).unwrap().len(), 24);
    }
    // A walk over its million slots would take seconds here.
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
