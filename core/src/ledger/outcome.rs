//! How a claimed job runs and ends.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::ids::{JobId, OrgId, ProcessId};

/// The fencing token of a claim: a job is finished only by who holds its newest claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The job.
    pub job: JobId,
    /// The attempt, counted at claim; 1 for the first.
    pub attempt: i32,
    /// The process that claimed it.
    pub worker: ProcessId,
}

/// A job as it was claimed.
#[derive(Debug)]
pub struct Claimed {
    /// What lets it finish.
    pub fence: Fence,
    /// Its kind, as the ledger has it.
    pub kind: String,
    /// Its args, unread.
    pub args: Box<RawValue>,
    /// Whose data it touches.
    pub org: Option<OrgId>,
    /// Attempts in all.
    pub max_attempts: i32,
    /// When it fell due.
    pub run_at: DateTime<Utc>,
    /// It ran out of time before this claim.
    pub expired: bool,
    /// Someone asked to cancel it before this claim.
    pub cancel_asked: bool,
}

/// How a claimed job ends, or goes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Done.
    Done,
    /// Cancelled, with the reason.
    Cancelled(String),
    /// Ran out of time.
    Expired,
    /// Never again, with the reason.
    Dead(String),
    /// Tries again at this moment.
    Retry(DateTime<Utc>, String),
    /// Runs again at this moment; the attempt is not counted.
    Snoozed(DateTime<Utc>),
    /// Given back at once by a stopping worker; the attempt is not counted.
    GivenBack,
}

/// One entry of a finish batch.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The claim that ends.
    pub fence: Fence,
    /// How.
    pub ending: Ending,
}
