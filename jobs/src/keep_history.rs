//! Keeps the history of ended jobs: makes its partitions ahead, and removes what is older than `JOB_HISTORY_MONTHS`.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveDate;
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::history::{self, MonthMade};
use pulsecal_core::store::{DbError, Scope, Tx};
use serde::{Deserialize, Serialize};

/// Nothing to say: what is kept is a setting, and the months follow from the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepHistory {}

/// So many months after this one have their partition.
const AHEAD: u16 = 3;
/// One run drops no more months, and deletes no more batches; what is left goes on in the next.
const MOST_MONTHS: usize = 120;
const MOST_BATCHES: usize = 200;

impl Job for KeepHistory {
    const KIND: &'static str = "keep_history";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 20,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(300) },
        timeout: Duration::from_secs(600),
        expires_after: None,
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let now = ctx.clock.now();
        let first_kept = history::first_kept(now, ctx.history_months);
        make_months(ctx, first_kept, history::month_of(now)).await?;
        let dropped = drop_months(ctx, first_kept).await?;
        let trimmed = trim(ctx, first_kept).await?;
        Ok(if dropped && trimmed { Verdict::Done } else { Verdict::Snooze(Duration::from_secs(1)) })
    }
}

/// Each month in a transaction of its own: its locks are short.
async fn make_months(ctx: &RunContext, first_kept: NaiveDate, this_month: NaiveDate) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let at_rest = history::months_at_rest(tx.conn()).await?;
    tx.commit().await?;
    let last = history::months_later(this_month, AHEAD);
    // What ended while its month had no partition gets one late. What is too old for that is deleted by `trim`.
    let mut wanted: BTreeSet<NaiveDate> =
        at_rest.into_iter().filter(|month| (first_kept..=last).contains(month)).collect();
    wanted.extend((0..=AHEAD).map(|ahead| history::months_later(this_month, ahead)));
    for month in wanted {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let made = history::make_month(tx.conn(), month).await?;
        tx.commit().await?;
        match made {
            MonthMade::There => {}
            MonthMade::Made(moved) => tracing::info!(%month, rows.moved = moved, "history.made"),
            MonthMade::TooMany => tracing::warn!(
                %month,
                "history.rest: too many jobs ended while this month had no partition; they stay in the default one, where they \
                 are found as ever and deleted when they are too old"
            ),
        }
    }
    Ok(())
}

/// True: there is none left to drop.
async fn drop_months(ctx: &RunContext, first_kept: NaiveDate) -> Result<bool, DbError> {
    for _ in 0..MOST_MONTHS {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let Some(month) = history::drop_month(tx.conn(), first_kept).await? else { return Ok(true) };
        note(ctx, &mut tx, "job_history.drop", serde_json::json!({"month": month})).await?;
        tx.commit().await?;
        tracing::info!(%month, "history.dropped");
    }
    Ok(false)
}

/// True: nothing is left to delete.
async fn trim(ctx: &RunContext, first_kept: NaiveDate) -> Result<bool, DbError> {
    for _ in 0..MOST_BATCHES {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let trimmed = history::trim(tx.conn(), first_kept).await?;
        if trimmed.ended == 0 && trimmed.tries == 0 {
            return Ok(true);
        }
        let rows = serde_json::json!({"before": first_kept, "ended": trimmed.ended, "tries": trimmed.tries});
        note(ctx, &mut tx, "job_history.trim", rows).await?;
        tx.commit().await?;
        tracing::info!(rows.ended = trimmed.ended, rows.tries = trimmed.tries, "history.trimmed");
    }
    Ok(false)
}

/// What was removed is on record, in the transaction that removed it.
async fn note(ctx: &RunContext, tx: &mut Tx, action: &'static str, detail: serde_json::Value) -> Result<(), DbError> {
    let job = ctx.fence.job.0;
    let entry = Entry {
        org: None,
        actor: Actor::Job(job),
        action,
        subject_type: "job",
        subject: job,
        outcome: "success",
        detail: Some(detail),
    };
    let now = tx.now();
    audit::write(tx.conn(), ctx.ids, &[entry], now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&KeepHistory {}).expect("serializes"), "{}");
        assert_eq!(serde_json::from_str::<KeepHistory>("{}").expect("reads back"), KeepHistory {});
        assert!(serde_json::from_str::<KeepHistory>(r#"{"months": 1}"#).is_err(), "what is kept is a setting");
    }
}
