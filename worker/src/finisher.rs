//! Records how jobs ended, all that ended in the last instant in one statement.

use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::ledger::Finish;
use pulsecal_core::store::{DbError, Scope, finish};
use pulsecal_core::telemetry::Loop;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::held::Held;

/// No statement records more.
const MOST_AT_ONCE: usize = 1000;

/// The way to the finisher; when all of these are gone, it records what is left and ends.
pub type Ended = mpsc::Sender<Finish>;

/// The channel to a finisher. It is bounded: when Postgres is away, handlers wait here, and taking pauses.
pub fn channel() -> (Ended, mpsc::Receiver<Finish>) {
    mpsc::channel(2 * MOST_AT_ONCE)
}

/// Records until every sender is gone.
pub async fn run(ctx: Context, mut ended: mpsc::Receiver<Finish>, held: Held, moved: Loop) {
    let mut batch = Vec::with_capacity(MOST_AT_ONCE);
    loop {
        moved.moved();
        match timeout(Duration::from_secs(5), ended.recv_many(&mut batch, MOST_AT_ONCE)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => continue, // nothing ended lately
        }
        let mut tries = 0;
        loop {
            match record(&ctx, &batch).await {
                Ok(()) => break,
                Err(error) => {
                    if tries == 0 {
                        tracing::warn!(error = %error, jobs = batch.len(), "finish: Postgres is away; the outcomes are kept and recorded later");
                    }
                    tries += 1;
                    moved.moved();
                    sleep(Duration::from_millis(100 * 2_u64.pow(tries.min(5) - 1))).await;
                }
            }
        }
        held.release(batch.iter().map(|entry| &entry.fence));
        batch.clear();
    }
}

async fn record(ctx: &Context, batch: &[Finish]) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let held = finish::finish(tx.conn(), batch).await?;
    tx.commit().await?;
    for late in batch.iter().filter(|entry| !held.contains(&entry.fence.job)) {
        tracing::warn!(job.id = %late.fence.job, job.attempt = late.fence.attempt, "finish.fenced: the job was given to another worker meanwhile; this outcome is dropped");
    }
    Ok(())
}
