//! When a medicine is taken: the structured timing of a prescription.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use chrono::{NaiveDate, NaiveTime, Weekday};
use serde::{Deserialize, Serialize};

/// The structured timing of a prescription, as stored in `prescriptions.timing` and
/// `medication_reminders.timing` (JSON, tagged by `kind`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Timing {
    /// At fixed times of the local day, on the days that `days` names.
    TimesOfDay {
        /// Local times, at least one, no two alike.
        times: BTreeSet<NaiveTime>,
        /// The days on which the times hold.
        days: Days,
        /// First local day of the plan.
        start: NaiveDate,
        /// Last local day of the plan, inclusive; open-ended when absent.
        end: Option<NaiveDate>,
    },
    /// Every n hours of elapsed time, from a local moment on: keeps its spacing through clock changes.
    EveryHours {
        /// Hours between two doses, 1 to 720.
        hours: NonZeroU16,
        /// First local day; with `first`, the anchor of all the doses.
        start: NaiveDate,
        /// Local time of the first dose on `start`.
        first: NaiveTime,
        /// Last local day of the plan, inclusive; open-ended when absent.
        end: Option<NaiveDate>,
    },
    /// As needed (PRN): no reminders at all.
    AsNeeded,
}

/// The days on which times of day hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "every", rename_all = "snake_case", deny_unknown_fields)]
pub enum Days {
    /// Each day.
    Day,
    /// On these weekdays, at least one.
    Weekdays {
        /// The weekdays, as `Mon` … `Sun`.
        on: Vec<Weekday>,
    },
    /// Every n-th day counted from the start, 1 to 366.
    NthDay {
        /// Days between two days with doses.
        n: NonZeroU16,
    },
}

/// What a reminder's times mean when the patient travels or clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeMeaning {
    /// Wall clock of wherever the patient's zone says they are ("follow me").
    WallClock,
    /// Elapsed time between doses; clock changes and travel do not move it.
    Elapsed,
    /// Wall clock of a fixed home zone, wherever the patient is.
    HomeZone,
}
