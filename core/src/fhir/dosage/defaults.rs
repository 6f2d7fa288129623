//! The clock times PulseCal takes where FHIR leaves them to the receiver.
//!
//! | order | times |
//! |---|---|
//! | once, 2, 3, 4 times a day | 08:00; 08:00 20:00; 08:00 14:00 20:00; 08:00 12:00 16:00 20:00 |
//! | 5 to 24 times a day | evenly from 06:00 to 22:00, on five minutes |
//! | `WAKE` | 07:00 |
//! | `MORN.early` `MORN` `MORN.late` | 06:00 08:00 10:00 |
//! | `NOON` | 12:00 |
//! | `AFT.early` `AFT` `AFT.late` | 13:00 14:00 16:00 |
//! | `EVE.early` `EVE` `EVE.late` | 17:00 18:00 20:00 |
//! | `NIGHT`, `HS` (going to bed) | 22:00 |
//! | meals `CM` `CD` `CV` | 08:00 12:00 18:00 |
//! | before a meal `ACM` `ACD` `ACV`, after it `PCM` `PCD` `PCV` | `offset` minutes from the meal, 30 where none is given |
//! | any meal `C`, `AC`, `PC` | all three; once a day breakfast, twice breakfast and dinner |
//! | codes `AM`, `PM`, `BED` | as `MORN`, `EVE`, `HS` |
//! | every n hours | from the time the order starts, else from 08:00 |
//!
//! `PHS` (after going to sleep) gets none: nobody reads a reminder then.

use std::collections::BTreeSet;

use chrono::{NaiveTime, TimeDelta};

/// Minutes between a meal and a dose before or after it, where the order does not say.
pub const MEAL_OFFSET_MINUTES: u32 = 30;

/// Most doses a day that get default times.
pub const MOST_A_DAY: u32 = 24;

/// A time on the full minute; hours and minutes in this file are all valid.
fn at(hour: u32, minute: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or(NaiveTime::MIN)
}

/// The time of the first dose where only a day is known: 08:00.
#[must_use]
pub fn first_dose() -> NaiveTime {
    at(8, 0)
}

/// The times for `n` doses a day; none for 0 or more than [`MOST_A_DAY`].
#[must_use]
pub fn times_a_day(n: u32) -> Option<BTreeSet<NaiveTime>> {
    let hours: &[u32] = match n {
        0 => return None,
        1 => &[8],
        2 => &[8, 20],
        3 => &[8, 14, 20],
        4 => &[8, 12, 16, 20],
        5..=MOST_A_DAY => {
            let spread = |i: u32| {
                let minutes = i * 16 * 60 / (n - 1) / 5 * 5;
                at(6 + minutes / 60, minutes % 60)
            };
            return Some((0..n).map(spread).collect());
        }
        _ => return None,
    };
    Some(hours.iter().map(|hour| at(*hour, 0)).collect())
}

/// What a code of `EventTiming` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A time of day; an offset counts after it.
    At(NaiveTime),
    /// At a named meal; an offset is not allowed.
    Meal(NaiveTime),
    /// Before a meal.
    Before(NaiveTime),
    /// After a meal.
    After(NaiveTime),
    /// At, before or after meals in general, by sign: 0, -1, +1.
    AnyMeal(i8),
}

/// The event of a code; none for codes that have no clock time.
#[must_use]
pub fn event(code: &str) -> Option<Event> {
    let (breakfast, lunch, dinner) = (at(8, 0), at(12, 0), at(18, 0));
    Some(match code {
        "WAKE" => Event::At(at(7, 0)),
        "MORN.early" => Event::At(at(6, 0)),
        "MORN" => Event::At(at(8, 0)),
        "MORN.late" => Event::At(at(10, 0)),
        "NOON" => Event::At(at(12, 0)),
        "AFT.early" => Event::At(at(13, 0)),
        "AFT" => Event::At(at(14, 0)),
        "AFT.late" => Event::At(at(16, 0)),
        "EVE.early" => Event::At(at(17, 0)),
        "EVE" => Event::At(at(18, 0)),
        "EVE.late" => Event::At(at(20, 0)),
        "NIGHT" | "HS" => Event::At(at(22, 0)),
        "C" => Event::AnyMeal(0),
        "CM" => Event::Meal(breakfast),
        "CD" => Event::Meal(lunch),
        "CV" => Event::Meal(dinner),
        "AC" => Event::AnyMeal(-1),
        "ACM" => Event::Before(breakfast),
        "ACD" => Event::Before(lunch),
        "ACV" => Event::Before(dinner),
        "PC" => Event::AnyMeal(1),
        "PCM" => Event::After(breakfast),
        "PCD" => Event::After(lunch),
        "PCV" => Event::After(dinner),
        _ => return None,
    })
}

impl Event {
    /// The clock times, for `frequency` doses a day if that is said; none if they leave the day or cannot be that many.
    #[must_use]
    pub fn times(self, frequency: Option<u32>, offset: Option<u32>) -> Option<Vec<NaiveTime>> {
        let beside = offset.unwrap_or(MEAL_OFFSET_MINUTES);
        let one = |time: NaiveTime, minutes: i64| {
            let (moved, days) = time.overflowing_add_signed(TimeDelta::try_minutes(minutes)?);
            (days == 0).then(|| vec![moved])
        };
        match self {
            Self::At(time) => one(time, offset.unwrap_or(0).into()),
            Self::Meal(time) => Some(vec![time]),
            Self::Before(time) => one(time, -i64::from(beside)),
            Self::After(time) => one(time, beside.into()),
            Self::AnyMeal(sign) => {
                let hours: &[u32] = match frequency {
                    Some(1) => &[8],
                    Some(2) => &[8, 18],
                    None | Some(3) => &[8, 12, 18],
                    Some(_) => return None,
                };
                let minutes = i64::from(sign) * i64::from(beside);
                let meals = hours.iter().map(|hour| one(at(*hour, 0), minutes));
                Some(meals.collect::<Option<Vec<_>>>()?.concat())
            }
        }
    }
}
