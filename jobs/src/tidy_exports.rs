//! Removes from the store what no export needs. The whole folder is looked through, so it comes once an hour only, and when the
//! sweep has let an export go.

use std::time::Duration;

use futures_util::TryStreamExt;
use pulsecal_core::blobs::BlobKey;
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Job, JobError, JobResult, Policy, Verdict};
use pulsecal_core::store::Scope;
use pulsecal_core::store::exports;
use serde::{Deserialize, Serialize};

use crate::SweepExports;

/// Nothing to say: it takes what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TidyExports {}

/// Blobs looked at in one go.
const BATCH: usize = 500;
/// An upload that was not touched for so long belongs to no process that lives: an attempt of the job takes no longer.
const UNFINISHED: Duration = Duration::from_secs(2 * 3600);

impl Job for TidyExports {
    const KIND: &'static str = "tidy_exports";
    const POLICY: Policy = SweepExports::POLICY;

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        tidy(ctx).await?;
        Ok(Verdict::Done)
    }
}

/// An export names its place before the first byte is there, so what the store has and no export names is nobody's.
pub(crate) async fn tidy(ctx: &RunContext) -> Result<(), JobError> {
    if !ctx.blobs.is_set() {
        return Ok(());
    }
    let folder: BlobKey = "exports".parse()?;
    let mut removed = ctx.blobs.sweep_unfinished(&folder, UNFINISHED, ctx.clock.now()).await?;
    let mut listed = ctx.blobs.list(&folder)?;
    loop {
        let mut keys = Vec::new();
        while keys.len() < BATCH {
            let Some(found) = listed.try_next().await? else { break };
            keys.push(found.key);
        }
        if keys.is_empty() {
            break;
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
    if removed > 0 {
        tracing::info!(removed, "exports.tidy");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&TidyExports {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<TidyExports>(r#"{"days": 1}"#).is_err());
    }
}
