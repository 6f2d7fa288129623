//! Restores the newest backup into a scratch database and compares it, so that somebody knows that it can be done.

use std::time::Duration;

use pulsecal_core::backup::{self, BackupError};
use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::Actor;
use serde::{Deserialize, Serialize};

/// Nothing to say: it is always the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillBackup {}

impl Job for DrillBackup {
    const KIND: &'static str = "drill_backup";
    const POLICY: Policy = Policy {
        queue: Queue::Backups,
        priority: Priority::Low,
        attempts: 3,
        backoff: Backoff { base: Duration::from_secs(300), cap: Duration::from_secs(3600) },
        timeout: Duration::from_secs(12 * 3600),
        expires_after: Some(Duration::from_secs(48 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some("newest".to_owned())
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        if ctx.backups.identity_file.is_none() {
            return Ok(Verdict::Cancel("BACKUP_IDENTITY_FILE is not set, so nothing is drilled here"));
        }
        let newest = backup::list(ctx).await?.into_iter().find_map(|listed| listed.manifest);
        let Some(newest) = newest else { return Ok(Verdict::Cancel("there is no backup yet")) };
        match backup::drill(ctx, newest.id, Actor::Job(ctx.fence.job.0)).await {
            Ok(done) => {
                tracing::info!(backup.id = %done.id, tables = done.tables, rows = done.rows, seconds = done.seconds, "backup.drilled");
                Ok(Verdict::Done)
            }
            Err(BackupError::Busy(_)) => Ok(Verdict::Snooze(Duration::from_secs(600))),
            // It is told at once: another try finds the same.
            Err(problem) if problem.is_about_the_backup() => Err(JobError::Never(problem.to_string())),
            Err(problem) => Err(problem.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        assert_eq!(DrillBackup {}.unique_key().as_deref(), Some("newest"));
    }
}
