//! Tells a patient that a dose is due, or nudges when it was not answered: one message for each dose and step.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::doses::dispatch::DoseStep;
use pulsecal_core::ids::{OccurrenceId, OrgId};
use pulsecal_core::ledger::{Backoff, Job, JobResult, Policy, Priority, Queue};
use serde::{Deserialize, Serialize};

/// Which message of which dose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MedicationReminder {
    /// The version of these args.
    pub v: u8,
    /// Whose.
    pub org: OrgId,
    /// The dose.
    pub dose: OccurrenceId,
    /// Where its steps count from, in seconds since 1970.
    pub ladder: i64,
    /// 0: the reminder, 1 and up: nudges.
    pub step: i16,
}

impl From<DoseStep> for MedicationReminder {
    fn from(step: DoseStep) -> Self {
        Self { v: 1, org: step.org, dose: step.occurrence, ladder: step.ladder, step: step.step }
    }
}

// The view that its templates see is `pulsecal_core::mail::DoseMailView`: it drops what the privacy level forbids.

impl Job for MedicationReminder {
    const KIND: &'static str = "medication_reminder";
    const POLICY: Policy = Policy {
        queue: Queue::Reminders,
        priority: Priority::High,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(300) },
        timeout: Duration::from_secs(150),
        // The dispatcher says when each one expires: at the end of its dose's window.
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    // No unique key: the dose itself moves on in the transaction that enqueues this, and the message log has one row for it.

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let step = DoseStep { org: self.org, occurrence: self.dose, ladder: self.ladder, step: self.step };
        ctx.doses.send(step, ctx.fence, ctx.last_attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_hold_ids_only_and_read_back() {
        let job = MedicationReminder {
            v: 1,
            org: OrgId(uuid::Uuid::nil()),
            dose: OccurrenceId(uuid::Uuid::nil()),
            ladder: 5,
            step: 1,
        };
        let text = serde_json::to_string(&job).expect("serializes");
        assert_eq!(serde_json::from_str::<MedicationReminder>(&text).expect("reads back"), job);
        assert!(serde_json::from_str::<MedicationReminder>(&text.replace("\"v\"", "\"name\"")).is_err());
    }
}
