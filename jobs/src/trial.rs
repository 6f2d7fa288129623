//! The job by which operators try a set-up (`pulsecal jobs try`): it does nothing, or misbehaves as it is told, so that one
//! sees what becomes of jobs that sleep, fail, panic or take their worker down. It touches no data.

use std::time::Duration;

use pulsecal_core::context::RunContext;
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, Policy, Priority, Queue, Verdict};
use serde::{Deserialize, Serialize};

/// A trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// A number to tell them apart.
    pub i: u64,
    /// What it does.
    #[serde(default, skip_serializing_if = "Does::is_nothing")]
    pub does: Does,
}

/// What a trial does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Nothing: for measuring the ledger.
    #[default]
    Nothing,
    /// Takes so many milliseconds, and lets others work meanwhile. From 5,000 on it runs into its time-out.
    SleepMs(u64),
    /// Holds its thread for so many milliseconds, as a handler does that computes or calls something that blocks.
    BlockMs(u64),
    /// Fails on its first so many attempts.
    FailTimes(u32),
    /// Panics on each attempt.
    Panic,
    /// Kills its worker on each attempt, as running out of memory does; only where `PULSECAL_ALLOW_ABORT=1`.
    Abort,
}

impl Does {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// Lets a trial kill its worker; never set where real work is done.
const ALLOW_ABORT: &str = "PULSECAL_ALLOW_ABORT";

impl Job for Trial {
    const KIND: &'static str = "noop";
    const POLICY: Policy = Policy {
        queue: Queue::Maintenance,
        priority: Priority::Normal,
        attempts: 3,
        backoff: Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(2) },
        timeout: Duration::from_secs(5),
        expires_after: None,
    };

    async fn run(&self, ctx: &RunContext) -> JobResult {
        match self.does {
            Does::Nothing => {}
            Does::SleepMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Does::BlockMs(ms) => {
                #[expect(clippy::disallowed_methods, reason = "a thread that blocks is what is tried here")]
                std::thread::sleep(Duration::from_millis(ms));
            }
            Does::FailTimes(times) => {
                if i64::from(ctx.fence.attempt) <= i64::from(times) {
                    return Err(JobError::Retry(format!("failed as told, attempt {}", ctx.fence.attempt)));
                }
            }
            Does::Panic => panic!("panicked as told"),
            Does::Abort => {
                if std::env::var_os(ALLOW_ABORT).is_none_or(|value| value != "1") {
                    return Err(JobError::Never(format!("would kill its worker, which only {ALLOW_ABORT}=1 allows")));
                }
                tracing::warn!(job.id = %ctx.fence.job, job.attempt = ctx.fence.attempt, "trial: kills this worker as told");
                std::process::abort();
            }
        }
        Ok(Verdict::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_reads_as_documented() {
        let read = |text: &str| serde_json::from_str::<Trial>(text).expect(text).does;
        assert_eq!(read(r#"{"i": 1}"#), Does::Nothing);
        assert_eq!(read(r#"{"i": 1, "does": "nothing"}"#), Does::Nothing);
        assert_eq!(read(r#"{"i": 1, "does": {"sleep_ms": 5}}"#), Does::SleepMs(5));
        assert_eq!(read(r#"{"i": 1, "does": {"block_ms": 5}}"#), Does::BlockMs(5));
        assert_eq!(read(r#"{"i": 1, "does": {"fail_times": 2}}"#), Does::FailTimes(2));
        assert_eq!(read(r#"{"i": 1, "does": "panic"}"#), Does::Panic);
        assert_eq!(read(r#"{"i": 1, "does": "abort"}"#), Does::Abort);
        let plain = Trial { i: 7, does: Does::Nothing };
        assert_eq!(serde_json::to_string(&plain).expect("serializes"), r#"{"i":7}"#, "as trials always were");
    }
}
