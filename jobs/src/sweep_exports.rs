//! Deletes the files of exports whose time is over, ends exports that nobody works on any more, and removes from the store what
//! no export needs.

use std::time::Duration;

use futures_util::TryStreamExt;
use pulsecal_core::blobs::BlobKey;
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::exports::{self, Swept};
use pulsecal_core::store::{DbError, Scope, Tx};
use serde::{Deserialize, Serialize};

/// Nothing to say: it takes what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepExports {}

/// Rows changed, and blobs looked at, in one go.
const BATCH: i64 = 500;
const BLOBS: usize = 500;
/// An upload that was not touched for so long belongs to no process that lives: an attempt of the job takes no longer.
const UNFINISHED: Duration = Duration::from_secs(2 * 3600);

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
        let removed = if ctx.blobs.is_set() { remove_unneeded(ctx).await? } else { 0 };
        if !expired.is_empty() || !given_up.is_empty() || removed > 0 {
            tracing::info!(expired = expired.len(), given_up = given_up.len(), removed, "exports.sweep");
        }
        Ok(if expired.len() + given_up.len() > 0 { Verdict::Snooze(Duration::from_secs(1)) } else { Verdict::Done })
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

/// An export names its place before the first byte is there, so what the store has and no export names is nobody's.
async fn remove_unneeded(ctx: &RunContext) -> Result<usize, pulsecal_core::ledger::JobError> {
    let folder: BlobKey = "exports".parse()?;
    let mut removed = ctx.blobs.sweep_unfinished(&folder, UNFINISHED, ctx.clock.now()).await?;
    let mut listed = ctx.blobs.list(&folder)?;
    loop {
        let mut keys = Vec::new();
        while keys.len() < BLOBS {
            let Some(found) = listed.try_next().await? else { break };
            keys.push(found.key);
        }
        if keys.is_empty() {
            return Ok(removed);
        }
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let mut tx = ctx.begin(Scope::Platform).await?;
        let needed = exports::needed(tx.conn(), &names).await?;
        tx.commit().await?;
        for key in keys.into_iter().filter(|key| !needed.iter().any(|name| name == key.as_str())) {
            ctx.blobs.delete(&key).await?;
            removed += 1;
        }
    }
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
