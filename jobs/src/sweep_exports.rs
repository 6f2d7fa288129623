//! Deletes the files of exports whose time is over, and ends exports that nobody works on any more.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::exports::{self, Swept};
use pulsecal_core::store::{DbError, Scope, Tx};
use serde::{Deserialize, Serialize};

use crate::tidy_exports::tidy;

/// Nothing to say: it takes what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepExports {}

/// Rows changed in one go.
const BATCH: i64 = 500;

impl Job for SweepExports {
    const KIND: &'static str = "sweep_exports";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(600),
        expires_after: Some(Duration::from_secs(3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        let expired = exports::expire(tx.conn(), now, BATCH).await?;
        note(ctx, &mut tx, "export.expire", "success", &expired).await?;
        let given_up = exports::give_up(tx.conn(), now, BATCH).await?;
        note(ctx, &mut tx, "export.finish", "failure", &given_up).await?;
        tx.commit().await?;
        if expired.is_empty() && given_up.is_empty() {
            return Ok(Verdict::Done);
        }
        tracing::info!(expired = expired.len(), given_up = given_up.len(), "exports.sweep");
        // Their files are no export's any more.
        tidy(ctx).await?;
        Ok(Verdict::Snooze(Duration::from_secs(1)))
    }
}

async fn note(
    ctx: &RunContext,
    tx: &mut Tx,
    action: &'static str,
    outcome: &'static str,
    swept: &[Swept],
) -> Result<(), DbError> {
    let entry = |swept: &Swept| Entry {
        org: Some(swept.org),
        actor: Actor::Job(ctx.fence.job.0),
        action,
        subject_type: "export",
        subject: swept.id.0,
        outcome,
        detail: None,
    };
    let entries: Vec<Entry> = swept.iter().map(entry).collect();
    if entries.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    audit::write(tx.conn(), ctx.ids, &entries, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&SweepExports {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<SweepExports>(r#"{"days": 1}"#).is_err());
    }
}
