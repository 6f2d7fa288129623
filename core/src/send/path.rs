//! The one way by which messages go out, whatever their kind: promised on record, written, delivered, recorded together with
//! the end of their job. Each step is one statement over all that is at it at the moment.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::message::{Content, Desk, Message, Reached};
use super::{Batcher, Mailer};
use crate::clock::Clock;
use crate::ids::{Ids, MessageRowId, OrgId, PersonId};
use crate::ledger::{Ending, Fence, Finish, JobError, JobResult, Verdict};
use crate::links::Links;
use crate::mail::{Delivery, EmailAddress, MessageId, OutgoingMail, Templates};
use crate::store::audit::{self, Actor, Entry};
use crate::store::send::{self, NewMessage, Outcome, Promised, Recorded};
use crate::store::{Db, DbError, Scope, Tx, finish};

const BATCH: usize = 256;
/// A message that was promised waits no longer for its turn: what is sent was right this long ago at most, and a mail server
/// that hangs keeps no promised message until its job's time is over, which would leave it uncertain.
const TURN: Duration = Duration::from_secs(10);

/// What all kinds of messages are sent with. Cheap to clone.
#[derive(Clone)]
pub struct Post(Arc<Parts>);

struct Parts {
    db: Db,
    ids: Ids,
    clock: Clock,
    mailer: Mailer,
    templates: Templates,
    links: Links,
    from: EmailAddress,
    /// Mails are rendered when it is nearly their turn: those that wait hold no bodies, and thousands of renderings at one
    /// moment do not stand in the way of the batches.
    turns: Semaphore,
}

impl Post {
    /// Puts the parts together. All mail is from `from`.
    pub fn new(db: &Db, clock: Clock, mailer: Mailer, templates: Templates, links: Links, from: EmailAddress) -> Self {
        let turns = Semaphore::new(mailer.worth_at_once());
        Self(Arc::new(Parts { db: db.clone(), ids: Ids, clock, mailer, templates, links, from, turns }))
    }
}

/// Sends the messages of one kind, many at a time.
pub struct Sender<M: Message> {
    promise: Batcher<(M::Ask, Fence), Result<Promise<M>, String>>,
    record: Batcher<Record<M>, Result<(), String>>,
    post: Post,
}

impl<M: Message> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { promise: self.promise.clone(), record: self.record.clone(), post: self.post.clone() }
    }
}

enum Promise<M: Message> {
    Send(Arc<M::Subject>, MessageRowId),
    Stale(&'static str),
    Settled(String),
    Fenced,
}

/// How one try ended, for the log, for its subject and for its job.
struct Record<M: Message> {
    ask: M::Ask,
    message: Recorded,
    job: Finish,
}

impl<M: Message> Clone for Record<M> {
    fn clone(&self) -> Self {
        Self { ask: self.ask, message: self.message.clone(), job: self.job.clone() }
    }
}

impl<M: Message> Sender<M> {
    /// Starts the batches.
    pub fn start(post: &Post) -> Self {
        let (promising, recording) = (post.clone(), post.clone());
        let promise = Batcher::start(BATCH, 1, move |asked: Vec<(M::Ask, Fence)>| {
            let post = promising.clone();
            async move { promise_all::<M>(&post, &asked).await }
        });
        let record = Batcher::start(BATCH, 1, move |asked: Vec<Record<M>>| {
            let post = recording.clone();
            async move {
                let count = asked.len();
                let answer = record_all(&post, asked).await.map_err(|error| error.to_string());
                vec![answer; count]
            }
        });
        Self { promise, record, post: post.clone() }
    }

    /// Sends one message, if it is still right to, and finishes its job with it.
    ///
    /// # Errors
    /// What stands in the way for now; nothing was sent then.
    pub async fn send(&self, ask: M::Ask, fence: Fence, last_attempt: bool) -> JobResult {
        let gone = || JobError::Retry("the send path ended".into());
        let (subject, id) = match self.promise.ask((ask, fence)).await.ok_or_else(gone)?.map_err(JobError::Retry)? {
            Promise::Send(subject, id) => (subject, id),
            Promise::Stale(why) => return Ok(Verdict::Cancel(why)),
            Promise::Settled(state) if state == "sent" || state == "uncertain" => return Ok(Verdict::Done),
            Promise::Settled(_) => return Ok(Verdict::Cancel("its message was settled before")),
            Promise::Fenced => return Ok(Verdict::Settled),
        };
        let this = Try { ask, fence, id };
        let Ok(turn) = timeout(TURN, self.post.0.turns.acquire()).await else {
            // Nothing was sent, and what was read grows old: the message is freed, and read anew later.
            let why = "no connection to the mail server became free in time".to_owned();
            self.recorded(this.ends(Outcome::Planned, Ending::GivenBack, None, Some(why))).await;
            return Ok(Verdict::Snooze(TURN));
        };
        let turn = turn.map_err(|_closed| gone())?;
        let delivered = match self.post.mail_of::<M>(&subject, &ask, id) {
            Ok(mail) => Ok(self.post.0.mailer.deliver(&mail).await),
            Err(why) => Err(why),
        };
        drop(turn);
        let delivery = match delivered {
            Ok(delivery) => delivery,
            Err(why) => return self.failed(this, why).await,
        };
        let why = match delivery {
            Delivery::Accepted { reply } => {
                self.recorded(this.ends(Outcome::Sent, Ending::Done, Some(reply), None)).await;
                return Ok(Verdict::Settled);
            }
            Delivery::Uncertain { reason } => {
                tracing::warn!(job.id = %fence.job, message.id = %id.0, message.kind = M::KIND, reason,
                    "send.uncertain: the server may have taken this message; it is not sent again");
                self.recorded(this.ends(Outcome::Uncertain, Ending::Done, None, Some(reason))).await;
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
        self.recorded(this.ends(Outcome::Planned, Ending::GivenBack, None, Some(why.clone()))).await;
        Err(JobError::Retry(why))
    }

    async fn failed(&self, this: Try<M>, why: String) -> JobResult {
        self.recorded(this.ends(Outcome::Failed, Ending::Dead(why.clone()), None, Some(why))).await;
        Ok(Verdict::Settled)
    }

    /// Records until Postgres takes it: what happened has happened. A worker that is told to stop meanwhile leaves the
    /// message as being sent, and whoever takes the job over calls it uncertain.
    async fn recorded(&self, entry: Record<M>) {
        let mut tries = 0_u32;
        while let Some(Err(error)) = self.record.ask(entry.clone()).await {
            if tries == 0 {
                tracing::warn!(error, job.id = %entry.job.fence.job, "send.record: Postgres is away; the outcome is kept and recorded later");
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100 * 2_u64.pow(tries.min(6) - 1))).await;
        }
    }
}

/// One try to send one message.
struct Try<M: Message> {
    ask: M::Ask,
    fence: Fence,
    id: MessageRowId,
}

impl<M: Message> Try<M> {
    fn ends(&self, outcome: Outcome, ending: Ending, reply: Option<String>, reason: Option<String>) -> Record<M> {
        let &Self { ask, fence, id } = self;
        Record { ask, message: Recorded { id, fence, outcome, reply, reason }, job: Finish { fence, ending } }
    }
}

impl Post {
    fn mail_of<M: Message>(
        &self,
        subject: &M::Subject,
        ask: &M::Ask,
        id: MessageRowId,
    ) -> Result<OutgoingMail, String> {
        let Parts { clock, templates, links, from, .. } = &*self.0;
        let now = clock.now();
        let address = M::recipient(subject).address.ok_or("there is no address to send it to")?;
        let to = EmailAddress::parse(address).map_err(|error| error.to_string())?;
        let Content { from_name, rendered } = M::content(Desk { templates, links, from }, subject, ask, now)?;
        Ok(OutgoingMail {
            from: from.clone(),
            from_name,
            to,
            reply_to: None,
            message_id: MessageId::derive(id.0, from.domain()),
            date: now,
            rendered,
            return_path: from.clone(),
        })
    }

    /// A transaction that sees the organizations of these messages; the platform's own messages are seen by the platform.
    async fn begin(&self, orgs: BTreeSet<Option<OrgId>>) -> Result<Tx, DbError> {
        if orgs.contains(&None) {
            return self.0.db.begin(Scope::Batch).await;
        }
        let orgs: Vec<OrgId> = orgs.into_iter().flatten().collect();
        self.0.db.begin(Scope::Orgs(&orgs)).await
    }
}

/// The row of a message follows from what makes it one. It begins as its subject does: what comes into being together falls
/// due together, and stands together in the log's indexes, so that a storm works on few of their pages.
fn row_id(subject: Uuid, occurrence: &str, kind: &str, recipient: PersonId) -> MessageRowId {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes(), subject.as_bytes(), occurrence.as_bytes(), recipient.0.as_bytes(), b"email"] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&subject.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&hash.finalize()[..10]);
    MessageRowId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

async fn promise_all<M: Message>(post: &Post, asked: &[(M::Ask, Fence)]) -> Vec<Result<Promise<M>, String>> {
    match try_promise_all(post, asked).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => {
            let error = error.to_string();
            asked.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

async fn try_promise_all<M: Message>(post: &Post, asked: &[(M::Ask, Fence)]) -> Result<Vec<Promise<M>>, DbError> {
    let mut tx = post.begin(asked.iter().map(|(ask, _)| M::about(ask).org).collect()).await?;
    let now = tx.now();
    let asks: Vec<M::Ask> = asked.iter().map(|(ask, _)| *ask).collect();
    let subjects: HashMap<Uuid, Arc<M::Subject>> =
        M::read(tx.conn(), &asks).await?.into_iter().map(|(id, subject)| (id, Arc::new(subject))).collect();
    let messages: Vec<Option<NewMessage>> =
        asked.iter().map(|(ask, fence)| new_message::<M>(post, &subjects, ask, *fence, now)).collect();
    let known: Vec<&NewMessage> = messages.iter().flatten().collect();
    let answers = send::promise(tx.conn(), &known, now).await?;
    let broken: Vec<(M::Ask, Reached)> = asked
        .iter()
        .zip(&messages)
        .filter(|(_, new)| new.as_ref().is_some_and(|new| answers.get(&new.id) == Some(&Promised::BecameUncertain)))
        .map(|((ask, _), _)| (*ask, Reached::Perhaps))
        .collect();
    if !broken.is_empty() {
        M::mark(tx.conn(), &broken, now).await?;
        tracing::warn!(
            messages = broken.len(),
            message.kind = M::KIND,
            "send.uncertain: earlier tries broke off in the middle; these messages are not sent again"
        );
    }
    tx.commit().await?;
    let answer = messages.into_iter().map(|new| {
        let Some(new) = new else { return Promise::Stale(M::GONE) };
        match answers.get(&new.id).cloned().unwrap_or(Promised::Fenced) {
            Promised::Send => match subjects.get(&new.subject) {
                Some(subject) => Promise::Send(subject.clone(), new.id),
                None => Promise::Stale(M::GONE),
            },
            Promised::Suppressed => Promise::Stale(new.suppressed.unwrap_or("suppressed")),
            Promised::BecameUncertain => Promise::Settled("uncertain".into()),
            Promised::Settled(state) => Promise::Settled(state),
            Promised::Fenced => Promise::Fenced,
        }
    });
    Ok(answer.collect())
}

fn new_message<M: Message>(
    post: &Post,
    subjects: &HashMap<Uuid, Arc<M::Subject>>,
    ask: &M::Ask,
    fence: Fence,
    now: DateTime<Utc>,
) -> Option<NewMessage> {
    let about = M::about(ask);
    let subject = subjects.get(&about.subject)?;
    let recipient = M::recipient(subject);
    let suppressed = M::stale(subject, ask, now)
        .or_else(|| recipient.address.is_none().then_some("there is no address to send it to"));
    let id = row_id(about.subject, &about.occurrence, M::KIND, recipient.person);
    Some(NewMessage {
        id,
        org: about.org,
        kind: M::KIND,
        subject: about.subject,
        occurrence: about.occurrence,
        recipient: recipient.person,
        message_id: MessageId::derive(id.0, post.0.from.domain()).as_str().to_owned(),
        category: M::CATEGORY,
        privacy_level: recipient.privacy_level,
        fence,
        suppressed,
    })
}

async fn record_all<M: Message>(post: &Post, asked: Vec<Record<M>>) -> Result<(), DbError> {
    let mut tx = post.begin(asked.iter().map(|record| M::about(&record.ask).org).collect()).await?;
    let now = tx.now();
    let entries: Vec<&Recorded> = asked.iter().map(|record| &record.message).collect();
    let held: HashSet<MessageRowId> = send::record(tx.conn(), &entries, now).await?.into_iter().collect();
    let held: Vec<&Record<M>> = asked.iter().filter(|record| held.contains(&record.message.id)).collect();
    let reached: Vec<(M::Ask, Reached)> = held
        .iter()
        .filter_map(|record| match record.message.outcome {
            Outcome::Sent => Some((record.ask, Reached::Sent)),
            Outcome::Uncertain => Some((record.ask, Reached::Perhaps)),
            Outcome::Failed | Outcome::Planned => None,
        })
        .collect();
    if !reached.is_empty() {
        M::mark(tx.conn(), &reached, now).await?;
    }
    let closed: Vec<&Record<M>> =
        held.into_iter().filter(|record| record.message.outcome != Outcome::Planned).collect();
    if !closed.is_empty() {
        let audits: Vec<Entry> = closed.iter().map(|record| audit_entry(record)).collect();
        audit::write(tx.conn(), post.0.ids, &audits, now).await?;
        let finishes: Vec<Finish> = closed.iter().map(|record| record.job.clone()).collect();
        finish::finish(tx.conn(), &finishes).await?;
    }
    tx.commit().await
}

fn audit_entry<M: Message>(Record { ask, message, .. }: &Record<M>) -> Entry {
    Entry {
        org: M::about(ask).org,
        actor: Actor::Job(message.fence.job.0),
        action: "message.sent",
        subject_type: "message",
        subject: message.id.0,
        outcome: if message.outcome == Outcome::Sent { "success" } else { message.outcome.as_str() },
        detail: None,
    }
}
