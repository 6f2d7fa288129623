//! What operators ask of a running worker: queues that stand still, and jobs that are to stop. The ledger has it; each worker
//! asks each second. While Postgres is away the last orders hold.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::ids::ProcessId;
use pulsecal_core::ledger::{Fence, Queue};
use pulsecal_core::store::{DbError, Scope, control};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often the ledger is asked.
const EVERY: Duration = Duration::from_secs(1);

/// The orders, as they were last heard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    paused: watch::Sender<Vec<Queue>>,
    cancelled: watch::Sender<HashSet<Fence>>,
}

impl Default for Orders {
    /// Until the ledger was asked, every queue stands still: one that was paused shall not move at a worker's start.
    fn default() -> Self {
        let shared =
            Shared { paused: watch::Sender::new(Queue::ALL.to_vec()), cancelled: watch::Sender::new(HashSet::new()) };
        Self(Arc::new(shared))
    }
}

impl Orders {
    /// Whether nothing of this queue may be claimed.
    pub fn is_paused(&self, queue: Queue) -> bool {
        self.0.paused.borrow().contains(&queue)
    }

    /// Waits until the queue may move.
    pub async fn resumed(&self, queue: Queue) {
        let mut heard = self.0.paused.subscribe();
        // The sender lives as long as `self`.
        drop(heard.wait_for(|paused| !paused.contains(&queue)).await);
    }

    /// Whether this run is to stop.
    pub fn is_cancelled(&self, fence: &Fence) -> bool {
        self.0.cancelled.borrow().contains(fence)
    }

    /// Waits until this run is to stop.
    pub async fn cancelled(&self, fence: Fence) {
        let mut heard = self.0.cancelled.subscribe();
        drop(heard.wait_for(|asked| asked.contains(&fence)).await);
    }

    async fn ask(&self, ctx: &Context, process: ProcessId) -> Result<(), DbError> {
        let mut tx = ctx.begin(Scope::Ledger).await?;
        let (paused, cancelled) = control::orders(tx.conn(), process).await?;
        tx.commit().await?;
        // A queue of another release is none of this worker's.
        let mut paused: Vec<Queue> = paused.iter().filter_map(|name| name.parse().ok()).collect();
        paused.sort_unstable();
        let changed = |now: &mut Vec<Queue>| {
            let differ = *now != paused;
            now.clone_from(&paused);
            differ
        };
        if self.0.paused.send_if_modified(changed) {
            if paused.is_empty() {
                tracing::info!("orders: no queue is paused");
            } else {
                tracing::info!(queues = ?paused, "orders: these queues are paused");
            }
        }
        let cancelled: HashSet<Fence> = cancelled.into_iter().collect();
        self.0.cancelled.send_if_modified(|now| {
            let more = cancelled.iter().any(|fence| !now.contains(fence));
            *now = cancelled;
            more
        });
        Ok(())
    }
}

/// Keeps the orders up to date until `stop`.
pub async fn follow(ctx: Context, orders: Orders, process: ProcessId, stop: CancellationToken) {
    let mut away = false;
    loop {
        let heard = orders.ask(&ctx, process).await;
        if let (Err(error), false) = (&heard, away) {
            tracing::warn!(error = %error, "orders: Postgres is away; what was heard last holds");
        }
        away = heard.is_err();
        tokio::select! { () = stop.cancelled() => return, () = sleep(EVERY) => {} }
    }
}
