//! A scheduler process from start to stop: seven loops, none of which waits for another.

use std::future::Future;
use std::time::Duration;

use pulsecal_core::process::{Failure, Process};
use pulsecal_core::telemetry::Loop;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{backup_watch, dispatch, gauges, rescue, seal, sweep, tick};

/// Runs until the process is told to stop.
///
/// # Errors
/// Schedules that this binary ships and that do not parse.
pub async fn run(process: Process) -> Result<(), Failure> {
    tick::ship(&process.ctx, &process.stop).await?;
    let mut loops = JoinSet::new();
    let watch = |name: &str| process.health.watch(name, Duration::from_secs(60));
    loops.spawn(sweep::run(process.ctx.clone(), process.id, watch("sweep"), process.stop.clone()));
    loops.spawn(dispatch::run(process.ctx.clone(), watch("dispatch"), process.stop.clone()));
    loops.spawn(tick::run(process.ctx.clone(), watch("tick"), process.stop.clone()));
    loops.spawn(rescue::run(process.ctx.clone(), watch("rescue"), process.stop.clone()));
    loops.spawn(gauges::run(process.ctx.clone(), watch("gauges"), process.stop.clone()));
    loops.spawn(seal::run(process.ctx.clone(), watch("seal"), process.stop.clone()));
    loops.spawn(backup_watch::run(process.ctx.clone(), watch("backup watch"), process.stop.clone()));
    tracing::info!(process.id = %process.id, "scheduler: keeps time");
    while let Some(ended) = loops.join_next().await {
        if let Err(panicked) = ended {
            process.stop.cancel();
            return Err(Failure::new(format!("a loop of the scheduler ended: {panicked}")));
        }
    }
    Ok(())
}

/// Runs `round` again and again until `stop`; `round` says how long to wait. A round that fails is told once and tried
/// again with backoff; the loop never ends by itself.
pub async fn repeat<F, Fut, E>(name: &'static str, moved: Loop, stop: CancellationToken, mut round: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Duration, E>>,
    E: std::fmt::Display,
{
    let mut failed = 0_u32;
    while !stop.is_cancelled() {
        let wait = match tokio::time::timeout(Duration::from_secs(50), round()).await {
            Ok(Ok(wait)) => {
                if failed > 0 {
                    tracing::info!(rounds = failed, "{name}: goes on");
                    failed = 0;
                }
                wait
            }
            other => {
                if failed == 0 {
                    let error = other.map_or_else(
                        |_| "took longer than 50 s".to_owned(),
                        |done| done.map_or_else(|error| error.to_string(), |_| String::new()),
                    );
                    tracing::warn!(error, "{name}: a server is away or refuses; tries again");
                }
                failed += 1;
                Duration::from_millis(200 * 2_u64.pow(failed.min(5) - 1)).min(Duration::from_secs(2))
            }
        };
        moved.moved();
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(wait) => {} }
    }
}
