//! Counts new audit entries into the hourly and daily rollup.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::rollup;
use serde::{Deserialize, Serialize};

/// Nothing to say: what is to be counted follows from what was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRollup {}

impl Job for AuditRollup {
    const KIND: &'static str = "audit_rollup";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 10,
        backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(120),
        expires_after: Some(Duration::from_secs(3600)),
    };

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        let counted = rollup::advance(tx.conn(), now).await?;
        tx.commit().await?;
        metrics::counter!("audit_rollup_entries_total").increment(u64::try_from(counted.entries).unwrap_or(0));
        Ok(Verdict::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&AuditRollup {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<AuditRollup>(r#"{"from": 1}"#).is_err(), "a range is for the command line");
    }
}
