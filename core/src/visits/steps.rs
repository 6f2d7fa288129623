//! The steps of the day of a visit: checked in, begun, completed; and what ends it otherwise: declined, or nobody came.
//!
//! The status stays what FHIR knows ([decision 0015](../../docs/decisions/0015-visits.md)): who is with the doctor is still
//! `checked-in`, with an instant since when; a visit that was declined is `cancelled`, with that as its reason.

use chrono::{DateTime, TimeDelta, Utc};

use super::{MakeJob, Open, Says, VisitError, cancel_older_mails, enqueue_mails};
use crate::store::visits::{self, Visit};

/// A patient checks in so long before the visit at most.
const EARLIEST: TimeDelta = TimeDelta::hours(4);
/// What happened at a visit is put on record so long after its end at most.
const LATEST: TimeDelta = TimeDelta::hours(24);

/// The states of a visit, as a clinic names them.
pub const STATES: [&str; 8] =
    ["requested", "confirmed", "checked_in", "in_consultation", "completed", "cancelled", "declined", "no_show"];

/// The state of a visit, as a clinic names it: one of [`STATES`]. A visit that was moved is confirmed, for its new time.
pub fn state_of(visit: &Visit) -> &'static str {
    match visit.status.as_str() {
        "proposed" | "pending" | "waitlist" => "requested",
        "booked" => "confirmed",
        "arrived" | "checked-in" if visit.started_at.is_some() => "in_consultation",
        "arrived" | "checked-in" => "checked_in",
        "fulfilled" => "completed",
        "noshow" => "no_show",
        _ if visit.cancel_reason.as_deref() == Some("declined") => "declined",
        _ => "cancelled",
    }
}

impl Open {
    /// The status is one of these, or what comes first is said.
    fn after(&self, statuses: &[&str], first: &'static str) -> Result<(), VisitError> {
        if statuses.contains(&self.visit.status.as_str()) {
            return Ok(());
        }
        Err(VisitError::Order { state: state_of(&self.visit), first })
    }

    /// It is the day of the visit: from a while before its begin until a day after its end.
    fn on_the_day(&self, now: DateTime<Utc>) -> Result<(), VisitError> {
        if now < self.visit.starts_at - EARLIEST {
            return Err(VisitError::Early(EARLIEST.num_hours()));
        }
        if now > self.visit.ends_at + LATEST { Err(VisitError::Past) } else { Ok(()) }
    }

    /// Writes the visit as it is by now; what still waited to be mailed about it is no longer of use.
    pub(super) async fn settle(&mut self, why: &str) -> Result<(), VisitError> {
        let (now, sequence) = (self.tx.now(), self.visit.sequence);
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        cancel_older_mails(&mut self.tx, &self.visit, sequence, why).await?;
        Ok(())
    }

    /// The patient is here; also one who comes after all. False: they were here before.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn check_in(&mut self) -> Result<bool, VisitError> {
        if self.visit.status == "checked-in" {
            return Ok(false);
        }
        self.after(&["pending", "booked", "arrived", "noshow"], "it cannot be checked in any more.")?;
        let now = self.tx.now();
        self.on_the_day(now)?;
        self.arrive(now);
        self.settle("the patient is here").await?;
        Ok(true)
    }

    pub(super) fn arrive(&mut self, now: DateTime<Utc>) {
        self.visit.status = "checked-in".into();
        self.visit.checked_in_at = Some(now);
    }

    /// The doctor begins. False: they had begun.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn start(&mut self) -> Result<bool, VisitError> {
        self.after(&["checked-in"], "check the patient in first.")?;
        if self.visit.started_at.is_some() {
            return Ok(false);
        }
        let now = self.tx.now();
        self.on_the_day(now)?;
        // One that another system checked in has no instant of it.
        self.visit.checked_in_at.get_or_insert(now);
        self.visit.started_at = Some(now);
        self.settle("the visit has begun").await?;
        Ok(true)
    }

    /// The visit is over, and took place. False: it was over.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn complete(&mut self) -> Result<bool, VisitError> {
        if self.visit.status == "fulfilled" {
            return Ok(false);
        }
        self.after(&["checked-in"], "check the patient in and start it first.")?;
        if self.visit.started_at.is_none() {
            return Err(VisitError::Order { state: state_of(&self.visit), first: "start it first." });
        }
        let now = self.tx.now();
        self.on_the_day(now)?;
        self.visit.status = "fulfilled".into();
        self.visit.completed_at = Some(now);
        self.settle("the visit is over").await?;
        Ok(true)
    }

    /// The clinic does not grant a visit that was asked for; the patient is told. False: it had declined.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn decline(&mut self, job: MakeJob) -> Result<bool, VisitError> {
        if state_of(&self.visit) == "declined" {
            return Ok(false);
        }
        self.after(
            &["proposed", "pending", "waitlist"],
            "only what is asked for is declined. What is agreed is cancelled.",
        )?;
        let now = self.tx.now();
        let before = self.visit.sequence;
        self.visit.status = "cancelled".into();
        self.visit.sequence += 1;
        self.visit.cancel_reason = Some("declined".into());
        self.visit.cancelled_at = Some(now);
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        cancel_older_mails(&mut self.tx, &self.visit, before, "the visit is declined").await?;
        enqueue_mails(&mut self.tx, &self.visit, Some(Says::Declined), &self.rules.visits, job).await?;
        Ok(true)
    }

    /// Nobody came. False: that was known.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn no_show(&mut self) -> Result<bool, VisitError> {
        if self.visit.status == "noshow" {
            return Ok(false);
        }
        self.after(&["booked", "pending"], "somebody came, or it was called off.")?;
        let now = self.tx.now();
        if now < self.visit.starts_at {
            return Err(VisitError::Early(0));
        }
        self.visit.status = "noshow".into();
        self.settle("nobody came").await?;
        Ok(true)
    }
}
