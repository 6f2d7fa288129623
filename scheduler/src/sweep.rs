//! The sweep: pushes every due job that is not on the belt. It reads the ledger in order of time, and keeps its place, so
//! that a long queue is pushed once; when a list has run empty it starts from the front, and finds what was lost.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pulsecal_core::belt::{BeltError, DEPTH, list_key, suspects_key};
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::Queue;
use pulsecal_core::store::{DbError, Scope, feed};
use pulsecal_core::telemetry::Loop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the sweep looks.
const EVERY: Duration = Duration::from_millis(250);
/// Ids pushed in one go.
const BATCH: usize = 5000;
/// The epoch moves on so often; a Redis restored from an older state is found by it.
const EPOCH_EVERY: Duration = Duration::from_secs(5);
/// From time to time the front is read again although the list is not empty: what a worker took and never claimed waits
/// there when the queue never drains.
const FRONT_EVERY: Duration = Duration::from_secs(30);
/// A turn of feeding lasts so long; another scheduler takes over when it is not renewed.
const TURN_SECONDS: f64 = 3.0;

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
    #[error(transparent)]
    Belt(#[from] BeltError),
}

/// How far a list was fed, and when the front was last read.
type Place = (Option<(DateTime<Utc>, JobId)>, Option<Instant>);

#[derive(Default)]
struct Places {
    at: HashMap<(Queue, i16), Place>,
    epoch: Option<(String, Instant)>,
}

/// Runs until `stop`.
pub async fn run(ctx: Context, me: ProcessId, moved: Loop, stop: CancellationToken) {
    let places = Mutex::new(Places::default());
    crate::process::repeat("sweep", moved, stop, || async {
        let mut mine = std::mem::take(&mut *places.lock().unwrap_or_else(|broken| broken.into_inner()));
        let done = round(&ctx, me, &mut mine).await;
        *places.lock().unwrap_or_else(|broken| broken.into_inner()) = mine;
        done
    })
    .await;
    let leave = async {
        let mut tx = ctx.begin(Scope::Ledger).await?;
        feed::leave_turn(tx.conn(), me).await?;
        tx.commit().await
    };
    // If it cannot be told, the turn runs out by itself.
    let _left = tokio::time::timeout(Duration::from_secs(1), leave).await;
}

async fn round(ctx: &Context, me: ProcessId, places: &mut Places) -> Result<Duration, SweepError> {
    let mut tx = ctx.begin(Scope::Ledger).await?;
    let Some(remembered) = feed::take_turn(tx.conn(), me, TURN_SECONDS).await? else {
        *places = Places::default();
        tx.commit().await?;
        return Ok(Duration::from_secs(1));
    };
    let waiting = feed::queues_with_due(tx.conn()).await?;
    tx.commit().await?;
    keep_epoch(ctx, places, &remembered).await?;
    let mut more = false;
    for (queue, priority) in waiting {
        let Ok(queue) = queue.parse::<Queue>() else { continue };
        more |= feed_one(ctx, places, queue, priority).await?;
    }
    Ok(if more { Duration::from_millis(20) } else { EVERY })
}

/// Notices that Redis lost its state or went back to an older one, and moves the epoch on.
async fn keep_epoch(ctx: &Context, places: &mut Places, remembered: &str) -> Result<(), SweepError> {
    let belt = ctx.db.belt();
    let found = belt.epoch().await?;
    let lost = found.as_deref() != Some(remembered);
    if lost {
        tracing::warn!("sweep.epoch: the belt was lost or is of an older state; everything due is pushed again");
        places.at.clear();
    }
    let fresh =
        places.epoch.as_ref().is_some_and(|(epoch, since)| epoch == remembered && since.elapsed() < EPOCH_EVERY);
    if lost || !fresh {
        let epoch = ctx.ids.new_id::<JobId>().to_string();
        let mut tx = ctx.begin(Scope::Platform).await?;
        feed::set_epoch(tx.conn(), &epoch).await?;
        tx.commit().await?;
        belt.set_epoch(&epoch).await?;
        places.epoch = Some((epoch, Instant::now()));
    }
    Ok(())
}

/// Tops one list up. True: there is more to push at once.
async fn feed_one(ctx: &Context, places: &mut Places, queue: Queue, priority: i16) -> Result<bool, SweepError> {
    let belt = ctx.db.belt();
    let key = list_key(belt.prefix(), queue, priority);
    let depth = belt.depth(&key).await?;
    let (place, front) = places.at.entry((queue, priority)).or_default();
    if depth == 0 || front.is_none_or(|since| since.elapsed() > FRONT_EVERY) {
        *place = None;
        *front = Some(Instant::now());
    }
    let room = DEPTH.saturating_sub(depth).min(BATCH);
    if room == 0 {
        return Ok(false);
    }
    let mut tx = ctx.begin(Scope::Ledger).await?;
    let due = feed::due_jobs(tx.conn(), queue, priority, *place, i64::try_from(room).unwrap_or(i64::MAX)).await?;
    tx.commit().await?;
    let (suspects, ready): (Vec<&feed::DueJob>, Vec<&feed::DueJob>) = due.iter().partition(|job| job.suspect);
    if !ready.is_empty() {
        belt.push(&key, &ready.iter().map(|job| job.id).collect::<Vec<_>>()).await?;
    }
    if !suspects.is_empty() {
        let key = suspects_key(belt.prefix(), queue);
        if belt.depth(&key).await? == 0 {
            belt.push(&key, &suspects.iter().map(|job| job.id).collect::<Vec<_>>()).await?;
        }
    }
    if let Some(last) = due.last() {
        *place = Some((last.run_at, last.id));
    }
    Ok(due.len() == room)
}
