//! The sweep: pushes every due job that is not on the belt. It reads the ledger in order of time, and keeps its place, so
//! that a long queue is pushed once; when a list has run empty it starts from the front, and finds what was lost.

use std::sync::Mutex;
use std::time::Duration;

use pulsecal_core::belt::{BeltError, list_key, suspects_key};
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::{Priority, Queue};
use pulsecal_core::store::feed::{self, Fed};
use pulsecal_core::store::{DbError, Scope};
use pulsecal_core::telemetry::Loop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the sweep looks.
const EVERY: Duration = Duration::from_millis(250);
/// How often it looks whether a list that has more to come has run low.
const EVERY_LOW: Duration = Duration::from_millis(20);
/// A list is topped up when it holds less: enough for the fastest workers until the next look, and no more, since what was
/// pushed when it was enqueued is on the list already and would be there twice.
const LOW: usize = 2000;
/// Ids pushed in one go.
const BATCH: u16 = 5000;
/// The epoch moves on so often; a Redis restored from an older state is found by it.
const EPOCH_EVERY: Duration = Duration::from_secs(5);
/// The epoch that the migration writes: no belt was fed yet.
const FIRST_EPOCH: &str = "none";
/// A list that ran empty is fed from the front again, but no sooner than this after the last time: between the front and
/// its place lie the jobs that run now.
const FRONT_WHEN_EMPTY: Duration = Duration::from_secs(1);
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

/// What the sweep remembers from round to round.
struct Places {
    lists: Vec<List>,
    epoch: Option<(String, Instant)>,
    looked: Option<Instant>,
}

struct List {
    fed: Fed,
    /// When it was last fed from the front.
    front: Option<Instant>,
    /// The ledger has more for it.
    more: bool,
}

impl Default for Places {
    fn default() -> Self {
        let each = Queue::ALL.into_iter().flat_map(|queue| Priority::ALL.map(|priority| (queue, priority.level())));
        let lists = each.map(|(queue, priority)| Fed { queue, priority, place: None });
        let lists = lists.map(|fed| List { fed, front: None, more: false }).collect();
        Self { lists, epoch: None, looked: None }
    }
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
    if places.looked.is_none_or(|since| since.elapsed() >= EVERY) {
        let mut tx = ctx.begin(Scope::Ledger).await?;
        let Some(remembered) = feed::take_turn(tx.conn(), me, TURN_SECONDS).await? else {
            *places = Places::default();
            tx.commit().await?;
            return Ok(Duration::from_secs(1));
        };
        let lists: Vec<Fed> = places.lists.iter().map(|list| list.fed).collect();
        let waiting = feed::lists_with_due(tx.conn(), &lists).await?;
        tx.commit().await?;
        if keep_epoch(ctx, places, &remembered).await? {
            return Ok(Duration::ZERO);
        }
        for (list, more) in places.lists.iter_mut().zip(waiting) {
            list.more = more;
        }
        back_to_the_front(ctx, places).await?;
        places.looked = Some(Instant::now());
    }
    for list in places.lists.iter_mut().filter(|list| list.more) {
        feed_one(ctx, list).await?;
    }
    Ok(if places.lists.iter().any(|list| list.more) { EVERY_LOW } else { EVERY })
}

/// Lists that ran empty, or were not read from the front for long, are read from there in the next round.
async fn back_to_the_front(ctx: &Context, places: &mut Places) -> Result<(), SweepError> {
    let belt = ctx.db.belt();
    for List { fed, front, .. } in places.lists.iter_mut().filter(|list| list.fed.place.is_some()) {
        let ago = front.map_or(FRONT_EVERY, |since| since.elapsed());
        let key = list_key(belt.prefix(), fed.queue, fed.priority);
        if ago >= FRONT_EVERY || (ago >= FRONT_WHEN_EMPTY && belt.depth(&key).await? == 0) {
            fed.place = None;
        }
    }
    Ok(())
}

/// Notices that Redis lost its state or went back to an older one, and moves the epoch on. True: it did, and all lists are
/// to be fed from the front.
async fn keep_epoch(ctx: &Context, places: &mut Places, remembered: &str) -> Result<bool, SweepError> {
    let belt = ctx.db.belt();
    let found = belt.epoch().await?;
    let lost = found.as_deref() != Some(remembered);
    if lost {
        if remembered == FIRST_EPOCH {
            tracing::info!("sweep.epoch: a new belt");
        } else {
            tracing::warn!("sweep.epoch: the belt was lost or is of an older state; everything due is pushed again");
        }
        places.lists.iter_mut().for_each(|list| list.fed.place = None);
        places.looked = None;
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
    Ok(lost)
}

/// Tops one list up if it runs low.
async fn feed_one(ctx: &Context, list: &mut List) -> Result<(), SweepError> {
    let Fed { queue, priority, place } = list.fed;
    let belt = ctx.db.belt();
    let key = list_key(belt.prefix(), queue, priority);
    if belt.depth(&key).await? >= LOW {
        return Ok(());
    }
    let mut tx = ctx.begin(Scope::Ledger).await?;
    let due = feed::due_jobs(tx.conn(), list.fed, BATCH).await?;
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
    if place.is_none() {
        list.front = Some(Instant::now());
    }
    list.fed.place = due.last().map(|last| (last.run_at, last.id)).or(place);
    list.more = due.len() == usize::from(BATCH);
    Ok(())
}
