//! Changes of a visit, each in one transaction with the jobs that it causes. Who asks for one adds the audit entry and
//! commits.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{MakeJob, Says, Window, binding, cancel_older_mails, enqueue_mails, is_open};
use crate::clinic::{ClinicRules, VisitRules};
use crate::context::Context;
use crate::ids::{AppointmentId, Ids, OrgId, PersonId};
use crate::store::visits::{self, Visit};
use crate::store::{DbError, Scope, Tx, organizations};
use crate::time::Zone;

/// A change waits so long for mails that are on their way …
const WAIT: Duration = Duration::from_secs(3);
/// … and looks this often.
const LOOK: Duration = Duration::from_millis(20);

/// Why a visit is not booked or changed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// There is no such visit here.
    #[error("there is no such visit")]
    Unknown,
    /// There is no such patient here, or they are inactive or deceased.
    #[error("there is no such active patient")]
    NoPatient,
    /// There is no such doctor here, or they are inactive.
    #[error("there is no such active doctor")]
    NoDoctor,
    /// The doctor is booked at that time.
    #[error("the doctor is already booked at that time")]
    Taken,
    /// Somebody else changed it: it is at this version.
    #[error("the visit was changed meanwhile and is at version {0}")]
    Version(i32),
    /// Something else comes first.
    #[error("the visit is {state}; {first}")]
    Order {
        /// The state that it is in.
        state: &'static str,
        /// What to do.
        first: &'static str,
    },
    /// It is not an online visit.
    #[error("the visit is in person")]
    InPerson,
    /// Another doctor's.
    #[error("it is another doctor's visit")]
    NotTheirs,
    /// It may not be joined at this time.
    #[error("it may be joined from {} until {}", .0.opens_at, .0.closes_at)]
    NotNow(Window),
    /// Nobody said where it takes place.
    #[error("it has no meeting's address")]
    NoMeeting,
    /// It is more than so many hours too early.
    #[error("it is too early, by more than {0} hours")]
    Early(i64),
    /// Its status does not allow that.
    #[error("the visit is {0}")]
    Status(String),
    /// It would begin in the past.
    #[error("that time is over")]
    Past,
    /// It would not end after it begins, or last longer than so many minutes.
    #[error("a visit ends after it begins, and within {0} minutes")]
    Length(i32),
    /// It would begin later than in so many days.
    #[error("visits are booked {0} days ahead at most")]
    Far(i32),
    /// A mail about it is being handed to the mail server.
    #[error("a mail about this visit is on its way")]
    Busy,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(DbError),
}

impl From<DbError> for VisitError {
    fn from(error: DbError) -> Self {
        if visits::is_taken(&error) { Self::Taken } else { Self::Db(error) }
    }
}

/// A visit to be booked.
pub struct Booking {
    /// Who comes.
    pub patient: PersonId,
    /// To whom.
    pub doctor: PersonId,
    /// From.
    pub starts_at: DateTime<Utc>,
    /// Until.
    pub ends_at: DateTime<Utc>,
    /// The zone its times are said in; the organization's when absent.
    pub zone: Option<Zone>,
    /// One of [`super::KINDS`].
    pub kind: String,
    /// One of [`super::MODES`].
    pub mode: String,
    /// Where, if in person.
    pub place: Option<String>,
    /// The meeting's address, if virtual.
    pub meeting_url: Option<String>,
    /// It is only asked for: the clinic confirms or declines it.
    pub requested: bool,
}

/// Another time, place or doctor; what is absent stays.
#[derive(Default)]
pub struct Change {
    /// From. Without `ends_at` the visit keeps its length.
    pub starts_at: Option<DateTime<Utc>>,
    /// Until.
    pub ends_at: Option<DateTime<Utc>>,
    /// To whom.
    pub doctor: Option<PersonId>,
    /// The zone its times are said in.
    pub zone: Option<Zone>,
    /// One of [`super::MODES`].
    pub mode: Option<String>,
    /// Where; the inner none: nowhere.
    pub place: Option<Option<String>>,
    /// The meeting's address; the inner none: there is none yet.
    pub meeting_url: Option<Option<String>>,
}

/// A visit within the transaction that changes it. Its row is locked, and no mail about it is on its way.
pub struct Open {
    /// The transaction; whoever opened it adds the audit entry and commits.
    pub tx: Tx,
    /// The visit, as it is after what was done so far.
    pub visit: Visit,
    /// What the organization has decided, as this transaction read it.
    pub rules: ClinicRules,
}

fn check_times(
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    now: DateTime<Utc>,
    rules: &VisitRules,
) -> Result<(), VisitError> {
    if ends_at <= starts_at || ends_at - starts_at > rules.longest() {
        return Err(VisitError::Length(rules.longest_visit_minutes));
    }
    if starts_at > now + rules.ahead() {
        return Err(VisitError::Far(rules.book_ahead_days));
    }
    if starts_at <= now { Err(VisitError::Past) } else { Ok(()) }
}

/// An online visit has a room, which nobody can guess, and any other has none.
fn give_room(visit: &mut Visit, ids: Ids) {
    if visit.mode != "virtual" {
        visit.meeting_room = None;
    } else if visit.meeting_room.is_none() {
        visit.meeting_room = Some(ids.secret()[..16].iter().map(|byte| format!("{byte:02x}")).collect());
    }
}

/// Books a visit: row, confirmation and reminders in one transaction, which the caller commits.
///
/// # Errors
/// [`VisitError`]; a time that is taken is found by the database.
pub async fn book(ctx: &Context, org: OrgId, new: Booking, job: MakeJob) -> Result<Open, VisitError> {
    let mut tx = ctx.begin(Scope::Org(org)).await?;
    let now = tx.now();
    let rules = organizations::rules(tx.conn(), org).await?;
    check_times(new.starts_at, new.ends_at, now, &rules.visits)?;
    let fit = visits::lock_both(tx.conn(), org, new.patient, new.doctor).await?;
    if !fit.patient {
        return Err(VisitError::NoPatient);
    }
    if !fit.doctor {
        return Err(VisitError::NoDoctor);
    }
    let zone = new.zone.unwrap_or(rules.hours.zone).name().to_owned();
    let mut visit = Visit {
        id: tx.new_id(),
        org,
        patient: new.patient,
        doctor: Some(new.doctor),
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        zone,
        outside_hours: !rules.hours.are_open(new.starts_at, new.ends_at),
        status: if new.requested { "pending" } else { "booked" }.into(),
        kind: new.kind,
        mode: new.mode,
        place: new.place,
        meeting_url: new.meeting_url,
        sequence: 0,
        confirmed_by_patient_at: None,
        move_asked_at: None,
        cancel_reason: None,
        cancelled_at: None,
        meeting_room: None,
        patient_joined_at: None,
        doctor_joined_at: None,
        checked_in_at: None,
        started_at: None,
        completed_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    give_room(&mut visit, tx.ids());
    visits::insert(tx.conn(), &visit).await?;
    let says = (!new.requested).then_some(Says::Booked);
    enqueue_mails(&mut tx, &visit, says, &rules.visits, job).await?;
    Ok(Open { tx, visit, rules })
}

/// Opens a visit for a change. `version`, if given, must be the one that it is at. Waits while a mail about the visit is on its way to the
/// mail server, three seconds at most: what is sent shall be right when it is accepted. A promise whose sender is gone, dead with
/// its worker, binds until [`SEND_LIMIT`] is over or the rescue has settled it.
///
/// # Errors
/// [`VisitError`], [`VisitError::Busy`] among them.
pub async fn to_change(ctx: &Context, org: OrgId, id: AppointmentId, version: Option<i32>) -> Result<Open, VisitError> {
    let mut waited = Duration::ZERO;
    loop {
        let mut tx = ctx.begin(Scope::Org(org)).await?;
        let visit = visits::one_to_change(tx.conn(), id).await?.ok_or(VisitError::Unknown)?;
        if let Some(wanted) = version.filter(|wanted| *wanted != visit.version) {
            tracing::debug!(visit.id = %id, wanted, "visits.change: another version");
            return Err(VisitError::Version(visit.version));
        }
        // A statement of its own, after the lock: it sees every promise that was made before.
        let since = tx.now() - binding();
        if !visits::mail_on_its_way(tx.conn(), id, since).await? {
            let rules = organizations::rules(tx.conn(), org).await?;
            return Ok(Open { tx, visit, rules });
        }
        drop(tx); // nothing is locked while it waits
        if waited >= WAIT {
            return Err(VisitError::Busy);
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

impl Open {
    fn open(&self) -> Result<(), VisitError> {
        if is_open(&self.visit.status) { Ok(()) } else { Err(VisitError::Status(self.visit.status.clone())) }
    }

    /// Gives the visit another time, place or doctor. False: it has them already, and nothing is sent.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn move_to(&mut self, to: Change, job: MakeJob) -> Result<bool, VisitError> {
        self.open()?;
        let now = self.tx.now();
        let before = self.visit.clone();
        let length = before.ends_at - before.starts_at;
        let v = &mut self.visit;
        v.starts_at = to.starts_at.unwrap_or(v.starts_at);
        v.ends_at = to.ends_at.unwrap_or(v.starts_at + length);
        v.doctor = to.doctor.or(v.doctor);
        v.zone = to.zone.map_or_else(|| v.zone.clone(), |zone| zone.name().to_owned());
        v.mode = to.mode.unwrap_or_else(|| v.mode.clone());
        v.place = to.place.unwrap_or_else(|| v.place.clone());
        v.meeting_url = to.meeting_url.unwrap_or_else(|| v.meeting_url.clone());
        if v.mode == "in_person" {
            v.meeting_url = None;
        }
        if *v == before {
            return Ok(false);
        }
        check_times(v.starts_at, v.ends_at, now, &self.rules.visits)?;
        v.outside_hours = !self.rules.hours.are_open(v.starts_at, v.ends_at);
        if before.starts_at <= now {
            return Err(VisitError::Past);
        }
        give_room(v, self.tx.ids());
        v.sequence += 1;
        v.confirmed_by_patient_at = None;
        v.move_asked_at = None;
        if let Some(doctor) = self.visit.doctor
            && !visits::lock_doctor(self.tx.conn(), self.visit.org, doctor).await?
        {
            return Err(VisitError::NoDoctor);
        }
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        cancel_older_mails(&mut self.tx, &before, before.sequence, "the visit was moved").await?;
        enqueue_mails(&mut self.tx, &self.visit, Some(Says::Moved), &self.rules.visits, job).await?;
        Ok(true)
    }

    /// Calls the visit off. False: it was called off before.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn cancel(&mut self, reason: &str, job: MakeJob) -> Result<bool, VisitError> {
        if self.visit.status == "cancelled" {
            return Ok(false);
        }
        self.open()?;
        let now = self.tx.now();
        let before = self.visit.sequence;
        self.visit.status = "cancelled".into();
        self.visit.sequence += 1;
        self.visit.cancel_reason = Some(reason.to_owned());
        self.visit.cancelled_at = Some(now);
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        cancel_older_mails(&mut self.tx, &self.visit, before, "the visit is cancelled").await?;
        enqueue_mails(&mut self.tx, &self.visit, Some(Says::Cancelled), &self.rules.visits, job).await?;
        Ok(true)
    }

    /// Records that the patient will come; a visit that was only asked for is booked by it. False: nothing changed.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn confirm(&mut self, job: MakeJob) -> Result<bool, VisitError> {
        self.open()?;
        let now = self.tx.now();
        if self.visit.starts_at <= now {
            return Err(VisitError::Past);
        }
        let booked = self.visit.status == "booked";
        if booked && self.visit.confirmed_by_patient_at.is_some() {
            return Ok(false);
        }
        self.visit.confirmed_by_patient_at = Some(now);
        self.visit.move_asked_at = None;
        if !booked {
            self.visit.status = "booked".into();
            self.visit.sequence += 1;
        }
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        if !booked {
            enqueue_mails(&mut self.tx, &self.visit, Some(Says::Booked), &self.rules.visits, job).await?;
        }
        Ok(true)
    }

    /// Records that the patient asks the clinic for another time; the visit stays. False: they asked before.
    ///
    /// # Errors
    /// [`VisitError`].
    pub async fn ask_to_move(&mut self) -> Result<bool, VisitError> {
        self.open()?;
        let now = self.tx.now();
        if self.visit.move_asked_at.is_some() {
            return Ok(false);
        }
        self.visit.move_asked_at = Some(now);
        visits::save(self.tx.conn(), &mut self.visit, now).await?;
        Ok(true)
    }
}
