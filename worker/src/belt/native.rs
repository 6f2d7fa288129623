//! PulseCal's own apalis backend: ids from Redis lists, many at a time, woken by a blocking pop, claimed in one statement.
//! No error of Redis or Postgres gets past it: taking pauses, backs off and goes on, running jobs are left alone.

use std::convert::Infallible;
use std::task::{Context as Wake, Poll};
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::Task;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Claimed, Queue};
use pulsecal_core::store::jobs::Crashed;
use tokio::time::sleep;
use tower::layer::util::Identity;
use uuid::Uuid;

use super::line::{Line, Trouble, put_back};
use super::room::HandOver;
use super::{Lane, Running, claim};
use crate::runner::Runner;

/// No claim is larger.
const MOST_AT_ONCE: usize = 1000;

/// One queue on the native belt.
#[derive(Clone)]
pub struct NativeQueue {
    queue: Queue,
    jobs: HandOver,
}

impl NativeQueue {
    /// Starts the taking side and the apalis worker.
    pub fn start(lane: Lane, running: &mut Running) -> Self {
        let jobs = HandOver::new(lane.slots);
        let worker = WorkerBuilder::new(format!("{}-{}", lane.queue, lane.process))
            .backend(NativeBelt { jobs: jobs.clone() })
            .concurrency(lane.slots)
            .data((lane.runner.clone(), jobs.clone()))
            .build(work);
        let stop = lane.stop.clone();
        running.workers.spawn(async move {
            let ended = worker.run_until(async move {
                stop.cancelled().await;
                Ok::<(), WorkerError>(())
            });
            format!("{:?}", ended.await)
        });
        let belt = Self { queue: lane.queue, jobs: jobs.clone() };
        running.takers.spawn(take(lane, jobs));
        belt
    }

    /// The queue.
    pub fn queue(&self) -> Queue {
        self.queue
    }

    /// Puts a claimed job among those that wait for a slot.
    pub fn hand(&self, job: Claimed) {
        self.jobs.room().claimed(1);
        self.jobs.put(vec![job]);
    }

    /// What waits for a slot.
    pub fn take_back(&self) -> Vec<Claimed> {
        self.jobs.take_back()
    }
}

/// What apalis calls for each job.
async fn work(job: Claimed, parts: Data<(Runner, HandOver)>) -> Result<(), BoxDynError> {
    let (runner, jobs) = &*parts;
    runner.run(job).await;
    jobs.room().ended();
    Ok(())
}

/// The apalis end: yields what the taking side claimed.
#[derive(Debug)]
struct NativeBelt {
    jobs: HandOver,
}

impl Backend for NativeBelt {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Wake<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Wake<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.jobs.poll_next(cx).map(|job| Some(Ok(Task::new(job))))
    }

    fn poll_close(&mut self, _: &mut Wake<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // what waited is given back by the stop; the finisher flushes the rest
    }
}

impl BackendConfig for NativeBelt {
    type Args = Claimed;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// The taking side. Runs until the stop, which it sees only where it holds nothing: an id that Redis popped goes back, and
/// a claim is not broken off, since what it claimed would then run nowhere while this process lives.
async fn take(lane: Lane, jobs: HandOver) {
    let belt = lane.ctx.db.belt().clone();
    let keys = lane.list_keys();
    let mut line = Line::default();
    let mut held: Option<(String, Vec<JobId>)> = None;
    let mut trouble = Trouble::new(lane.queue);
    loop {
        lane.moved.moved();
        if lane.is_paused() {
            if let Some((key, ids)) = held.take() {
                put_back(&belt, &key, &ids).await;
            }
            if lane.resumed_or_stopped().await { continue } else { break }
        }
        let room = tokio::select! {
            biased;
            () = lane.stop.cancelled() => break,
            room = jobs.room().wait() => room.min(MOST_AT_ONCE),
            // Full slots are no wedge: the handlers have time-outs of their own.
            () = sleep(Duration::from_secs(5)) => continue,
        };
        if held.is_none() {
            match line.pop(&belt, &keys, room).await {
                Ok(popped) => held = popped,
                Err(error) => trouble.wait("Redis", &error, &lane.stop).await,
            }
        }
        let Some((_, ids)) = &held else { continue };
        if lane.is_paused() {
            continue;
        }
        if lane.stop.is_cancelled() {
            break;
        }
        match claim(&lane.ctx, lane.runner.held(), ids, lane.process, Crashed::Never).await {
            Ok(claimed) => {
                held = None;
                trouble.over();
                jobs.room().claimed(claimed.len());
                jobs.put(claimed);
            }
            Err(error) => trouble.wait("Postgres", &error, &lane.stop).await,
        }
    }
    if let Some((key, ids)) = held {
        put_back(&belt, &key, &ids).await;
    }
}
