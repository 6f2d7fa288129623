//! Forgets what is of no use any more: what writes with an `Idempotency-Key` were answered, a day later, since the answers hold what the
//! API shows of people; who signed up and did not prove the address; who was signed in without a place. Requests to join an
//! organization that nobody decided end here too: they stay on record, and whoever asked is told.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::{Scope, idempotency, joins, lobby, sign_ups};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::JoinDecision;

/// Nothing to say: it takes what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetAnswers {}

/// So many in one transaction.
const BATCH: i64 = 1000;
/// So many requests to join in one transaction: each makes a mail.
const REQUESTS: i64 = 200;

impl Job for ForgetAnswers {
    const KIND: &'static str = "forget_answers";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(60) },
        timeout: Duration::from_secs(60),
        expires_after: Some(Duration::from_secs(3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        let gone = idempotency::forget(tx.conn(), now, BATCH).await?;
        let lapsed = sign_ups::forget_lapsed(tx.conn(), now, BATCH).await?;
        let over = lobby::forget_over(tx.conn(), now, BATCH).await?;
        let expired = joins::expire(tx.conn(), now, REQUESTS).await?;
        let entry = |request: &joins::Expired| Entry {
            org: Some(request.org),
            actor: Actor::Job(ctx.fence.job.0),
            action: "join.expired",
            subject_type: "join_request",
            subject: request.id.0,
            outcome: "success",
            detail: Some(json!({"days": joins::UNDECIDED_DAYS})),
        };
        let entries: Vec<Entry> = expired.iter().map(entry).collect();
        audit::write(tx.conn(), ctx.ids, &entries, now).await?;
        let mails: Vec<_> = expired.iter().map(|it| JoinDecision { v: 1, org: it.org, request: it.id }).collect();
        tx.enqueue_many(&mails).await?;
        tx.commit().await?;
        let more = gone.max(lapsed).max(over) == BATCH.unsigned_abs() || i64::try_from(expired.len()) == Ok(REQUESTS);
        Ok(if more { Verdict::Snooze(Duration::from_secs(1)) } else { Verdict::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_args_and_takes_none() {
        assert_eq!(serde_json::to_string(&ForgetAnswers {}).expect("serializes"), "{}");
        assert!(serde_json::from_str::<ForgetAnswers>(r#"{"days": 1}"#).is_err());
    }
}
