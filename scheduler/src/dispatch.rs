//! Doses that fall due become jobs.

use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::doses::dispatch::dispatch_due;
use pulsecal_core::ledger::NewJob;
use pulsecal_core::telemetry::Loop;
use pulsecal_jobs::MedicationReminder;
use tokio_util::sync::CancellationToken;

/// Doses taken in one transaction.
const BATCH: i64 = 1000;
/// An idle dispatcher looks when the next dose falls due, and at least so often, since doses are planned, moved and snoozed
/// meanwhile …
const IDLE: Duration = Duration::from_millis(500);
/// … and at most so often, since another dispatcher may have what is due.
const SOON: Duration = Duration::from_millis(10);

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    crate::process::repeat("dispatch", moved, stop, || async {
        let done = dispatch_due(&ctx, BATCH, |step| NewJob::of(&MedicationReminder::from(step))).await?;
        let until_next = done.next_at.map_or(IDLE, |at| (at - ctx.clock.now()).to_std().unwrap_or_default());
        let wait = if done.taken > 0 { Duration::ZERO } else { until_next.clamp(SOON, IDLE) };
        Ok::<_, pulsecal_core::store::DbError>(wait)
    })
    .await;
}
