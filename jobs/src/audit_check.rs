//! Compares the audit rollup of yesterday and today with the entries themselves.

use std::time::Duration;

use chrono::Days;
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::rollup;
use serde::{Deserialize, Serialize};

/// Nothing to say: the days follow from the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditCheck {}

/// So many differences are told at most.
const MOST: i64 = 100;

impl Job for AuditCheck {
    const KIND: &'static str = "audit_check";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Low,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(300) },
        timeout: Duration::from_secs(150),
        expires_after: Some(Duration::from_secs(3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let today = tx.now().date_naive();
        let found = rollup::differences(tx.conn(), today - Days::new(1), today + Days::new(1), MOST).await?;
        tx.commit().await?;
        metrics::gauge!("audit_rollup_differences").set(f64::from(u32::try_from(found.len()).unwrap_or(u32::MAX)));
        if !found.is_empty() {
            tracing::error!(
                differences = found.len(),
                "audit.check: the rollup does not agree with the entries; see `pulsecal audit rollup --check`"
            );
        }
        Ok(Verdict::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&AuditCheck {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<AuditCheck>(r#"{"days": 1}"#).is_err());
    }
}
