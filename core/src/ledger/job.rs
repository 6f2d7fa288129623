//! What a job is: its kind, its policy, its handler.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::RunContext;
use crate::ids::{JobId, OrgId};

/// A queue: a class of work with workers of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Queue {
    /// Medication reminders.
    Reminders,
    /// All other mail.
    Mail,
    /// Report exports.
    Exports,
    /// Database backups.
    Backups,
    /// Planning, rollups, clean-up.
    Maintenance,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Queue; 5] = [Queue::Reminders, Queue::Mail, Queue::Exports, Queue::Backups, Queue::Maintenance];

    /// The name that configuration, Redis and Postgres know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Queue::Reminders => "reminders",
            Queue::Mail => "mail",
            Queue::Exports => "exports",
            Queue::Backups => "backups",
            Queue::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no queue of that name.
#[derive(Debug, thiserror::Error)]
#[error("there is no queue {0:?}; the queues are reminders, mail, exports, backups, maintenance")]
pub struct UnknownQueue(pub String);

impl FromStr for Queue {
    type Err = UnknownQueue;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Queue::ALL
            .into_iter()
            .find(|queue| queue.as_str() == name)
            .ok_or_else(|| UnknownQueue(name.chars().take(40).collect()))
    }
}

/// Which of a queue's jobs go first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Priority {
    /// Before all others.
    High,
    /// As they come.
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Every priority, the first to run first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    /// The number that Postgres and Redis know, 0 to 2.
    pub const fn level(self) -> i16 {
        match self {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        }
    }
}

/// How long to wait after a failed attempt: exponential with full jitter, between zero and min(cap, base * 2^(attempt-1)).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest wait after the first attempt.
    pub base: Duration,
    /// The longest wait ever.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after `attempt` (1 for the first), with `fraction` in 0.0..=1.0 for the jitter; at least a tenth of its
    /// longest, so that a retry never hits at once.
    pub fn after(&self, attempt: i32, fraction: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(u32::try_from(attempt.max(1) - 1).unwrap_or(0)));
        doubled.min(self.cap).mul_f64(0.1 + 0.9 * fraction.clamp(0.0, 1.0))
    }
}

/// The rules that a kind of job runs under.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Where it waits.
    pub queue: Queue,
    /// Which go first.
    pub priority: Priority,
    /// Attempts in all, 1 to 1000.
    pub attempts: u16,
    /// Wait between attempts.
    pub backoff: Backoff,
    /// The time of one attempt; after it the attempt counts as failed.
    pub timeout: Duration,
    /// A job not started this long after it was due ends as expired; none: never.
    pub expires_after: Option<Duration>,
}

/// How an attempt that did not fail ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The work is done.
    Done,
    /// The work is no longer wanted; the reason is kept.
    Cancel(&'static str),
    /// Later: goes back with this wait and does not use up an attempt.
    Snooze(Duration),
    /// The job was finished in the transaction of its effect (see [`crate::send`]); nothing is left to record.
    Settled,
}

/// Why an attempt failed. `?` on any error means: try again.
#[derive(Debug)]
pub enum JobError {
    /// Try again under the policy.
    Retry(String),
    /// Try again, but not before this wait.
    RetryAfter(String, Duration),
    /// Never try again: the job is dead with this reason.
    Never(String),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Retry(why) | JobError::RetryAfter(why, _) | JobError::Never(why) => f.write_str(why),
        }
    }
}

impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        JobError::Retry(error.to_string())
    }
}

/// What a handler returns.
pub type JobResult = Result<Verdict, JobError>;

/// A kind of work. One file in `jobs/` holds all of it.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind's name. Never changes.
    const KIND: &'static str;
    /// Old names still accepted from the ledger.
    const FORMERLY: &'static [&'static str] = &[];
    /// The rules it runs under.
    const POLICY: Policy;

    /// One live job for each (kind, key); none: any number.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// The organization whose data it touches; none for the platform's own work.
    fn organization(&self) -> Option<OrgId> {
        None
    }

    /// Does the work. May run twice.
    fn run(&self, ctx: &RunContext) -> impl Future<Output = JobResult> + Send;
}

/// What became of an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job.
    New(JobId),
    /// A live job with the same key was there already.
    Duplicate,
}

/// A job on its way into the ledger.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub(crate) kind: &'static str,
    pub(crate) queue: Queue,
    pub(crate) priority: Priority,
    pub(crate) args: serde_json::Value,
    pub(crate) org: Option<OrgId>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) expires_after: Option<Duration>,
    pub(crate) max_attempts: i32,
    pub(crate) unique_key: Option<String>,
}

impl NewJob {
    /// `job` under its kind's policy, due at once.
    ///
    /// # Errors
    /// When the args do not serialize.
    pub fn of<J: Job>(job: &J) -> Result<Self, serde_json::Error> {
        Ok(Self {
            kind: J::KIND,
            queue: J::POLICY.queue,
            priority: J::POLICY.priority,
            args: serde_json::to_value(job)?,
            org: job.organization(),
            run_at: None,
            expires_at: None,
            expires_after: J::POLICY.expires_after,
            max_attempts: i32::from(J::POLICY.attempts),
            unique_key: job.unique_key(),
        })
    }

    /// Due at `at` instead of at once.
    #[must_use]
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.run_at = Some(at);
        self
    }

    /// Expires at `at` instead of what the policy says.
    #[must_use]
    pub fn expires_at(mut self, at: DateTime<Utc>) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// On behalf of `org`: its transactions may write no other.
    #[must_use]
    pub fn for_org(mut self, org: OrgId) -> Self {
        self.org = Some(org);
        self
    }

    /// Beside any live job of its kind: for work that must look again although the same runs already, and may have looked.
    #[must_use]
    pub fn beside_others(mut self) -> Self {
        self.unique_key = None;
        self
    }

    /// Jumps the queue, or stands back.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}
