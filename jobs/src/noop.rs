//! Does nothing: for trying a set-up and for measuring the ledger.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use serde::{Deserialize, Serialize};

/// A number to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noop {
    /// The number.
    pub i: u64,
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(60),
        expires_after: None,
    };

    async fn run(&self, _: &RunContext) -> JobResult {
        Ok(Verdict::Done)
    }
}
