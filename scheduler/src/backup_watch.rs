//! Raises an alarm when there was no proven backup for too long. It runs in the scheduler: whoever makes the backups cannot
//! be the one who notices that none are made.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::context::Context;
use pulsecal_core::store::{DbError, Scope, backups};
use pulsecal_core::telemetry::Loop;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(20);
/// A night's backup, and two hours for it.
const LIMIT_HOURS: i64 = 26;
const NAME: &str = "backup.overdue";

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    crate::process::repeat("backup watch", moved, stop, || async {
        look(&ctx).await?;
        Ok::<_, DbError>(EVERY)
    })
    .await;
}

async fn look(ctx: &Context) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let alarm = backups::alarm(tx.conn(), NAME, now).await?;
    let newest = backups::newest_proven(tx.conn()).await?;
    // Before the first backup, the time since the first look counts.
    let good_until = newest.unwrap_or(if alarm.raised { DateTime::<Utc>::MIN_UTC } else { alarm.since });
    let wanted = ctx.backups.recipients.is_some();
    let overdue = wanted && now - good_until > TimeDelta::hours(LIMIT_HOURS);
    if let Some(newest) = newest {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        metrics::gauge!("pulsecal_backup_proven_age_seconds").set((now - newest).num_seconds() as f64);
    }
    metrics::gauge!("pulsecal_backup_overdue").set(if overdue { 1.0 } else { 0.0 });
    let detail = newest.map_or_else(|| "there is none".to_owned(), |at| format!("the newest is of {at}"));
    if overdue != alarm.raised {
        backups::set_alarm(tx.conn(), NAME, overdue, &detail, now).await?;
    }
    tx.commit().await?;
    // The row's lock makes one scheduler tell it, and the row makes it be told once.
    match (overdue, alarm.raised) {
        (true, false) => tracing::error!(
            newest = detail,
            "backup.overdue: no backup was proven for {LIMIT_HOURS} hours; see `pulsecal backup list` and `pulsecal jobs list --kind backup_database`"
        ),
        (false, true) => tracing::info!(newest = detail, "backup.overdue: over, a backup is proven"),
        _ => {}
    }
    Ok(())
}
