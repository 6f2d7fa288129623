//! Tells an operator that an alarm was raised, or is over: one message for each change and address.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::AlarmMailId;
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue};
use serde::{Deserialize, Serialize};

/// Which mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmMail {
    /// The version of these args.
    pub v: u8,
    /// The mail: its row names the alarm, the change and the address.
    pub mail: AlarmMailId,
}

// The view that its templates see holds the alarm's sentence, the time and the address of the page, and nothing else.

impl Job for AlarmMail {
    const KIND: &'static str = "alarm_mail";
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::High,
        attempts: 40,
        backoff: Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(1800) },
        timeout: Duration::from_secs(150),
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.mail.to_string())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        ctx.alarms.send(self.mail, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_args_are_an_id() {
        let mail = AlarmMailId(uuid::Uuid::from_u128(7));
        let args = serde_json::to_value(AlarmMail { v: 1, mail }).expect("serializes");
        assert_eq!(args, serde_json::json!({"v": 1, "mail": "00000000-0000-0000-0000-000000000007"}));
    }
}
