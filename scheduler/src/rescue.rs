//! The jobs of processes that fell silent are given back.

use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::store::{DbError, Scope, feed, finish};
use pulsecal_core::telemetry::Loop;
use tokio_util::sync::CancellationToken;

/// A process that has not beaten for so long is taken for dead. With a beat every 2 s and a look every 2 s, its jobs run
/// elsewhere within half a minute.
const SILENCE_SECONDS: f64 = 12.0;
const EVERY: Duration = Duration::from_secs(2);
/// Looking for jobs whose worker has no row reads all live jobs, so it is done each n-th round.
const STRANGERS_EVERY: u32 = 15;

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    let round = std::sync::atomic::AtomicU32::new(0);
    crate::process::repeat("rescue", moved, stop, || async {
        let count = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut tx = ctx.begin(Scope::Platform).await?;
        let mut gone = feed::remove_silent(tx.conn(), SILENCE_SECONDS).await?;
        if count % STRANGERS_EVERY == STRANGERS_EVERY - 1 {
            gone.extend(feed::strangers(tx.conn()).await?);
        }
        if !gone.is_empty() {
            let (back, dead) = finish::rescue(tx.conn(), &gone).await?;
            tracing::warn!(
                processes = gone.len(),
                jobs.given_back = back,
                jobs.dead = dead,
                "rescue: processes fell silent"
            );
        }
        tx.commit().await?;
        Ok::<_, DbError>(EVERY)
    })
    .await;
}
