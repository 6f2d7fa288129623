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
/// How often an idle dispatcher looks.
const IDLE: Duration = Duration::from_millis(500);

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    crate::process::repeat("dispatch", moved, stop, || async {
        let taken = dispatch_due(&ctx, BATCH, |step| NewJob::of(&MedicationReminder::from(step))).await?;
        Ok::<_, pulsecal_core::store::DbError>(if taken > 0 { Duration::ZERO } else { IDLE })
    })
    .await;
}
