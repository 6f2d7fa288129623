//! What operators do, at the pages and at the command line: each in one transaction with its audit entry, and safe to do twice.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::ids::JobId;
use crate::ledger::{Enqueued, Queue, Registry};
use crate::store::audit::{self, Actor, Entry};
use crate::store::console::{self, FreedMessage};
use crate::store::control::{self, Cancelled};
use crate::store::schedules::{self, ScheduleRow};
use crate::store::{DbError, Tx};
use crate::time::{CronExpr, FoldRule, GapRule, OverlapPolicy, Zone};

/// The reason of a job that an operator cancelled before it ran.
pub const CANCELLED_WAITING: &str = "cancelled before it ran";
/// A slot of a schedule that is run by hand is named by when its page was shown, which may be so long ago.
const OLDEST_PRESS: TimeDelta = TimeDelta::hours(12);

/// Gives a dead job its attempts anew. Gives the messages that are planned again; none: there is no such dead job, or it is
/// live again already.
///
/// # Errors
/// Postgres.
pub async fn retry(tx: &mut Tx, by: Actor, job: JobId) -> Result<Option<Vec<FreedMessage>>, DbError> {
    let freed = console::retry_dead(tx.conn(), job).await?;
    if let Some(freed) = &freed {
        let mut entries = vec![entry(by, "job.retry", "job", job.0)];
        entries.extend(
            freed
                .iter()
                .map(|message| Entry { org: message.org, ..entry(by, "message.retry", "message", message.id.0) }),
        );
        write(tx, &entries).await?;
    }
    Ok(freed)
}

/// Cancels a job: one that waits has ended with this transaction; one that runs is stopped by its worker within a second or
/// two, at its next await.
///
/// # Errors
/// Postgres.
pub async fn cancel(tx: &mut Tx, by: Actor, job: JobId) -> Result<Cancelled, DbError> {
    let (done, org) = control::cancel(tx.conn(), job, CANCELLED_WAITING).await?;
    if matches!(done, Cancelled::Ended | Cancelled::Told) {
        write(tx, &[Entry { org, ..entry(by, "job.cancel", "job", job.0) }]).await?;
    }
    Ok(done)
}

/// Pauses a queue, or lets it go on. False: it was so before.
///
/// # Errors
/// Postgres.
pub async fn set_paused(tx: &mut Tx, by: Actor, queue: Queue, paused: bool) -> Result<bool, DbError> {
    let now = tx.now();
    let changed = control::set_paused(tx.conn(), queue, paused, now).await?;
    if changed {
        let action = if paused { "queue.pause" } else { "queue.resume" };
        write(tx, &[named(by, action, "queue", queue.as_str())]).await?;
    }
    Ok(changed)
}

/// Switches a schedule on or off. None: there is no such schedule; false: it was so before.
///
/// # Errors
/// Postgres.
pub async fn set_enabled(tx: &mut Tx, by: Actor, schedule: &str, enabled: bool) -> Result<Option<bool>, DbError> {
    let now = tx.now();
    let changed = control::set_enabled(tx.conn(), schedule, enabled, now).await?;
    if changed == Some(true) {
        let action = if enabled { "schedule.resume" } else { "schedule.pause" };
        write(tx, &[named(by, action, "schedule", schedule)]).await?;
    }
    Ok(changed)
}

/// What became of running a schedule by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunNow {
    /// Its job is in the ledger.
    Enqueued(JobId),
    /// The same press was obeyed before.
    Already,
    /// Its rule is to run one at a time, and one runs or waits.
    Overlap,
    /// There is no such schedule.
    Unknown,
    /// Its job's kind or args are not understood.
    Unreadable,
}

/// Runs a schedule's job now, beside its slots and under its overlap rule: a slot and its job in one transaction. `press` names
/// the slot: the moment at which the button was shown, so that pressing it twice is one run.
///
/// # Errors
/// Postgres.
pub async fn run_now(
    tx: &mut Tx,
    by: Actor,
    registry: &Registry,
    name: &str,
    press: DateTime<Utc>,
) -> Result<RunNow, DbError> {
    let now = tx.now();
    let Some(schedule) = schedules::lock(tx.conn(), name).await? else { return Ok(RunNow::Unknown) };
    let press = press.clamp(now - OLDEST_PRESS, now);
    if schedules::is_decided(tx.conn(), name, press).await? {
        return Ok(RunNow::Already);
    }
    if schedule.overlap.parse() != Ok(OverlapPolicy::Allow) && schedules::runs_still(tx.conn(), name).await? {
        return Ok(RunNow::Overlap);
    }
    let job = registry.kind(&schedule.job_kind).map(|kind| kind.enqueue(schedule.args.clone()));
    let Some(Ok(job)) = job else { return Ok(RunNow::Unreadable) };
    schedules::decide(tx.conn(), name, press, "fired", Some("run by hand"), now).await?;
    let Some(Enqueued::New(id)) = tx.enqueue_all(vec![job]).await?.first().copied() else {
        return Ok(RunNow::Overlap);
    };
    schedules::fired(tx.conn(), name, press, id).await?;
    let mut note = named(by, "schedule.run_now", "schedule", name);
    note.detail = Some(json!({"schedule": name, "job": id}));
    write(tx, &[note]).await?;
    Ok(RunNow::Enqueued(id))
}

/// The slots of a schedule after `from`, `count` of them; none: its row cannot be read.
pub fn preview(schedule: &ScheduleRow, from: DateTime<Utc>, count: usize) -> Option<Vec<DateTime<Utc>>> {
    let cron: CronExpr = schedule.cron.parse().ok()?;
    let zone: Zone = schedule.zone.parse().ok()?;
    let (gap, fold): (GapRule, FoldRule) = (schedule.gap.parse().ok()?, schedule.fold.parse().ok()?);
    Some(
        std::iter::successors(cron.next(zone, gap, fold, from), |last| cron.next(zone, gap, fold, *last))
            .take(count)
            .collect(),
    )
}

fn entry(by: Actor, action: &'static str, subject_type: &'static str, subject: Uuid) -> Entry {
    Entry { org: None, actor: by, action, subject_type, subject, outcome: "success", detail: None }
}

/// What has a name and no id is named in the detail.
fn named(by: Actor, action: &'static str, subject_type: &'static str, name: &str) -> Entry {
    Entry { detail: Some(json!({subject_type: name})), ..entry(by, action, subject_type, Uuid::nil()) }
}

async fn write(tx: &mut Tx, entries: &[Entry]) -> Result<(), DbError> {
    let (ids, now) = (tx.ids(), tx.now());
    audit::write(tx.conn(), ids, entries, now).await
}
