//! Sends the messages of doses.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::doses::dispatch::DoseStep;
use crate::ids::{Ids, MessageRowId, OrgId};
use crate::ledger::{Ending, Fence, Finish, JobError, JobResult, Verdict};
use crate::links::{DoseLink, Links};
use crate::mail::{
    Delivery, DisplayName, DoseFacts, DoseMailView, EmailAddress, Locale, MEDICATION_REMINDER, MessageId, OutgoingMail,
    PrivacyLevel, ReminderStep, Templates,
};
use crate::send::{Batcher, Mailer};
use crate::store::audit::{self, Actor, Entry};
use crate::store::send::{self, DoseSubject, NewMessage, Promised, Recorded};
use crate::store::{Db, DbError, Scope, finish};
use crate::time::Zone;

const CATEGORY: &str = "critical";
/// An answer link of a mail lasts so long; the dose itself closes earlier.
const LINK_DAYS: i64 = 3;
const BATCH: usize = 256;
/// A message that was promised waits no longer for its turn: what is sent was right this long ago at most, and a mail server
/// that hangs keeps no promised message until its job's time is over, which would leave it uncertain.
const TURN: Duration = Duration::from_secs(10);

/// Sends the messages of doses, many at a time.
#[derive(Clone)]
pub struct DoseSender {
    promise: Batcher<(DoseStep, Fence), Result<Promise, String>>,
    record: Batcher<(Recorded, Finish), Result<(), String>>,
    parts: Arc<DoseParts>,
    /// Mails are rendered when it is nearly their turn: those that wait hold no bodies, and thousands of renderings at one
    /// moment do not stand in the way of the batches.
    turns: Arc<Semaphore>,
}

/// What the messages of doses are made with.
pub struct DoseParts {
    /// Where they go.
    pub mailer: Mailer,
    /// What they look like.
    pub templates: Templates,
    /// Signs their links.
    pub links: Links,
    /// Who they are from.
    pub from: EmailAddress,
    /// When they are written.
    pub clock: Clock,
}

enum Promise {
    Send(Arc<DoseSubject>, MessageRowId),
    Stale(&'static str),
    Settled(String),
    Fenced,
}

impl DoseSender {
    /// Starts the batches over `db`.
    pub fn start(db: &Db, ids: Ids, parts: DoseParts) -> Self {
        let domain: Arc<str> = parts.from.domain().into();
        let (promise_db, record_db) = (db.clone(), db.clone());
        let promise = Batcher::start(BATCH, 1, move |asked: Vec<(DoseStep, Fence)>| {
            let (db, domain) = (promise_db.clone(), domain.clone());
            async move { promise_all(&db, &domain, &asked).await }
        });
        let record = Batcher::start(BATCH, 1, move |asked: Vec<(Recorded, Finish)>| {
            let db = record_db.clone();
            async move {
                let count = asked.len();
                let answer = record_all(&db, ids, &asked).await.map_err(|error| error.to_string());
                vec![answer; count]
            }
        });
        let turns = Arc::new(Semaphore::new(parts.mailer.worth_at_once()));
        Self { promise, record, parts: Arc::new(parts), turns }
    }

    /// Sends one message of one dose, if it is still right to, and finishes its job with it.
    ///
    /// # Errors
    /// What stands in the way for now; nothing was sent then.
    pub async fn send(&self, step: DoseStep, fence: Fence, last_attempt: bool) -> JobResult {
        let gone = || JobError::Retry("the send path ended".into());
        let (subject, id) = match self.promise.ask((step, fence)).await.ok_or_else(gone)?.map_err(JobError::Retry)? {
            Promise::Send(subject, id) => (subject, id),
            Promise::Stale(why) => return Ok(Verdict::Cancel(why)),
            Promise::Settled(state) if state == "sent" || state == "uncertain" => return Ok(Verdict::Done),
            Promise::Settled(_) => return Ok(Verdict::Cancel("its message was settled before")),
            Promise::Fenced => return Ok(Verdict::Settled),
        };
        let this = Try { step, fence, id };
        let Ok(turn) = timeout(TURN, self.turns.acquire()).await else {
            // Nothing was sent, and what was read of the dose grows old: the message is freed, and read anew later.
            let why = "no connection to the mail server became free in time".to_owned();
            let freed = this.ends_as("planned", None, Some(why));
            self.recorded((freed, Finish { fence, ending: Ending::GivenBack })).await;
            return Ok(Verdict::Snooze(TURN));
        };
        let turn = turn.map_err(|_closed| gone())?;
        let now = self.parts.clock.now();
        let delivered = match self.parts.mail_of(&subject, step, id, now) {
            Ok(mail) => Ok(self.parts.mailer.deliver(&mail).await),
            Err(why) => Err(why),
        };
        drop(turn);
        let delivery = match delivered {
            Ok(delivery) => delivery,
            Err(why) => return self.failed(this, why).await,
        };
        let why = match delivery {
            Delivery::Accepted { reply } => {
                self.recorded((this.ends_as("sent", Some(reply), None), Finish { fence, ending: Ending::Done })).await;
                return Ok(Verdict::Settled);
            }
            Delivery::Uncertain { reason } => {
                tracing::warn!(job.id = %fence.job, dose.id = %step.occurrence, reason,
                    "send.uncertain: the server may have taken this message; it is not sent again");
                let recorded = this.ends_as("uncertain", None, Some(reason));
                self.recorded((recorded, Finish { fence, ending: Ending::Done })).await;
                return Ok(Verdict::Settled);
            }
            Delivery::Refused { permanent: true, code, stage, text } if !stage.is_session() => {
                return self.failed(this, format!("the mail server refused it for good: {code} {text}")).await;
            }
            Delivery::Refused { code, stage, text, .. } => {
                format!("the mail server refused it for now ({}): {code} {text}", stage.as_str())
            }
            Delivery::NotSent { stage, reason } => format!("not sent ({}): {reason}", stage.as_str()),
        };
        if last_attempt {
            return self.failed(this, why).await;
        }
        // Nothing was sent. The runner gives the job back for another attempt; this frees the message for it.
        let freed = this.ends_as("planned", None, Some(why.clone()));
        self.recorded((freed, Finish { fence, ending: Ending::GivenBack })).await;
        Err(JobError::Retry(why))
    }

    async fn failed(&self, this: Try, why: String) -> JobResult {
        let recorded = this.ends_as("failed", None, Some(why.clone()));
        self.recorded((recorded, Finish { fence: this.fence, ending: Ending::Dead(why) })).await;
        Ok(Verdict::Settled)
    }

    /// Records until Postgres takes it: what happened has happened. A worker that is told to stop meanwhile leaves the
    /// message as being sent, and whoever takes the job over calls it uncertain.
    async fn recorded(&self, entry: (Recorded, Finish)) {
        let mut tries = 0_u32;
        while let Some(Err(error)) = self.record.ask(entry.clone()).await {
            if tries == 0 {
                tracing::warn!(error, job.id = %entry.1.fence.job, "send.record: Postgres is away; the outcome is kept and recorded later");
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100 * 2_u64.pow(tries.min(6) - 1))).await;
        }
    }
}

/// One try to send one message.
#[derive(Clone, Copy)]
struct Try {
    step: DoseStep,
    fence: Fence,
    id: MessageRowId,
}

impl Try {
    fn ends_as(self, state: &'static str, reply: Option<String>, reason: Option<String>) -> Recorded {
        let Self { step, fence, id } = self;
        Recorded { id, occurrence: step.occurrence, org: step.org, fence, state, reply, reason }
    }
}

impl DoseParts {
    fn mail_of(
        &self,
        subject: &DoseSubject,
        step: DoseStep,
        id: MessageRowId,
        now: DateTime<Utc>,
    ) -> Result<OutgoingMail, String> {
        let address = subject.email.as_deref().ok_or("the patient has no address")?;
        let to = EmailAddress::parse(address).map_err(|error| error.to_string())?;
        let zone: Zone = subject.zone.parse().map_err(|_| "its zone is none")?;
        let facts = dose_facts(subject, zone, step.step);
        let page = self
            .links
            .dose_page(DoseLink { org: subject.org, dose: subject.occurrence }, now + TimeDelta::days(LINK_DAYS));
        let view = DoseMailView::new(&facts, &page.map_err(|error| error.to_string())?);
        let rendered = self.templates.render_mail(MEDICATION_REMINDER, &view).map_err(|error| error.to_string())?;
        Ok(OutgoingMail {
            from: self.from.clone(),
            from_name: DisplayName::new(view.sender_name()),
            to,
            reply_to: None,
            message_id: MessageId::derive(id.0, self.from.domain()),
            date: now,
            rendered,
            return_path: self.from.clone(),
        })
    }
}

/// What mail and page of a dose start from; the level is that of a proven address only.
pub fn dose_facts(subject: &DoseSubject, zone: Zone, step: i16) -> DoseFacts<'_> {
    let level = if subject.email_verified {
        PrivacyLevel::try_from(subject.privacy_level).unwrap_or_default()
    } else {
        PrivacyLevel::default()
    };
    DoseFacts {
        level,
        step: ReminderStep::from_index(u8::try_from(step).unwrap_or(u8::MAX)),
        locale: Locale::En,
        clinic_name: &subject.clinic_name,
        discreet_name: subject.discreet_name.as_deref().unwrap_or("Your clinic"),
        clinic_phone: subject.clinic_phone.as_deref(),
        due_at: subject.due_at,
        zone: zone.tz(),
        prescriber: subject.prescriber.as_deref(),
        medicine: &subject.medicine,
        dosage: &subject.dosage,
    }
}

/// Why a message must not go out, read at this moment; none: it is right to send it.
fn stale(subject: &DoseSubject, step: DoseStep) -> Option<&'static str> {
    match subject.state.as_str() {
        "taken" => return Some("the dose is taken"),
        "skipped" => return Some("the dose is skipped"),
        "missed" => return Some("the dose is over"),
        _ => {}
    }
    if subject.ladder_at.timestamp() != step.ladder {
        return Some("the dose was moved or snoozed");
    }
    if subject.step > step.step + 1 {
        return Some("a newer reminder has taken its place");
    }
    if !subject.reachable {
        return Some("the patient is inactive or deceased");
    }
    if !subject.reminder_active || subject.prescription_status != "active" {
        return Some("the medicine is no longer taken");
    }
    if subject.email.is_none() {
        return Some("the patient has no address");
    }
    None
}

/// The row of a message follows from what makes it one.
fn row_id(subject: Uuid, occurrence: &str, kind: &str, recipient: Uuid) -> MessageRowId {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes(), subject.as_bytes(), occurrence.as_bytes(), recipient.as_bytes(), b"email"] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    MessageRowId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

async fn promise_all(db: &Db, domain: &str, asked: &[(DoseStep, Fence)]) -> Vec<Result<Promise, String>> {
    match try_promise_all(db, domain, asked).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => {
            let error = error.to_string();
            asked.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

async fn try_promise_all(db: &Db, domain: &str, asked: &[(DoseStep, Fence)]) -> Result<Vec<Promise>, DbError> {
    let orgs: Vec<OrgId> = asked.iter().map(|(step, _)| step.org).collect::<BTreeSet<_>>().into_iter().collect();
    let mut tx = db.begin(Scope::Orgs(&orgs)).await?;
    let now = tx.now();
    let ids: Vec<_> = asked.iter().map(|(step, _)| step.occurrence).collect();
    let subjects: HashMap<_, _> =
        send::dose_subjects(tx.conn(), &ids).await?.into_iter().map(|(id, row)| (id, Arc::new(row))).collect();
    let mut messages = Vec::with_capacity(asked.len());
    for (step, fence) in asked {
        let Some(subject) = subjects.get(&step.occurrence) else { continue };
        let occurrence = format!("{}/{}", step.ladder, step.step);
        let id = row_id(step.occurrence.0, &occurrence, MEDICATION_REMINDER, subject.patient.0);
        messages.push(NewMessage {
            id,
            org: step.org,
            kind: MEDICATION_REMINDER,
            subject: step.occurrence.0,
            occurrence,
            recipient: subject.patient,
            message_id: MessageId::derive(id.0, domain).as_str().to_owned(),
            category: CATEGORY,
            privacy_level: subject.privacy_level,
            fence: *fence,
            suppressed: stale(subject, *step),
        });
    }
    let answers = send::promise(tx.conn(), &messages, now).await?;
    let broken: Vec<_> = messages.iter().filter(|m| answers.get(&m.id) == Some(&Promised::BecameUncertain)).collect();
    if !broken.is_empty() {
        send::mark_doses(tx.conn(), &broken.iter().map(|m| (m.subject.into(), false)).collect::<Vec<_>>(), now).await?;
        tracing::warn!(
            messages = broken.len(),
            "send.uncertain: earlier tries broke off in the middle; these messages are not sent again"
        );
    }
    tx.commit().await?;
    let by_job: HashMap<_, _> = messages.into_iter().map(|m| (m.fence.job, m)).collect();
    let answer = asked.iter().map(|(step, fence)| {
        let Some(message) = by_job.get(&fence.job) else { return Promise::Stale("the dose is no longer planned") };
        match answers.get(&message.id).cloned().unwrap_or(Promised::Fenced) {
            Promised::Send => match subjects.get(&step.occurrence) {
                Some(subject) => Promise::Send(subject.clone(), message.id),
                None => Promise::Stale("the dose is no longer planned"),
            },
            Promised::Suppressed => Promise::Stale(message.suppressed.unwrap_or("suppressed")),
            Promised::BecameUncertain => Promise::Settled("uncertain".into()),
            Promised::Settled(state) => Promise::Settled(state),
            Promised::Fenced => Promise::Fenced,
        }
    });
    Ok(answer.collect())
}

async fn record_all(db: &Db, ids: Ids, asked: &[(Recorded, Finish)]) -> Result<(), DbError> {
    let orgs: Vec<OrgId> = asked.iter().map(|(entry, _)| entry.org).collect::<BTreeSet<_>>().into_iter().collect();
    let mut tx = db.begin(Scope::Orgs(&orgs)).await?;
    let now = tx.now();
    let entries: Vec<Recorded> = asked.iter().map(|(entry, _)| entry.clone()).collect();
    let held: std::collections::HashSet<MessageRowId> =
        send::record(tx.conn(), &entries, now).await?.into_iter().collect();
    let held: Vec<&(Recorded, Finish)> = asked.iter().filter(|(entry, _)| held.contains(&entry.id)).collect();
    let doses: Vec<_> = held
        .iter()
        .filter(|(entry, _)| matches!(entry.state, "sent" | "uncertain"))
        .map(|(entry, _)| (entry.occurrence, entry.state == "sent"))
        .collect();
    if !doses.is_empty() {
        send::mark_doses(tx.conn(), &doses, now).await?;
    }
    let closed: Vec<&(Recorded, Finish)> = held.into_iter().filter(|(entry, _)| entry.state != "planned").collect();
    if !closed.is_empty() {
        let audits: Vec<Entry> = closed
            .iter()
            .map(|(entry, _)| Entry {
                org: Some(entry.org),
                actor: Actor::Job(entry.fence.job.0),
                action: "message.sent",
                subject_type: "message",
                subject: entry.id.0,
                outcome: if entry.state == "sent" { "success" } else { entry.state },
                detail: None,
            })
            .collect();
        audit::write(tx.conn(), ids, &audits, now).await?;
        let finishes: Vec<Finish> = closed.iter().map(|(_, finish)| finish.clone()).collect();
        finish::finish(tx.conn(), &finishes).await?;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{OccurrenceId, OrgId, PersonId};

    fn subject(step: i16) -> DoseSubject {
        let nobody = Uuid::nil();
        DoseSubject {
            occurrence: OccurrenceId(nobody),
            org: OrgId(nobody),
            patient: PersonId(nobody),
            due_at: DateTime::UNIX_EPOCH,
            zone: "Europe/Berlin".into(),
            state: "due".into(),
            step,
            ladder_at: DateTime::UNIX_EPOCH,
            reminder_active: true,
            prescription_status: "active".into(),
            medicine: "Examplin".into(),
            dosage: String::new(),
            email: Some("pat@example.org".into()),
            email_verified: true,
            privacy_level: 0,
            reachable: true,
            clinic_name: "Example Clinic".into(),
            discreet_name: None,
            clinic_phone: None,
            prescriber: None,
        }
    }

    #[test]
    fn of_all_steps_of_a_dose_only_the_newest_may_be_sent() {
        for next in 1..10 {
            let dose = subject(next);
            let may = |step| {
                let asked = DoseStep { org: dose.org, occurrence: dose.occurrence, ladder: 0, step };
                stale(&dose, asked).is_none()
            };
            assert_eq!((0..next).filter(|step| may(*step)).collect::<Vec<_>>(), [next - 1]);
        }
    }
}
