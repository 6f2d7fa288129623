//! Tells a patient what was paid or given back. One message for each payment and each refund.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{OrgId, PaymentId, RefundId};
use pulsecal_core::ledger::{Backoff, Job, JobResult, NewJob, Policy, Priority, Queue};
use pulsecal_core::payments::{self, PAYMENT_MAIL};
use serde::{Deserialize, Serialize};

/// About which payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentMail {
    /// The version of these args.
    pub v: u8,
    /// The organization.
    pub org: OrgId,
    /// The payment.
    pub payment: PaymentId,
    /// The refund that it tells of; none: it is the receipt.
    pub refund: Option<RefundId>,
}

impl PaymentMail {
    /// As [`pulsecal_core::payments`] wants to be told how to send a mail.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(mail: payments::PaymentMail) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self { v: 1, org: mail.org, payment: mail.payment, refund: mail.refund })
    }
}

// The view that its templates see holds what the patient's privacy level allows, and nothing else.

impl Job for PaymentMail {
    const KIND: &'static str = PAYMENT_MAIL;
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::Normal,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(600) },
        timeout: Duration::from_secs(110),
        expires_after: Some(Duration::from_secs(7 * 24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.refund.map_or_else(|| self.payment.to_string(), |refund| refund.to_string()))
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mail = payments::PaymentMail { org: self.org, payment: self.payment, refund: self.refund };
        ctx.payment_mail.send(mail, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_args_are_ids() {
        let id = uuid::Uuid::from_u128(7);
        let job = PaymentMail { v: 1, org: OrgId(id), payment: PaymentId(id), refund: None };
        let args = serde_json::to_value(job).expect("serializes");
        assert_eq!(args, serde_json::json!({"v": 1, "org": id, "payment": id, "refund": null}));
    }
}
