//! Tells whoever asked for an export that it is ready: one message for each export, without details.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{ExportId, OrgId};
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue};
use pulsecal_core::send::ReadyExport;
use serde::{Deserialize, Serialize};

/// Which export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportReadyMail {
    /// The version of these args.
    pub v: u8,
    /// Whose.
    pub org: OrgId,
    /// The export.
    pub export: ExportId,
}

// The view that its templates see holds the sender's discreet name and the address of the page, and nothing else.

impl Job for ExportReadyMail {
    const KIND: &'static str = "export_ready";
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::Normal,
        attempts: 10,
        backoff: Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(600) },
        timeout: Duration::from_secs(150),
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.export.to_string())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let ask = ReadyExport { org: self.org, export: self.export };
        ctx.export_mail.send(ask, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_hold_ids_only_and_read_back() {
        let nil = uuid::Uuid::nil();
        let job = ExportReadyMail { v: 1, org: OrgId(nil), export: ExportId(nil) };
        let text = serde_json::to_string(&job).expect("serializes");
        assert_eq!(serde_json::from_str::<ExportReadyMail>(&text).expect("reads back"), job);
        assert!(serde_json::from_str::<ExportReadyMail>(&text.replace("\"v\"", "\"name\"")).is_err());
    }
}
