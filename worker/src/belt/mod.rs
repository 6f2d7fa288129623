//! Belts: how ids travel from Redis into apalis workers. Two of them behind one type; what both share is that the ledger
//! decides who runs a job (the claim) and how it ended (the finish), so that a belt may lose or double ids as it likes.

mod line;
mod native;
mod room;
mod stock;
mod stock_keys;
mod suspects;

use std::time::Duration;

use pulsecal_core::belt::list_key;
use pulsecal_core::config::BeltKind;
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::{Claimed, Priority, Queue};
use pulsecal_core::store::jobs::{self, Crashed};
use pulsecal_core::store::{DbError, Scope};
use pulsecal_core::telemetry::Loop;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::runner::Runner;

pub use suspects::take_suspects;

/// What a belt works with to serve one queue.
pub struct Lane {
    /// The world.
    pub ctx: Context,
    /// The queue.
    pub queue: Queue,
    /// How many of its jobs run at once.
    pub slots: usize,
    /// Who claims.
    pub process: ProcessId,
    /// What runs a claimed job.
    pub runner: Runner,
    /// No new claims after this.
    pub stop: CancellationToken,
    /// The taking loop's hand.
    pub moved: Loop,
}

impl Lane {
    /// Whether an operator paused the queue: then nothing of it is claimed.
    fn is_paused(&self) -> bool {
        self.runner.orders().is_paused(self.queue)
    }

    /// Waits until the queue may move again, a few seconds at most. False: this process stops.
    async fn resumed_or_stopped(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.runner.orders().resumed(self.queue) => true,
            () = sleep(Duration::from_secs(5)) => true, // standing still on purpose is no wedge
        }
    }

    /// The queue's native lists, the first to be taken first.
    fn list_keys(&self) -> Vec<String> {
        let belt = self.ctx.db.belt();
        Priority::ALL.iter().map(|priority| list_key(belt.prefix(), self.queue, priority.level())).collect()
    }
}

/// What the belts of a process run.
#[derive(Default)]
pub struct Running {
    /// The taking sides: end within seconds after the stop, holding nothing.
    pub takers: JoinSet<()>,
    /// The apalis workers: end when the jobs they run have ended. One that ends before the stop says why.
    pub workers: JoinSet<String>,
}

/// One queue's belt.
#[derive(Clone)]
pub enum QueueBelt {
    /// PulseCal's own.
    Native(native::NativeQueue),
    /// Stock apalis-redis.
    ApalisRedis(stock::StockQueue),
}

impl QueueBelt {
    /// Starts to serve a queue.
    pub fn start(kind: BeltKind, lane: Lane, running: &mut Running) -> Self {
        match kind {
            BeltKind::Native => Self::Native(native::NativeQueue::start(lane, running)),
            BeltKind::ApalisRedis => Self::ApalisRedis(stock::StockQueue::start(lane, running)),
        }
    }

    /// The queue.
    pub fn queue(&self) -> Queue {
        match self {
            Self::Native(belt) => belt.queue(),
            Self::ApalisRedis(belt) => belt.queue(),
        }
    }

    /// Runs a job that was claimed beside the belt, in one of the queue's slots.
    fn hand(&self, job: Claimed) {
        match self {
            Self::Native(belt) => belt.hand(job),
            Self::ApalisRedis(belt) => belt.hand(job),
        }
    }

    /// Claimed jobs that did not start, for a worker that stops.
    pub fn take_back(&self) -> Vec<Claimed> {
        match self {
            Self::Native(belt) => belt.take_back(),
            Self::ApalisRedis(_) => Vec::new(), // it claims when a slot is free, not before
        }
    }
}

/// The claim of a queue's own taking side, which takes no suspects.
/// Claims those of `ids` that are ready and crashed so often.
async fn claim(
    ctx: &Context,
    held: &Held,
    ids: &[JobId],
    worker: ProcessId,
    crashed: Crashed,
) -> Result<Vec<Claimed>, DbError> {
    let claim = async {
        let mut tx = ctx.begin(Scope::Ledger).await?;
        let claimed = jobs::claim(tx.conn(), ids, worker, crashed).await?;
        tx.commit().await?;
        Ok(claimed)
    };
    let claimed = claim.await;
    match &claimed {
        Ok(claimed) => held.add(claimed.iter().map(|job| job.fence)),
        Err(_) => held.doubt(),
    }
    claimed
}
