//! The taking side of the suspects: jobs whose worker died with them, one at a time in a whole process, so that the one
//! that kills takes no other suspect with it. The same for both belts, since it needs no belt.

use std::time::Duration;

use pulsecal_core::belt::suspects_key;
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::store::{Scope, jobs};
use pulsecal_core::telemetry::Loop;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::held::Held;

use super::line::{Line, put_back};
use super::{QueueBelt, claim};

/// How often the suspects' lists are looked at; they are nearly always empty.
const EVERY: Duration = Duration::from_millis(500);
/// How often a running suspect is looked at: soon at first, since a worker that was killed leaves many that are short, …
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// … then less and less often.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// Runs until `stop`.
pub async fn take_suspects(
    ctx: Context,
    queues: Vec<QueueBelt>,
    held: Held,
    worker: ProcessId,
    moved: Loop,
    stop: CancellationToken,
) {
    let belt = ctx.db.belt().clone();
    let mut line = Line::default();
    let mut found = false;
    loop {
        moved.moved();
        if !std::mem::take(&mut found) {
            tokio::select! { () = stop.cancelled() => return, () = sleep(EVERY) => {} }
        }
        for queue in &queues {
            let key = suspects_key(belt.prefix(), queue.queue());
            let ids = match line.pop_one(&belt, &key).await {
                Ok(Some(id)) => [id],
                // The queue's own taking side reports a Redis that is away.
                Ok(None) | Err(_) => continue,
            };
            if stop.is_cancelled() {
                put_back(&belt, &key, &ids).await;
                return;
            }
            found = true;
            let Ok(claimed) = claim(&ctx, &held, &ids, worker, true).await else {
                found = false;
                continue;
            };
            for job in claimed {
                let fence = job.fence;
                tracing::info!(job.id = %fence.job, job.kind = job.kind, job.attempt = fence.attempt, "belt.suspect: runs alone");
                queue.hand(job);
                let mut look = FIRST_LOOK;
                while still_held(&ctx, fence.job, worker).await {
                    moved.moved();
                    tokio::select! { () = stop.cancelled() => return, () = sleep(look) => {} }
                    look = (look * 2).min(LAST_LOOK);
                }
            }
        }
    }
}

async fn still_held(ctx: &Context, job: JobId, worker: ProcessId) -> bool {
    let held = async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        jobs::is_held(tx.conn(), job, worker).await
    };
    // Unknown counts as held: better one suspect late than two at once.
    held.await.unwrap_or(true)
}
