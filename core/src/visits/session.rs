//! The session of an online visit: who may join, when, and where it takes place.
//!
//! A session has no state of its own: it is scheduled, under way or over as its visit is. So the two never disagree.

use chrono::{DateTime, Utc};

use super::{Open, VisitError, state_of};
use crate::clinic::VisitRules;
use crate::ids::PersonId;
use crate::store::visits::Visit;

/// The states of a session.
pub const SESSION_STATES: [&str; 5] = ["scheduled", "in_progress", "completed", "cancelled", "no_show"];

/// When a session may be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From.
    pub opens_at: DateTime<Utc>,
    /// Until.
    pub closes_at: DateTime<Utc>,
}

impl Window {
    /// The window of a visit, by the rules of its clinic.
    pub fn of(visit: &Visit, rules: &VisitRules) -> Self {
        Self { opens_at: visit.starts_at - rules.join_before(), closes_at: visit.ends_at + rules.join_after() }
    }

    /// Whether it is open.
    pub fn is_open(self, now: DateTime<Utc>) -> bool {
        (self.opens_at..self.closes_at).contains(&now)
    }
}

/// The state of the session of a visit: one of [`SESSION_STATES`].
pub fn session_state(visit: &Visit) -> &'static str {
    match state_of(visit) {
        "requested" | "confirmed" | "checked_in" => "scheduled",
        "in_consultation" => "in_progress",
        "completed" => "completed",
        "no_show" => "no_show",
        _ => "cancelled",
    }
}

/// Who joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// The patient, by their link: they are here then.
    Patient,
    /// One of the staff; only the visit's doctor may.
    Staff(PersonId),
}

impl Open {
    /// Where the session takes place: the address that staff gave the visit, else its room in the clinic's meetings.
    fn meeting(&self) -> Option<String> {
        if let Some(given) = &self.visit.meeting_url {
            return Some(given.clone());
        }
        let (template, room) = (self.rules.meeting_url_template.as_ref()?, self.visit.meeting_room.as_ref()?);
        Some(template.replace("{room}", room))
    }

    /// Joins the session. Gives its address, and whether that changed anything: a patient who joins is checked in, and when
    /// both are there the visit begins.
    ///
    /// # Errors
    /// [`VisitError`]; outside its time [`VisitError::NotNow`].
    pub async fn join(&mut self, who: Joins) -> Result<(String, bool), VisitError> {
        let now = self.tx.now();
        if self.visit.mode != "virtual" {
            return Err(VisitError::InPerson);
        }
        if let Joins::Staff(person) = who
            && self.visit.doctor != Some(person)
        {
            return Err(VisitError::NotTheirs);
        }
        let state = state_of(&self.visit);
        if state == "requested" {
            return Err(VisitError::Order { state, first: "confirm it first." });
        }
        if !["scheduled", "in_progress"].contains(&session_state(&self.visit)) {
            return Err(VisitError::Order { state, first: "it cannot be joined any more." });
        }
        let window = Window::of(&self.visit, &self.rules.visits);
        if !window.is_open(now) {
            return Err(VisitError::NotNow(window));
        }
        let url = self.meeting().ok_or(VisitError::NoMeeting)?;
        let before = self.visit.clone();
        match who {
            Joins::Patient => {
                self.visit.patient_joined_at.get_or_insert(now);
                if state == "confirmed" {
                    self.arrive(now);
                }
            }
            Joins::Staff(_) => {
                self.visit.doctor_joined_at.get_or_insert(now);
            }
        }
        let here = self.visit.status == "checked-in" && self.visit.started_at.is_none();
        if here && self.visit.doctor_joined_at.is_some() && self.visit.patient_joined_at.is_some() {
            self.visit.checked_in_at.get_or_insert(now);
            self.visit.started_at = Some(now);
        }
        let changed = self.visit != before;
        if changed {
            self.settle("somebody has joined").await?;
        }
        Ok((url, changed))
    }
}
