//! Plans of patients who travel, and what a new plan changes.

use chrono::{DateTime, NaiveDateTime, Utc};
use pulsecal_core::doses::{PlanChange, occurrences, replan, resume};

use crate::doses_named::{plan, shown};
use crate::oracle::{daily, local, utc, wall};

/// A patient flies from New York to Tokyo and back with a plan of twice a day.
#[test]
fn a_journey_loses_no_dose_and_doubles_none() {
    let timing = daily(&["08:00", "20:00"], "2026-06-01");
    let (new_york, tokyo) = (wall(&timing, "America/New_York", 8), wall(&timing, "Asia/Tokyo", 8));
    let before = plan(&new_york, "2026-06-01 00:00:00", "2026-06-20 00:00:00");
    // On the 10th at 07:00 in New York it is 20:00 in Tokyo.
    let arrival = utc("2026-06-10 11:00:00");
    let (done, to_come): (Vec<_>, Vec<_>) = before.into_iter().partition(|dose| dose.due < arrival);
    // On the 12th at 21:00 in Tokyo, 08:00 in New York, they are back.
    let back = utc("2026-06-12 12:00:00");
    let there = resume(&tokyo, to_come[0].slot, arrival, back, done.last().map(|dose| dose.due)).unwrap();
    assert_eq!(
        shown(&tokyo, &there),
        [
            "10 08:00 -> 10 20:00 ZoneChange",
            "10 20:00 -> 11 04:00 MinInterval",
            "11 08:00 -> 11 12:00 MinInterval",
            "11 20:00 -> 11 20:00",
            "12 08:00 -> 12 08:00",
            "12 20:00 -> 12 20:00",
        ]
    );
    let sentence = there[0].explain(tokyo.zone).unwrap();
    assert_eq!(sentence, "08:00 had gone by when the time zone changed, so 20:00");

    // The evening dose of the 12th was due in Tokyo, and is not asked for again in New York.
    let previous = there.last().map(|dose| dose.due);
    let home = resume(&new_york, local("2026-06-13 08:00:00"), back, utc("2026-06-14 00:00:00"), previous).unwrap();
    assert_eq!(shown(&new_york, &home), ["13 08:00 -> 13 08:00"]);

    // Rolling on from there, the next stretch takes over where this one ends.
    let next = occurrences(
        &new_york,
        utc("2026-06-14 00:00:00"),
        utc("2026-06-15 00:00:00"),
        home.last().map(|dose| dose.due),
    )
    .unwrap();
    assert_eq!(shown(&new_york, &next), ["13 20:00 -> 13 20:00", "14 08:00 -> 14 08:00"]);
}

#[test]
fn the_difference_of_two_plans_can_be_applied_and_logged() {
    let timing = daily(&["08:00"], "2026-06-01");
    let (berlin, lisbon) = (wall(&timing, "Europe/Berlin", 0), wall(&timing, "Europe/Lisbon", 0));
    let (from, until) = ("2026-06-01 00:00:00", "2026-06-04 00:00:00");
    let existing: Vec<(NaiveDateTime, DateTime<Utc>)> =
        plan(&berlin, from, until).iter().map(|dose| (dose.slot, dose.due)).collect();
    let new = plan(&lisbon, "2026-06-02 00:00:00", "2026-06-05 00:00:00");
    let moved = |slot: &str, from: &str, to: &str| PlanChange::Move { slot: local(slot), from: utc(from), to: utc(to) };
    assert_eq!(
        replan(&existing, &new),
        [
            PlanChange::Drop { slot: local("2026-06-01 08:00:00") },
            moved("2026-06-02 08:00:00", "2026-06-02 06:00:00", "2026-06-02 07:00:00"),
            moved("2026-06-03 08:00:00", "2026-06-03 06:00:00", "2026-06-03 07:00:00"),
            PlanChange::Add(new[2]),
        ]
    );
    let applied: Vec<_> = new.iter().map(|dose| (dose.slot, dose.due)).collect();
    assert_eq!(replan(&applied, &new), []);
}
