//! Visits: booked, moved, confirmed and cancelled, and the mail that each of these causes.
//!
//! One rule holds them together: **a mail about a visit is right when the mail server takes it.** A mail is promised under a
//! shared lock of its visit; a change takes the lock alone, and waits until mails that were promised are settled
//! ([`to_change`]). So no change commits while a mail of the state before is on its way.

pub mod change;
pub mod free;
mod session;
mod steps;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clinic::VisitRules;
use crate::ids::{AppointmentId, OrgId};
use crate::ledger::NewJob;
use crate::store::visits::Visit;
use crate::store::{DbError, Tx, control};

pub use change::{Booking, Change, Open, VisitError, book, to_change};
pub use session::{Joins, SESSION_STATES, Window, session_state};
pub use steps::{STATES, state_of};

/// The statuses of a visit, as FHIR names them.
pub const STATUSES: [&str; 10] = [
    "proposed",
    "pending",
    "booked",
    "arrived",
    "fulfilled",
    "cancelled",
    "noshow",
    "entered-in-error",
    "checked-in",
    "waitlist",
];
/// The kinds of visits.
pub const KINDS: [&str; 5] = ["new", "follow_up", "check_up", "procedure", "other"];
/// Where visits take place.
pub const MODES: [&str; 2] = ["in_person", "virtual"];
/// Why visits are cancelled.
pub const CANCEL_REASONS: [&str; 5] = ["patient", "clinic", "doctor_away", "duplicate", "other"];

/// One attempt to send a mail about a visit lasts no longer: a promise that is older binds nobody.
pub const SEND_LIMIT: Duration = Duration::from_secs(110);

/// The kind of the jobs and messages about visits.
pub const APPOINTMENT_MAIL: &str = "appointment_mail";

/// What a mail about a visit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It is booked.
    Booked,
    /// It takes place at another time or place.
    Moved,
    /// It does not take place.
    Cancelled,
    /// The clinic does not grant it.
    Declined,
    /// The first reminder: a day before, where nothing else is set.
    DayBefore,
    /// The last reminder: an hour before, where nothing else is set.
    HourBefore,
}

impl Says {
    /// The reminders, latest first, with the time before the visit at which the organization has each sent.
    pub fn reminders(rules: &VisitRules) -> [(Self, TimeDelta); 2] {
        [(Self::HourBefore, rules.last_reminder()), (Self::DayBefore, rules.first_reminder())]
    }

    /// Its word in keys and in the message log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Moved => "moved",
            Self::Cancelled => "cancelled",
            Self::Declined => "declined",
            Self::DayBefore => "day_before",
            Self::HourBefore => "hour_before",
        }
    }
}

/// One mail about one state of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitMail {
    /// Whose.
    pub org: OrgId,
    /// The visit.
    pub visit: AppointmentId,
    /// The sequence that it is about: a change of time, place or status makes another, and older mails lapse.
    pub sequence: i32,
    /// What it says.
    pub says: Says,
}

impl VisitMail {
    /// What tells it from all others: visit, sequence, word.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.visit, self.sequence, self.says.as_str())
    }
}

/// Makes the job that sends a mail. Jobs are defined outside this crate, so who changes a visit says how.
pub type MakeJob = fn(VisitMail) -> Result<NewJob, serde_json::Error>;

/// Whether a visit in this status is going to take place.
pub fn is_open(status: &str) -> bool {
    matches!(status, "proposed" | "pending" | "booked" | "waitlist")
}

/// Whether a visit in this status was called off, or never meant.
pub fn is_off(status: &str) -> bool {
    matches!(status, "cancelled" | "entered-in-error")
}

/// What the patient must hear of a change that another system made and an import brought; none: nothing. A visit that was not
/// known before is nothing to tell: the system that it comes from has done so. Of what is over nothing is told.
pub fn tells(before: &Visit, after: &Visit, now: DateTime<Utc>) -> Option<Says> {
    let was_ahead = is_open(&before.status) && before.starts_at > now;
    if after.starts_at <= now || before.sequence == after.sequence {
        return None;
    }
    if is_off(&after.status) {
        return was_ahead.then_some(Says::Cancelled);
    }
    if !is_open(&after.status) {
        return None;
    }
    if !was_ahead {
        return Some(Says::Booked);
    }
    if (before.starts_at, before.ends_at, before.doctor) != (after.starts_at, after.ends_at, after.doctor) {
        return Some(Says::Moved);
    }
    (after.status == "booked").then_some(Says::Booked)
}

/// A promise to send that is older than this binds nobody: the attempt that made it is over.
pub(crate) fn binding() -> TimeDelta {
    TimeDelta::from_std(SEND_LIMIT + Duration::from_secs(10)).unwrap_or(TimeDelta::MAX)
}

/// Enqueues the mail that says what happened, and for a visit that is booked its reminders. A reminder whose time is over is
/// left out: whoever books two hours ahead needs none for the day before.
///
/// # Errors
/// Postgres.
pub async fn enqueue_mails(
    tx: &mut Tx,
    visit: &Visit,
    says: Option<Says>,
    rules: &VisitRules,
    job: MakeJob,
) -> Result<(), DbError> {
    let now = tx.now();
    let mut jobs = Vec::with_capacity(3);
    let mail = |says| VisitMail { org: visit.org, visit: visit.id, sequence: visit.sequence, says };
    let new = |says| job(mail(says)).map_err(|error| DbError::Encode(error.into()));
    if let Some(says) = says {
        jobs.push(new(says)?.expires_at(visit.starts_at));
    }
    if visit.status == "booked" {
        let mut until = visit.starts_at;
        for (says, before) in Says::reminders(rules) {
            let at = visit.starts_at - before;
            if at > now {
                jobs.push(new(says)?.at(at).expires_at(until));
            }
            until = at;
        }
    }
    tx.enqueue_all(jobs).await?;
    Ok(())
}

/// Ends the waiting mails about a sequence that no longer holds. What runs already sees for itself.
pub(crate) async fn cancel_older_mails(tx: &mut Tx, visit: &Visit, sequence: i32, why: &str) -> Result<(), DbError> {
    let all = [Says::Booked, Says::Moved, Says::Cancelled, Says::Declined, Says::DayBefore, Says::HourBefore];
    let keys: Vec<String> = all.map(|says| VisitMail { org: visit.org, visit: visit.id, sequence, says }.key()).into();
    let waiting = control::waiting(tx.conn(), APPOINTMENT_MAIL, &keys).await?;
    control::end_waiting(tx.conn(), &waiting, why).await?;
    Ok(())
}

/// Why a mail must not go out, as its visit is at `now`; none: it is right to send it. The last reminder is sent
/// `last_reminder` before the visit.
pub fn stale(
    visit: &Visit,
    reachable: bool,
    last_reminder: TimeDelta,
    mail: &VisitMail,
    now: DateTime<Utc>,
) -> Option<&'static str> {
    if visit.sequence != mail.sequence {
        return Some(if is_off(&visit.status) {
            "the visit is cancelled"
        } else {
            "the visit was changed after this mail was planned"
        });
    }
    let fits = match mail.says {
        Says::Cancelled | Says::Declined => is_off(&visit.status),
        Says::Booked | Says::Moved => is_open(&visit.status),
        Says::DayBefore | Says::HourBefore => visit.status == "booked",
    };
    if !fits {
        return Some("the visit is in another status");
    }
    if now >= visit.starts_at {
        return Some("the visit's time has come");
    }
    if mail.says == Says::DayBefore && now >= visit.starts_at - last_reminder {
        return Some("a later reminder has taken its place");
    }
    if !reachable {
        return Some("the patient is inactive or deceased");
    }
    None
}
