//! A worker process from start to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis_core::error::BoxDynError;
use apalis_core::error::WorkerError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use pulsecal_core::ledger::{Claimed, Ending, Finish, Queue};
use pulsecal_core::process::{Failure, Process};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::belt::{HandOver, NativeBelt, take, take_suspects};
use crate::finisher;
use crate::runner::Runner;

/// How long running jobs may go on after a stop was asked; then they are given back.
const RUNNING_TIME: Duration = Duration::from_secs(20);

/// Runs until the process is told to stop, then: no new claims, running jobs get their time, the rest is given back.
///
/// # Errors
/// A worker that ended without being told to.
pub async fn run(process: Process) -> Result<(), Failure> {
    let registry = Arc::new(pulsecal_jobs::registry());
    let (ended, finishing) = finisher::channel();
    let finisher = tokio::spawn(finisher::run(
        process.ctx.clone(),
        finishing,
        process.health.watch("finisher", Duration::from_secs(60)),
    ));
    let give_up = CancellationToken::new();
    let drain = CancellationToken::new();
    let mut takers = JoinSet::new();
    let mut workers = JoinSet::new();
    let mut lanes: Vec<(Queue, HandOver)> = Vec::new();
    for (&queue, &slots) in &process.config.worker_queues.0 {
        let jobs = HandOver::new(slots);
        lanes.push((queue, jobs.clone()));
        let moved = process.health.watch(format!("take {queue}"), Duration::from_secs(45));
        takers.spawn(take(process.ctx.clone(), queue, process.id, jobs.clone(), moved));
        let runner = Runner::new(process.ctx.clone(), registry.clone(), ended.clone(), jobs.clone(), give_up.clone());
        let worker = WorkerBuilder::new(format!("{queue}-{}", process.id))
            .backend(NativeBelt::new(jobs))
            .concurrency(slots)
            .data(runner)
            .build(work);
        let drain = drain.clone();
        workers.spawn(worker.run_until(async move {
            drain.cancelled().await;
            Ok::<(), WorkerError>(())
        }));
    }
    takers.spawn(take_suspects(
        process.ctx.clone(),
        lanes.clone(),
        process.id,
        process.health.watch("take suspects", Duration::from_secs(120)),
    ));
    tracing::info!(process.id = %process.id, queues = ?process.config.worker_queues.0, "worker: takes jobs");

    let mut outcome = Ok(());
    tokio::select! {
        () = process.stop.cancelled() => {}
        Some(ended) = workers.join_next() => {
            outcome = Err(Failure::new(format!("an apalis worker ended by itself: {ended:?}")));
        }
    }
    takers.shutdown().await;
    for job in lanes.iter().flat_map(|(_, jobs)| jobs.take_back()) {
        let _sent = ended.send(Finish { fence: job.fence, ending: Ending::GivenBack }).await;
    }
    drop(ended);
    drain.cancel();
    tracing::info!("worker: stopping; running jobs get {} s", RUNNING_TIME.as_secs());
    let all_ended = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(RUNNING_TIME, all_ended).await.is_err() {
        give_up.cancel();
        let given_back = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(3), given_back).await.is_err() {
            workers.shutdown().await;
        }
    }
    if tokio::time::timeout(Duration::from_secs(5), finisher).await.is_err() {
        tracing::warn!("worker: Postgres did not take the last outcomes; those jobs run again");
    }
    outcome
}

/// What apalis calls for each job.
async fn work(job: Claimed, runner: Data<Runner>) -> Result<(), BoxDynError> {
    runner.run(job).await;
    Ok::<(), Infallible>(()).map_err(Into::into)
}
