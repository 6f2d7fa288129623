//! Raises an alarm when there was no proven backup for too long, when the last run of the backup failed, or when drills fail to
//! come, and tells the addresses of ALERT_MAIL once, and once more when it is over. It runs in the scheduler: whoever makes the backups cannot be
//! the one who notices that none are made.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::context::Context;
use pulsecal_core::ids::AlarmMailId;
use pulsecal_core::ledger::JobError;
use pulsecal_core::store::alarms::{self, Alarm, Standing};
use pulsecal_core::store::{Scope, Tx, backups};
use pulsecal_core::telemetry::Loop;
use pulsecal_jobs::AlarmMail;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(20);
/// A night's backup, and two hours for it.
const LIMIT_HOURS: i64 = 26;
/// A run that failed is tried again; after so long it was the last try.
const TRIES_MINUTES: i64 = 30;
/// Drills come once a week, on a later day if they were missed.
const DRILL_DAYS: i64 = 9;

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    crate::process::repeat("backup watch", moved, stop, || async {
        look(&ctx).await?;
        Ok::<_, JobError>(EVERY)
    })
    .await;
}

async fn look(ctx: &Context) -> Result<(), JobError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let wanted = ctx.backups.recipients.is_some();
    let before = alarms::look(tx.conn(), Alarm::BackupOverdue, now).await?;
    let newest = backups::newest_proven(tx.conn()).await?;
    // Before the first backup, the time since the first look counts.
    let good_until = newest.unwrap_or(if before.raised { DateTime::<Utc>::MIN_UTC } else { before.since });
    let overdue = wanted && now - good_until > TimeDelta::hours(LIMIT_HOURS);
    if let Some(newest) = newest {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        metrics::gauge!("pulsecal_backup_proven_age_seconds").set((now - newest).num_seconds() as f64);
    }
    metrics::gauge!("pulsecal_backup_overdue").set(if overdue { 1.0 } else { 0.0 });
    let detail = newest.map_or_else(|| "there is none".to_owned(), |at| format!("the newest proven one is of {at}"));
    let overdue_changed = settle(ctx, &mut tx, Alarm::BackupOverdue, &before, overdue, &detail).await?;

    let before = alarms::look(tx.conn(), Alarm::BackupFailed, now).await?;
    let failed = match backups::last_ended(tx.conn()).await? {
        // While another run is at work it stays as it is.
        None => before.raised,
        Some(last) => last.disproved || (!last.succeeded && now - last.ended_at > TimeDelta::minutes(TRIES_MINUTES)),
    };
    let failed_changed =
        settle(ctx, &mut tx, Alarm::BackupFailed, &before, wanted && failed, "see the table backups").await?;

    let before = alarms::look(tx.conn(), Alarm::DrillOverdue, now).await?;
    // Whether drills are wanted only a worker knows, by its key. Once there was one they are.
    let last_drill = backups::newest_drill(tx.conn()).await?;
    let rusty = wanted && last_drill.is_some_and(|at| now - at > TimeDelta::days(DRILL_DAYS));
    let detail = last_drill.map_or_else(String::new, |at| format!("the last drill was at {at}"));
    let drill_changed = settle(ctx, &mut tx, Alarm::DrillOverdue, &before, rusty, &detail).await?;
    tx.commit().await?;
    // The row's lock makes one scheduler tell it, and the row makes it be told once.
    for (alarm, raised) in [overdue_changed, failed_changed, drill_changed].into_iter().flatten() {
        let (name, says) = (alarm.as_str(), if raised { alarm.says() } else { alarm.over() });
        if raised {
            tracing::error!(
                alarm = name,
                "{name}: {says}; see `pulsecal backup list`, and `pulsecal jobs list` with --kind backup_database or drill_backup"
            );
        } else {
            tracing::info!(alarm = name, "{name}: over. {says}");
        }
    }
    Ok(())
}

/// If the alarm has changed: puts it on record, with a mail to each operator in the same transaction.
async fn settle(
    ctx: &Context,
    tx: &mut Tx,
    alarm: Alarm,
    before: &Standing,
    raised: bool,
    detail: &str,
) -> Result<Option<(Alarm, bool)>, JobError> {
    if raised == before.raised {
        return Ok(None);
    }
    let now = tx.now();
    let mails: Vec<_> = ctx.alert_mail.iter().map(|address| (ctx.ids.new_id::<AlarmMailId>(), address)).collect();
    alarms::change(tx.conn(), alarm, raised, detail, &mails, None, now).await?;
    let jobs: Vec<AlarmMail> = mails.into_iter().map(|(mail, _)| AlarmMail { v: 1, mail }).collect();
    tx.enqueue_many(&jobs).await?;
    Ok(Some((alarm, raised)))
}
