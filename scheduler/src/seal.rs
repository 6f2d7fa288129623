//! Audit entries get their links in the chains, and signed heads go to the blob store.

use std::sync::Mutex;
use std::time::Duration;

use pulsecal_core::audit::{keep, seal};
use pulsecal_core::context::Context;
use pulsecal_core::store::DbError;
use pulsecal_core::telemetry::Loop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An entry is sealed within this, once no older transaction is open.
const EVERY: Duration = Duration::from_secs(5);
/// A head is written within this after something was sealed.
const HEADS_EVERY: Duration = Duration::from_secs(60);
/// Old heads are thinned out this often.
const THIN_EVERY: Duration = Duration::from_secs(3600);

/// What the loop remembers.
#[derive(Default)]
struct Remembered {
    heads: Option<Instant>,
    nothing_new: bool,
    thinned: Option<Instant>,
    last: Vec<pulsecal_core::store::audit::chain::Head>,
}

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    let remembered = Mutex::new(Remembered::default());
    crate::process::repeat("seal", moved, stop, || async {
        let sealed = seal::seal_round(&ctx).await?;
        metrics::counter!("audit_sealed_total").increment(sealed.entries as u64);
        if sealed.more {
            return Ok(Duration::ZERO);
        }
        seal::tail(&ctx).await?;
        let mut mine = std::mem::take(&mut *remembered.lock().unwrap_or_else(|broken| broken.into_inner()));
        mine.nothing_new &= sealed.entries == 0;
        let done = heads(&ctx, &mut mine).await;
        *remembered.lock().unwrap_or_else(|broken| broken.into_inner()) = mine;
        done?;
        Ok::<_, DbError>(EVERY)
    })
    .await;
}

/// Writes a head if something was sealed since the last. A blob store that is away holds up nothing: the next round tries again.
async fn heads(ctx: &Context, mine: &mut Remembered) -> Result<(), DbError> {
    let early = mine.heads.is_some_and(|since| since.elapsed() < HEADS_EVERY);
    if !ctx.blobs.is_set() || mine.nothing_new || early {
        return Ok(());
    }
    let now = keep::chains(ctx).await?;
    mine.nothing_new = true;
    if now != mine.last && !now.is_empty() {
        mine.heads = Some(Instant::now());
        match keep::put(ctx, now.clone()).await {
            Ok(_) => {
                mine.last = now;
                metrics::counter!("audit_heads_written_total").increment(1);
            }
            Err(error) => {
                mine.nothing_new = false;
                metrics::counter!("audit_heads_failed_total").increment(1);
                tracing::warn!(%error, "audit.heads: the signed head could not be written; tries again in a minute");
            }
        }
    }
    if mine.thinned.is_none_or(|since| since.elapsed() >= THIN_EVERY) {
        mine.thinned = Some(Instant::now());
        if let Err(error) = keep::thin(ctx).await {
            tracing::warn!(%error, "audit.heads: old heads could not be removed; tries again in an hour");
        }
    }
    Ok(())
}
