//! Backs the database up: dumps, encrypts and stores it, reads it back, and removes what the retention does not keep.

use std::time::Duration;

use pulsecal_core::backup::{self, BackupError};
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::Actor;
use serde::{Deserialize, Serialize};

/// Nothing to say: which database, where to and for whom is set in the environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupDatabase {}

impl Job for BackupDatabase {
    const KIND: &'static str = "backup_database";
    const POLICY: Policy = Policy {
        queue: Queue::Backups,
        priority: Priority::Normal,
        attempts: 5,
        backoff: Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(1800) },
        // A long job is not a wedge: its process beats beside it. A worker that stops gives it back, and it begins anew.
        timeout: Duration::from_secs(6 * 3600),
        expires_after: Some(Duration::from_secs(20 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("database".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        let backups = &ctx.backups;
        if backups.recipients.is_none() {
            return Ok(Verdict::Cancel("BACKUP_RECIPIENT is not set, so no backups are wanted"));
        }
        let actor = Actor::Job(ctx.fence.job.0);
        let made = match backup::create(ctx, actor).await {
            Err(BackupError::Busy(_)) => return Ok(Verdict::Snooze(Duration::from_secs(300))),
            Err(problem @ BackupError::Setting(_)) => return Err(JobError::Never(problem.to_string())),
            other => other?,
        };
        tracing::info!(backup.id = %made.id, bytes = made.bytes, tables = made.tables.len(), rows = made.rows(), "backup.made");
        backup::verify(ctx, made.id, backups.identity_file.is_some()).await?;
        backup::keep(ctx, actor, false).await?;
        Ok(Verdict::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time_and_it_takes_no_args() {
        assert_eq!(BackupDatabase {}.unique_key(), BackupDatabase::default().unique_key());
        assert!(serde_json::from_str::<BackupDatabase>(r#"{"database": "other"}"#).is_err());
    }
}
