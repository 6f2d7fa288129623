//! Invites a person of an organization to an account. Accounts are the platform's, so whoever decides on it within an organization
//! leaves it to this job.

use std::time::Duration;

use pulsecal_core::accounts::{self, AccountError, InviteError};
use pulsecal_core::context::RunContext;
use pulsecal_core::ids::{AccountMailId, OrgId, PersonId};
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, NewJob, Policy, Priority, Queue, Verdict};
use pulsecal_core::members::{INVITE_PERSON, ToAccount};
use pulsecal_core::store::audit::Actor;
use pulsecal_core::store::{Scope, account_mails};
use serde::{Deserialize, Serialize};

use crate::AccountMail;

/// Whom, and by which mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitePerson {
    /// The version of these args.
    pub v: u8,
    /// The organization.
    pub org: OrgId,
    /// Who is invited.
    pub person: PersonId,
    /// The mail that does it.
    pub mail: AccountMailId,
}

impl InvitePerson {
    /// As [`pulsecal_core::members`] wants to be told how to invite.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn make(to: ToAccount) -> Result<NewJob, serde_json::Error> {
        NewJob::of(&Self { v: 1, org: to.org, person: to.person, mail: to.mail })
    }
}

impl Job for InvitePerson {
    const KIND: &'static str = INVITE_PERSON;
    const POLICY: Policy = Policy {
        queue: Queue::Mail,
        priority: Priority::High,
        attempts: 12,
        backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(600) },
        timeout: Duration::from_secs(60),
        // Whoever was to be invited longer ago is invited anew by somebody who still wants it.
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.mail.to_string())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        if account_mails::link(tx.conn(), self.mail, now).await?.is_some() {
            return Ok(Verdict::Done);
        }
        match accounts::invite(&mut tx, Actor::Job(ctx.fence.job.0), self.person, self.mail, AccountMail::make).await {
            Ok(_) => {
                tx.commit().await?;
                Ok(Verdict::Done)
            }
            Err(InviteError::Account(AccountError::Db(error))) => Err(error.into()),
            Err(InviteError::Account(error)) => Err(JobError::Retry(error.to_string())),
            Err(InviteError::Nobody | InviteError::Inactive) => Ok(Verdict::Cancel("they no longer take part")),
            Err(InviteError::Before) => Ok(Verdict::Cancel("they have an account by now")),
            Err(InviteError::NoAddress) => Ok(Verdict::Cancel("they have no address any more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_args_are_ids() {
        let id = uuid::Uuid::from_u128(7);
        let job = InvitePerson { v: 1, org: OrgId(id), person: PersonId(id), mail: AccountMailId(id) };
        let args = serde_json::to_value(job).expect("serializes");
        assert_eq!(args, serde_json::json!({"v": 1, "org": id, "person": id, "mail": id}));
    }
}
