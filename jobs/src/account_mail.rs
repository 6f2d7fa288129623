//! Writes to the owner of an account: an invitation, a link to set another password, or what they should know of. One message
//! for each row.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::AccountMailId;
use pulsecal_core::ledger::{Backoff, Job, JobResult, NewJob, Policy, Priority, Queue};
use serde::{Deserialize, Serialize};

/// Which mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountMail {
    /// The version of these args.
    pub v: u8,
    /// The mail: its row names the account and what it is about. The link in it is made when it is sent.
    pub mail: AccountMailId,
}

impl AccountMail {
    /// As [`pulsecal_core::accounts`] wants to be told how to send a mail.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(mail: AccountMailId) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self { v: 1, mail })
    }
}

// The view that its templates see holds what happened and when, who invites, and the address of a page, and nothing else.

impl Job for AccountMail {
    const KIND: &'static str = "account_mail";
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::High,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(600) },
        timeout: Duration::from_secs(150),
        // A link that is over by then is not sent at all.
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.mail.to_string())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        ctx.account_mail.send(self.mail, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_args_are_an_id() {
        let mail = AccountMailId(uuid::Uuid::from_u128(7));
        let args = serde_json::to_value(AccountMail { v: 1, mail }).expect("serializes");
        assert_eq!(args, serde_json::json!({"v": 1, "mail": "00000000-0000-0000-0000-000000000007"}));
    }
}
