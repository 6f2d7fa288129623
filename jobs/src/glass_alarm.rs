//! Tells operators and the clinic's administrators that the glass was broken, and operators again when no glass is broken any more.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{AlarmMailId, GlassId, OrgId};
use pulsecal_core::ledger::{Backoff, Job, JobResult, NewJob, Policy, Priority, Queue, Verdict};
use pulsecal_core::mail::EmailAddress;
use pulsecal_core::records::GlassAlarm;
use pulsecal_core::store::alarms::{self, Alarm};
use pulsecal_core::store::{Scope, glass};
use serde::{Deserialize, Serialize};

use crate::AlarmMail;

/// Which break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlassAlarmed {
    /// The version of these args.
    pub v: u8,
    /// The organization.
    pub org: OrgId,
    /// The break.
    pub glass: GlassId,
}

impl GlassAlarmed {
    /// As [`pulsecal_core::records::break_glass`] wants to be told how to raise the alarm.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(alarm: GlassAlarm) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self { v: 1, org: alarm.org, glass: alarm.glass })
    }
}

impl Job for GlassAlarmed {
    const KIND: &'static str = "glass_alarm";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::High,
        attempts: 40,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(300) },
        timeout: Duration::from_secs(60),
        expires_after: None,
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.glass.to_string())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        // Locked: who raises and who ends it come one after the other.
        let before = alarms::look(tx.conn(), Alarm::GlassBroken, now).await?;
        let Some(broken) = glass::one(tx.conn(), self.glass).await? else {
            return Ok(Verdict::Cancel("the break is no longer on record"));
        };
        let about = format!(
            "It is {}, by person {}, of patient {}, at organization {}, until {}.",
            broken.id,
            broken.person,
            broken.patient,
            broken.org,
            broken.ends_at.format("%Y-%m-%d %H:%M UTC")
        );
        let alone = glass::last_end(tx.conn(), now).await?.is_none();
        let raised = glass::told(tx.conn(), self.glass, now).await?;
        let over = !raised && before.raised && alone;
        if raised || over {
            let admins = if raised { glass::administrators(tx.conn(), self.org).await? } else { Vec::new() };
            let admins: Vec<EmailAddress> = admins.iter().filter_map(|address| address.parse().ok()).collect();
            let told = ctx.alert_mail.iter().chain(&admins);
            let mails: Vec<_> = told.map(|address| (ctx.ids.new_id::<AlarmMailId>(), address)).collect();
            let words = raised.then_some(about.as_str());
            alarms::change(tx.conn(), Alarm::GlassBroken, raised, &about, &mails, words, now).await?;
            let jobs: Vec<AlarmMail> = mails.into_iter().map(|(mail, _)| AlarmMail { v: 1, mail }).collect();
            tx.enqueue_many(&jobs).await?;
        }
        tx.commit().await?;
        let name = Alarm::GlassBroken.as_str();
        if raised {
            tracing::error!(alarm = name, "{name}: {}. {about}", Alarm::GlassBroken.says());
        } else if over {
            tracing::info!(alarm = name, "{name}: over. {}", Alarm::GlassBroken.over());
        }
        // It comes back when the break ends; at once if it told of one that had ended already, since nobody else ends the alarm.
        let left = (broken.ends_at - now).to_std();
        match left {
            Ok(left) => Ok(Verdict::Snooze(left + Duration::from_secs(1))),
            Err(_) if raised => Ok(Verdict::Snooze(Duration::from_secs(1))),
            Err(_) => Ok(Verdict::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_args_are_ids() {
        let id = uuid::Uuid::from_u128(7);
        let args = serde_json::to_value(GlassAlarmed { v: 1, org: OrgId(id), glass: GlassId(id) }).expect("serializes");
        assert_eq!(args, serde_json::json!({"v": 1, "org": id, "glass": id}));
    }
}
