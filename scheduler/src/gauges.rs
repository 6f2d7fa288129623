//! What stands in the ledger, and how far the audit rollup is behind, as metrics. Read here each quarter of a minute, whoever scrapes how often: it goes through all live
//! jobs. Each scheduler does it, so the metrics stay when one is gone; a dashboard takes the greatest of each.

use std::time::Duration;

use metrics::gauge;
use pulsecal_core::context::Context;
use pulsecal_core::ledger::Queue;
use pulsecal_core::store::audit::rollup;
use pulsecal_core::store::{DbError, Scope, console, control, ops};
use pulsecal_core::telemetry::Loop;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(15);

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    crate::process::repeat("gauges", moved, stop, || async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let queues = console::queues(tx.conn()).await?;
        let paused = control::paused(tx.conn()).await?;
        let processes = ops::processes(tx.conn()).await?;
        let now = tx.now();
        let lag = rollup::lag(tx.conn(), now).await?;
        tx.commit().await?;
        gauge!("audit_rollup_waiting_entries").set(whole(lag.waiting));
        gauge!("audit_rollup_lag_seconds").set(lag.oldest_seconds);
        gauge!("audit_rollup_held").set(if lag.held { 1.0 } else { 0.0 });
        for queue in Queue::ALL.map(Queue::as_str) {
            let found = queues.iter().find(|line| line.queue == queue);
            let count = |state: &'static str, count: i64| {
                gauge!("pulsecal_queue_jobs", "queue" => queue, "state" => state).set(whole(count));
            };
            count("ready", found.map_or(0, |line| line.ready));
            count("scheduled", found.map_or(0, |line| line.scheduled));
            count("running", found.map_or(0, |line| line.running));
            gauge!("pulsecal_queue_oldest_ready_seconds", "queue" => queue)
                .set(found.map_or(0.0, |line| line.oldest_seconds));
            let is_paused = paused.iter().any(|name| name == queue);
            gauge!("pulsecal_queue_paused", "queue" => queue).set(if is_paused { 1.0 } else { 0.0 });
        }
        for kind in ["api", "worker", "scheduler"] {
            let alive = processes.iter().filter(|line| line.kind == kind).count();
            gauge!("pulsecal_processes", "kind" => kind).set(whole(i64::try_from(alive).unwrap_or(i64::MAX)));
        }
        Ok::<_, DbError>(EVERY)
    })
    .await;
}

#[expect(clippy::cast_precision_loss, reason = "a metric is no account")]
fn whole(count: i64) -> f64 {
    count as f64
}
