//! A worker process from start to stop.

use std::sync::Arc;
use std::time::Duration;

use pulsecal_core::ledger::Registry;
use pulsecal_core::process::{Failure, Process};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::belt::{Lane, QueueBelt, Running, take_suspects};
use crate::finisher;
use crate::held::{Held, settle_doubts};
use crate::orders::{Orders, follow};
use crate::runner::Runner;

/// How long running jobs may go on after a stop was asked; then they are given back.
const RUNNING_TIME: Duration = Duration::from_secs(20);
/// How long a claim or a pop that was under way may take to come back.
const TAKING_TIME: Duration = Duration::from_secs(3);
/// How long Postgres may take to record the last outcomes.
const RECORDING_TIME: Duration = Duration::from_secs(5);

/// Runs until the process is told to stop, then: no new claims, running jobs get their time, the rest is given back.
///
/// # Errors
/// A worker that ended without being told to.
pub async fn run(process: Process) -> Result<(), Failure> {
    run_with(process, pulsecal_jobs::registry()).await
}

/// As [`run`], with other kinds of jobs: for measuring.
///
/// # Errors
/// As [`run`].
pub async fn run_with(process: Process, registry: Registry) -> Result<(), Failure> {
    let (ended, finishing) = finisher::channel();
    let held = Held::default();
    let finisher = tokio::spawn(finisher::run(
        process.ctx.clone(),
        finishing,
        held.clone(),
        process.health.watch("finisher", Duration::from_secs(60)),
    ));
    let give_up = CancellationToken::new();
    let orders = Orders::default();
    let runner = Runner::new(
        process.ctx.clone(),
        Arc::new(registry),
        ended.clone(),
        held.clone(),
        orders.clone(),
        give_up.clone(),
    );
    let mut running = Running::default();
    let mut queues: Vec<QueueBelt> = Vec::new();
    for (&queue, &slots) in &process.config.worker_queues.0 {
        let lane = Lane {
            ctx: process.ctx.clone(),
            queue,
            slots,
            process: process.id,
            runner: runner.clone(),
            stop: process.stop.clone(),
            moved: process.health.watch(format!("take {queue}"), Duration::from_secs(45)),
        };
        queues.push(QueueBelt::start(process.config.belt, lane, &mut running));
    }
    running.takers.spawn(follow(process.ctx.clone(), orders.clone(), process.id, process.stop.clone()));
    let moved = process.health.watch("take suspects", Duration::from_secs(120));
    running.takers.spawn(take_suspects(
        process.ctx.clone(),
        queues.iter().cloned().zip(process.config.worker_queues.0.values().copied()).collect(),
        held.clone(),
        orders,
        process.id,
        moved,
        process.stop.clone(),
    ));
    running.takers.spawn(settle_doubts(process.ctx.clone(), held, ended, process.id, process.stop.clone()));
    tracing::info!(process.id = %process.id, queues = ?process.config.worker_queues.0, belt = ?process.config.belt, "worker: takes jobs");

    let mut outcome = Ok(());
    tokio::select! {
        biased; // after the stop, workers end as they should
        () = process.stop.cancelled() => {}
        Some(ended) = running.workers.join_next() => {
            outcome = Err(Failure::new(format!("an apalis worker ended by itself: {ended:?}")));
        }
    }
    process.stop.cancel();
    tracing::info!("worker: stopping; running jobs get {} s", RUNNING_TIME.as_secs());
    let Running { mut takers, mut workers } = running;
    if timeout(TAKING_TIME, async { while takers.join_next().await.is_some() {} }).await.is_err() {
        takers.shutdown().await;
    }
    let give_back = async {
        for job in queues.iter().flat_map(QueueBelt::take_back) {
            runner.give_back(job.fence).await;
        }
    };
    if timeout(RECORDING_TIME, give_back).await.is_err() {
        tracing::warn!("worker: Postgres is away; the jobs that did not start are found by the rescue");
    }
    let all_ended = async { while workers.join_next().await.is_some() {} };
    if timeout(RUNNING_TIME, all_ended).await.is_err() {
        give_up.cancel();
        let given_back = async { while workers.join_next().await.is_some() {} };
        if timeout(TAKING_TIME, given_back).await.is_err() {
            workers.shutdown().await;
        }
    }
    // The finisher ends when the last runner is gone.
    drop((queues, runner));
    if timeout(RECORDING_TIME, finisher).await.is_err() {
        tracing::warn!("worker: Postgres did not take the last outcomes; those jobs run again");
    }
    outcome
}
