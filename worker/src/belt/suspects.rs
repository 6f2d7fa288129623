//! The taking side of the suspects: jobs whose worker died with them. The same for both belts, since it needs no belt.
//!
//! Most of those that crashed once are innocent: they ran beside the one that kills. They run again in small groups, one
//! group for each queue, and only who crashed again runs alone: beside no other suspect of this process. So the one that
//! kills takes another suspect with it twice at most, once among all and once in a group, and then none any more.

mod turns;

use std::collections::VecDeque;
use std::time::Duration;

use pulsecal_core::belt::suspects_key;
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::Fence;
use pulsecal_core::store::jobs::{self, Crashed};
use pulsecal_core::store::{DbError, Scope};
use pulsecal_core::telemetry::Loop;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::orders::Orders;

use self::turns::{Next, Turns};
use super::line::{Line, put_back};
use super::{QueueBelt, claim};

/// So many suspects of a queue run at once, or as many as it has slots if these are fewer, or the square root of its slots if
/// that is more. The larger, the sooner all are done that a killed worker leaves; but if one of them kills, so many run one
/// by one afterwards. With the square root there are about as many groups as there are members in one.
const GROUP: usize = 8;
/// No more ids are kept that may have to run alone; the sweep brings the others again.
const MOST_KEPT: usize = 64;
/// How often the suspects' lists are looked at when nothing happens; they are nearly always empty.
const EVERY: Duration = Duration::from_millis(500);
/// How soon after something happened: a worker that was killed leaves many that are short.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// How often, at least, while suspects run.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// Runs until `stop`. Each queue comes with the number of its slots.
pub async fn take_suspects(
    ctx: Context,
    queues: Vec<(QueueBelt, usize)>,
    held: Held,
    orders: Orders,
    worker: ProcessId,
    moved: Loop,
    stop: CancellationToken,
) {
    let groups = queues.into_iter().map(|(belt, slots)| Group {
        list: suspects_key(ctx.db.belt().prefix(), belt.queue()),
        belt,
        most: slots.isqrt().max(GROUP).min(slots),
        running: Vec::new(),
    });
    let groups = groups.collect();
    let mut suspects = Suspects {
        groups,
        alone: None,
        kept: VecDeque::new(),
        doubted: Vec::new(),
        turns: Turns::default(),
        line: Line::default(),
        ctx,
        held,
        orders,
        worker,
        stop,
    };
    let mut look = EVERY;
    loop {
        moved.moved();
        tokio::select! { () = suspects.stop.cancelled() => return, () = sleep(look) => {} }
        look = match suspects.round().await {
            true => FIRST_LOOK,
            false => (look * 2).min(if suspects.any_runs() { LAST_LOOK } else { EVERY }),
        };
    }
}

/// The suspects of one queue that run beside each other.
struct Group {
    list: String,
    belt: QueueBelt,
    most: usize,
    running: Vec<Fence>,
}

struct Suspects {
    groups: Vec<Group>,
    /// The one that runs alone.
    alone: Option<Fence>,
    /// Ids that no group could claim, with their queue's place: they have to run alone, or are nobody's any more.
    kept: VecDeque<(usize, JobId)>,
    /// Ids whose claim failed; the ledger may have taken it all the same.
    doubted: Vec<JobId>,
    turns: Turns,
    line: Line,
    ctx: Context,
    held: Held,
    orders: Orders,
    worker: ProcessId,
    stop: CancellationToken,
}

impl Suspects {
    /// True: some ended or were claimed, so that it is worth looking again soon.
    async fn round(&mut self) -> bool {
        let ended = self.forget_ended();
        // What the ledger says runs here would count as crashed if this process died: nobody is to be beside it.
        if self.in_doubt().await {
            return ended;
        }
        let in_groups = self.groups.iter().any(|group| !group.running.is_empty());
        let claimed =
            match self.turns.next(self.alone.is_some(), in_groups, self.first_kept().is_some(), Instant::now()) {
                Next::Wait => false,
                Next::Alone => self.one_alone().await,
                Next::Groups => {
                    let mut claimed = false;
                    for queue in 0..self.groups.len() {
                        claimed |= self.fill(queue).await;
                    }
                    claimed
                }
            };
        ended || claimed
    }

    fn is_paused(&self, queue: usize) -> bool {
        self.orders.is_paused(self.groups[queue].belt.queue())
    }

    /// The place of the first that is kept and whose queue is not paused.
    fn first_kept(&self) -> Option<usize> {
        self.kept.iter().position(|(queue, _)| !self.is_paused(*queue))
    }

    fn any_runs(&self) -> bool {
        self.alone.is_some() || self.groups.iter().any(|group| !group.running.is_empty())
    }

    /// What has ended here and is on record no longer counts. This process is asked and not the ledger, which may have given
    /// away what still runs here, as happens to a process that was frozen.
    fn forget_ended(&mut self) -> bool {
        let mut ended = self.alone.take_if(|fence| !self.held.knows(fence)).is_some();
        for group in &mut self.groups {
            let before = group.running.len();
            group.running.retain(|fence| self.held.knows(fence));
            ended |= group.running.len() < before;
        }
        ended
    }

    async fn in_doubt(&mut self) -> bool {
        while let Some(&job) = self.doubted.last() {
            let held = async {
                let mut tx = self.ctx.begin(Scope::Platform).await?;
                jobs::is_held(tx.conn(), job, self.worker).await
            };
            let held: Result<bool, DbError> = held.await;
            // Unknown counts as held: better a suspect late than one too many at once.
            if held.unwrap_or(true) {
                return true;
            }
            self.doubted.pop();
        }
        false
    }

    /// Fills a queue's group up. True: some were claimed.
    async fn fill(&mut self, queue: usize) -> bool {
        let mut any = false;
        while !self.is_paused(queue) {
            let Group { list, most, running, .. } = &self.groups[queue];
            let ids = pop(&mut self.line, &self.ctx, list, most - running.len()).await;
            if ids.is_empty() {
                return any;
            }
            if self.stop.is_cancelled() {
                put_back(self.ctx.db.belt(), list, &ids).await;
                return any;
            }
            let Ok(claimed) = claim(&self.ctx, &self.held, &ids, self.worker, Crashed::Once).await else {
                self.doubted.extend(ids);
                return any;
            };
            any |= !claimed.is_empty();
            for id in ids.into_iter().filter(|id| claimed.iter().all(|job| job.fence.job != *id)) {
                if self.kept.len() < MOST_KEPT && !self.kept.contains(&(queue, id)) {
                    self.kept.push_back((queue, id));
                }
            }
            for job in claimed {
                let fence = job.fence;
                tracing::info!(job.id = %fence.job, job.kind = job.kind, job.attempt = fence.attempt, "belt.suspect: runs in a group");
                self.groups[queue].running.push(fence);
                self.groups[queue].belt.hand(job);
            }
        }
        any
    }

    /// Claims the first of those kept that is still there to be claimed.
    async fn one_alone(&mut self) -> bool {
        while let Some((queue, id)) = self.first_kept().and_then(|place| self.kept.remove(place)) {
            if self.stop.is_cancelled() {
                return false;
            }
            let Ok(claimed) = claim(&self.ctx, &self.held, &[id], self.worker, Crashed::Again).await else {
                self.doubted.push(id);
                return false;
            };
            if let Some(job) = claimed.into_iter().next() {
                let fence = job.fence;
                tracing::info!(job.id = %fence.job, job.kind = job.kind, job.attempt = fence.attempt, "belt.suspect: runs alone");
                self.alone = Some(fence);
                self.groups[queue].belt.hand(job);
                return true;
            }
        }
        false
    }
}

/// Up to `most` ids of a list. A Redis that is away is the queue's own taking side's to report.
async fn pop(line: &mut Line, ctx: &Context, list: &str, most: usize) -> Vec<JobId> {
    let mut ids = Vec::with_capacity(most);
    while ids.len() < most {
        match line.pop_one(ctx.db.belt(), list).await {
            Ok(Some(id)) => ids.push(id),
            Ok(None) | Err(_) => break,
        }
    }
    ids
}
