//! Keeps every active reminder's doses stored 14 days ahead.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::doses::planner;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use serde::{Deserialize, Serialize};

/// Nothing to say: it takes what is due for planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterialiseDoses {}

/// Reminders planned in one transaction.
const BATCH: i64 = 500;
/// One run ends after so many; what is left goes on in the next.
const BATCHES: usize = 200;

impl Job for MaterialiseDoses {
    const KIND: &'static str = "materialise_doses";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::High,
        attempts: 10,
        backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(600),
        expires_after: None,
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        for _ in 0..BATCHES {
            let done = planner::plan_due(ctx, BATCH).await?;
            if done.reminders == 0 {
                return Ok(Verdict::Done);
            }
            tracing::info!(
                reminders = done.reminders,
                added = done.added,
                moved = done.moved,
                dropped = done.dropped,
                "doses.plan"
            );
        }
        Ok(Verdict::Snooze(Duration::from_secs(1)))
    }
}
