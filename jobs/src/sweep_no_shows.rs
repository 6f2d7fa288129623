//! Puts on record that nobody came to a visit, where an organization wants that to be done by itself.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::{Scope, visits};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Nothing to say: it takes what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepNoShows {}

/// So many in one transaction.
const BATCH: i64 = 200;

impl Job for SweepNoShows {
    const KIND: &'static str = "sweep_no_shows";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(60),
        expires_after: Some(Duration::from_secs(600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        let swept = visits::sweep_no_shows(tx.conn(), now, BATCH).await?;
        let entry = |visit: &visits::NoShow| Entry {
            org: Some(visit.org),
            actor: Actor::Job(ctx.fence.job.0),
            action: "appointment.no_show",
            subject_type: "appointment",
            subject: visit.id.0,
            outcome: "success",
            detail: Some(json!({"version": visit.version})),
        };
        let entries: Vec<Entry> = swept.iter().map(entry).collect();
        audit::write(tx.conn(), ctx.ids, &entries, now).await?;
        tx.commit().await?;
        let more = i64::try_from(swept.len()).unwrap_or(BATCH) == BATCH;
        Ok(if more { Verdict::Snooze(Duration::from_secs(1)) } else { Verdict::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&SweepNoShows {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<SweepNoShows>(r#"{"days": 1}"#).is_err());
    }
}
