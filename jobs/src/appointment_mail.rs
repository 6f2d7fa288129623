//! Tells a patient that a visit was booked, moved or cancelled, or comes soon: one message for each state of the visit.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{AppointmentId, OrgId};
use pulsecal_core::ledger::{Backoff, Job, JobResult, NewJob, Policy, Priority, Queue};
use pulsecal_core::visits::{APPOINTMENT_MAIL, SEND_LIMIT, Says, VisitMail};
use serde::{Deserialize, Serialize};

/// Which message about which state of which visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppointmentMail {
    /// The version of these args.
    pub v: u8,
    /// Whose.
    pub org: OrgId,
    /// The visit.
    pub visit: AppointmentId,
    /// The sequence that it is about; when the visit has another, nothing is sent.
    pub sequence: i32,
    /// What it says.
    pub says: Says,
}

impl From<VisitMail> for AppointmentMail {
    fn from(mail: VisitMail) -> Self {
        Self { v: 1, org: mail.org, visit: mail.visit, sequence: mail.sequence, says: mail.says }
    }
}

impl AppointmentMail {
    fn mail(&self) -> VisitMail {
        VisitMail { org: self.org, visit: self.visit, sequence: self.sequence, says: self.says }
    }

    /// As [`pulsecal_core::visits`] wants to be told how to send a mail.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(mail: VisitMail) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self::from(mail))
    }
}

// The view that its templates see is `pulsecal_core::mail::VisitMailView`: it drops what the privacy level forbids.

impl Job for AppointmentMail {
    const KIND: &'static str = APPOINTMENT_MAIL;
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::High,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(300) },
        // A change of the visit waits for a send no longer than this.
        timeout: SEND_LIMIT,
        // Who enqueues it says when it expires: when the visit begins.
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.mail().key())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        ctx.visits.send(self.mail(), ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_hold_ids_only_and_read_back() {
        let nil = uuid::Uuid::nil();
        let job =
            AppointmentMail { v: 1, org: OrgId(nil), visit: AppointmentId(nil), sequence: 3, says: Says::DayBefore };
        let text = serde_json::to_string(&job).expect("serializes");
        assert!(text.contains(r#""says":"day_before""#), "{text}");
        assert_eq!(serde_json::from_str::<AppointmentMail>(&text).expect("reads back"), job);
        assert!(serde_json::from_str::<AppointmentMail>(&text.replace("\"v\"", "\"name\"")).is_err());
    }
}
