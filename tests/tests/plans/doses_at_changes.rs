//! Fixed plans walked over every change of clocks of every zone.

use chrono::{TimeDelta, Timelike};
use pulsecal_core::doses::{Days, PlanRule, Shift, TimeMeaning, Timing, occurrences};

use crate::oracle::{at, distinct_zones, whole_plan};

#[test]
fn no_dose_is_lost_doubled_or_too_soon_at_any_change() {
    let plans: [(&[&str], i64); 4] = [
        (&["00:15", "01:30", "02:30", "03:30"], 0),
        (&["02:15", "14:15"], 12),
        (&["00:00", "08:00", "16:00"], 4),
        (&["02:00", "03:00"], 1),
    ];
    let mut moved = 0;
    for (zone, changes) in distinct_zones() {
        for change in changes {
            let day = change.old_local().date();
            for (times, min_hours) in plans {
                let times: std::collections::BTreeSet<_> = times.iter().map(|time| at(time)).collect();
                let start = day - TimeDelta::days(2);
                let timing = Timing::TimesOfDay {
                    times: times.clone(),
                    days: Days::Day,
                    start,
                    end: Some(day + TimeDelta::days(2)),
                };
                let min_interval = TimeDelta::hours(min_hours);
                let rule = PlanRule { timing: &timing, meaning: TimeMeaning::WallClock, zone, min_interval };
                let (from, until) = (change.at - TimeDelta::days(5), change.at + TimeDelta::days(9));
                let doses = occurrences(&rule, from, until, None).unwrap();

                let slots: Vec<_> = doses.iter().map(|dose| dose.slot).collect();
                let all: Vec<_> = (0..5)
                    .flat_map(|k| times.iter().map(move |time| (start + TimeDelta::days(k)).and_time(*time)))
                    .collect();
                assert_eq!(slots, all, "{zone} {day}");
                for pair in doses.windows(2) {
                    assert!(pair[1].due - pair[0].due >= min_interval.max(TimeDelta::minutes(30)), "{zone} {pair:?}");
                }
                for dose in &doses {
                    let clock = zone.local(dose.due);
                    match dose.shifted {
                        None | Some(Shift::Fold) => assert_eq!(clock, dose.slot, "{zone}"),
                        Some(Shift::Gap) => {
                            assert_eq!(clock, dose.slot + change.leap(), "{zone}");
                            moved += 1;
                        }
                        Some(Shift::MinInterval) => assert!(clock > dose.slot, "{zone} {dose:?}"),
                        Some(Shift::ZoneChange) => panic!("{zone}: no zone was changed"),
                    }
                    assert_eq!(dose.due.second(), 0, "{zone} {dose:?}");
                }
                let pairs: Vec<_> = doses.iter().map(|dose| (dose.slot, dose.due)).collect();
                assert_eq!(pairs, whole_plan(&rule, until), "{zone} {day}");
            }
        }
    }
    assert!(moved > 1_000, "the changes walked over hold gaps: {moved}");
}

#[test]
fn elapsed_plans_do_not_notice_any_change() {
    for (zone, changes) in distinct_zones() {
        for change in changes {
            let hours = 7;
            let start = change.old_local().date() - TimeDelta::days(1);
            let timing = Timing::EveryHours { hours: hours.try_into().unwrap(), start, first: at("02:30"), end: None };
            let min_interval = TimeDelta::hours(7);
            let rule = PlanRule { timing: &timing, meaning: TimeMeaning::Elapsed, zone, min_interval };
            let doses =
                occurrences(&rule, change.at - TimeDelta::days(1), change.at + TimeDelta::days(2), None).unwrap();
            assert!(doses.len() >= 6);
            assert!(doses.windows(2).all(|pair| pair[1].due - pair[0].due == TimeDelta::hours(7)), "{zone}");
        }
    }
}
