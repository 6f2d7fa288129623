//! The rules of visits, in minutes, days and numbers.

use chrono::TimeDelta;
use serde::Serialize;

/// An organization's rules of visits. The database has the defaults, and the same bounds as [`BOUNDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VisitRules {
    /// A patient may move a visit until so many minutes before it begins.
    pub patient_move_minutes: i32,
    /// A patient may cancel a visit until so many minutes before it begins.
    pub patient_cancel_minutes: i32,
    /// No visit lasts longer, in minutes.
    pub longest_visit_minutes: i32,
    /// No visit begins later than in so many days.
    pub book_ahead_days: i32,
    /// A patient who moves a visit is offered times of so many days …
    pub offer_days: i32,
    /// … every so many minutes from when the clinic opens …
    pub offer_every_minutes: i32,
    /// … so many in all; with 0 patients only ask for another time …
    pub offers: i32,
    /// … and so many of one day.
    pub offers_a_day: i32,
    /// The first reminder is sent so many minutes before the visit.
    pub first_reminder_minutes: i32,
    /// The last reminder is sent so many minutes before the visit.
    pub last_reminder_minutes: i32,
    /// An online visit may be joined from so many minutes before its begin …
    pub join_before_minutes: i32,
    /// … until so many after its end.
    pub join_after_minutes: i32,
}

/// What one of the rules may be.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The rule, by the name of its field.
    pub name: &'static str,
    /// No less.
    pub least: i32,
    /// No more.
    pub most: i32,
    /// What it says, in a sentence.
    pub about: &'static str,
    /// Where it stands.
    pub field: fn(&mut VisitRules) -> &mut i32,
}

/// What each of the rules may be.
pub const BOUNDS: [Bound; 12] = [
    Bound {
        name: "patient_move_minutes",
        least: 0,
        most: 43_200,
        about: "A patient may move a visit until so many minutes before it begins.",
        field: |rules| &mut rules.patient_move_minutes,
    },
    Bound {
        name: "patient_cancel_minutes",
        least: 0,
        most: 43_200,
        about: "A patient may cancel a visit until so many minutes before it begins.",
        field: |rules| &mut rules.patient_cancel_minutes,
    },
    Bound {
        name: "longest_visit_minutes",
        least: 5,
        most: 1440,
        about: "No visit lasts longer.",
        field: |rules| &mut rules.longest_visit_minutes,
    },
    Bound {
        name: "book_ahead_days",
        least: 1,
        most: 1830,
        about: "No visit begins later than in so many days.",
        field: |rules| &mut rules.book_ahead_days,
    },
    Bound {
        name: "offer_days",
        least: 1,
        most: 60,
        about: "A patient who moves a visit is offered times of so many days.",
        field: |rules| &mut rules.offer_days,
    },
    Bound {
        name: "offer_every_minutes",
        least: 10,
        most: 240,
        about: "The times that are offered lie so far apart, from when the clinic opens.",
        field: |rules| &mut rules.offer_every_minutes,
    },
    Bound {
        name: "offers",
        least: 0,
        most: 50,
        about: "So many times are offered in all; with 0 patients only ask for another time.",
        field: |rules| &mut rules.offers,
    },
    Bound {
        name: "offers_a_day",
        least: 1,
        most: 50,
        about: "So many times of one day are offered.",
        field: |rules| &mut rules.offers_a_day,
    },
    Bound {
        name: "first_reminder_minutes",
        least: 10,
        most: 20_160,
        about: "The first reminder is sent so many minutes before the visit; of visits that are booked from now on.",
        field: |rules| &mut rules.first_reminder_minutes,
    },
    Bound {
        name: "last_reminder_minutes",
        least: 5,
        most: 1440,
        about: "The last reminder is sent so many minutes before the visit: fewer than the first.",
        field: |rules| &mut rules.last_reminder_minutes,
    },
    Bound {
        name: "join_before_minutes",
        least: 0,
        most: 1440,
        about: "An online visit may be joined from so many minutes before its begin.",
        field: |rules| &mut rules.join_before_minutes,
    },
    Bound {
        name: "join_after_minutes",
        least: 0,
        most: 1440,
        about: "An online visit may be joined until so many minutes after its end.",
        field: |rules| &mut rules.join_after_minutes,
    },
];

impl VisitRules {
    /// How long before its begin a patient may move a visit.
    pub fn move_until(&self) -> TimeDelta {
        TimeDelta::minutes(self.patient_move_minutes.into())
    }

    /// How long before its begin a patient may cancel a visit.
    pub fn cancel_until(&self) -> TimeDelta {
        TimeDelta::minutes(self.patient_cancel_minutes.into())
    }

    /// The longest visit.
    pub fn longest(&self) -> TimeDelta {
        TimeDelta::minutes(self.longest_visit_minutes.into())
    }

    /// How far ahead visits are booked.
    pub fn ahead(&self) -> TimeDelta {
        TimeDelta::days(self.book_ahead_days.into())
    }

    /// How long before a visit its last reminder is sent.
    pub fn last_reminder(&self) -> TimeDelta {
        TimeDelta::minutes(self.last_reminder_minutes.into())
    }

    /// How long before its begin an online visit may be joined.
    pub fn join_before(&self) -> TimeDelta {
        TimeDelta::minutes(self.join_before_minutes.into())
    }

    /// How long after its end an online visit may be joined.
    pub fn join_after(&self) -> TimeDelta {
        TimeDelta::minutes(self.join_after_minutes.into())
    }

    /// How long before a visit its first reminder is sent.
    pub fn first_reminder(&self) -> TimeDelta {
        TimeDelta::minutes(self.first_reminder_minutes.into())
    }
}
