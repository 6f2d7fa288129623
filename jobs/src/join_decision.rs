//! Tells a doctor whether an organization lets them in, or that it has not answered in time.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{JoinRequestId, OrgId};
use pulsecal_core::joining::{JOIN_DECISION, JoinMail};
use pulsecal_core::ledger::{Backoff, Job, JobResult, NewJob, Policy, Priority, Queue};
use serde::{Deserialize, Serialize};

/// About which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinDecision {
    /// The version of these args.
    pub v: u8,
    /// Which organization was asked.
    pub org: OrgId,
    /// The request.
    pub request: JoinRequestId,
}

impl JoinDecision {
    /// As [`pulsecal_core::joining`] wants to be told how to send a mail.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(mail: JoinMail) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self { v: 1, org: mail.org, request: mail.request })
    }
}

// The view that its templates see holds the organization's name, the decision and the note, and nothing else.

impl Job for JoinDecision {
    const KIND: &'static str = JOIN_DECISION;
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::Normal,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(600) },
        timeout: Duration::from_secs(110),
        expires_after: Some(Duration::from_secs(7 * 24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.request.to_string())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mail = JoinMail { org: self.org, request: self.request };
        ctx.join_mail.send(mail, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_hold_ids_only_and_read_back() {
        let nil = uuid::Uuid::nil();
        let job = JoinDecision { v: 1, org: OrgId(nil), request: JoinRequestId(nil) };
        let text = serde_json::to_string(&job).expect("serializes");
        assert_eq!(serde_json::from_str::<JoinDecision>(&text).expect("reads back"), job);
        assert!(serde_json::from_str::<JoinDecision>(&text.replace("\"v\"", "\"name\"")).is_err());
    }
}
