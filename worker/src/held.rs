//! What this process holds, as it knows itself. When the answer to a claim is lost, the ledger may say that a job runs here
//! of which this process knows nothing: nobody would rescue it while this process lives. So it asks, and gives such a job back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::ids::ProcessId;
use pulsecal_core::ledger::{Ending, Fence, Finish};
use pulsecal_core::store::{Scope, jobs};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::finisher::Ended;

/// How often a doubt is looked into.
const EVERY: Duration = Duration::from_secs(3);
/// A claim younger than this may have an answer that is still on its way.
const YOUNGEST_SECONDS: f64 = 10.0;

/// The claims of this process, from their claim until their outcome is on record. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fences: Mutex<HashSet<Fence>>,
    in_doubt: AtomicBool,
}

impl Held {
    /// These were claimed.
    pub fn add(&self, claimed: impl Iterator<Item = Fence>) {
        self.0.fences.lock().unwrap_or_else(|broken| broken.into_inner()).extend(claimed);
    }

    /// The outcome of these is on record, or another's matter.
    pub fn release<'a>(&self, ended: impl Iterator<Item = &'a Fence>) {
        let mut fences = self.0.fences.lock().unwrap_or_else(|broken| broken.into_inner());
        for fence in ended {
            fences.remove(fence);
        }
    }

    /// A claim failed: the ledger may have taken it all the same.
    pub fn doubt(&self) {
        self.0.in_doubt.store(true, Ordering::Release);
    }

    /// Whether this claim is one of them.
    pub fn knows(&self, fence: &Fence) -> bool {
        self.0.fences.lock().unwrap_or_else(|broken| broken.into_inner()).contains(fence)
    }
}

/// Looks into doubts until `stop`.
pub async fn settle_doubts(ctx: Context, held: Held, ended: Ended, process: ProcessId, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = sleep(EVERY) => {} }
        if !held.0.in_doubt.swap(false, Ordering::AcqRel) {
            continue;
        }
        let ask = async {
            let mut tx = ctx.begin(Scope::Platform).await?;
            let all = jobs::held_by(tx.conn(), process).await?;
            tx.commit().await?;
            Ok::<_, pulsecal_core::store::DbError>(all)
        };
        let Ok(all) = ask.await else {
            held.doubt();
            continue;
        };
        for (fence, seconds) in all {
            if held.knows(&fence) {
                continue;
            }
            if seconds < YOUNGEST_SECONDS {
                held.doubt();
                continue;
            }
            tracing::warn!(job.id = %fence.job, "held: the answer to this job's claim was lost; it is given back");
            // The finisher lives as long as this process takes jobs.
            let _sent = ended.send(Finish { fence, ending: Ending::GivenBack }).await;
        }
    }
}
