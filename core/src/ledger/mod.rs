//! The ledger's protocol: what a job is, and how it ends.

mod job;
mod outcome;
mod registry;

pub use job::{Backoff, Enqueued, Job, JobError, JobResult, NewJob, Policy, Priority, Queue, Verdict, UnknownQueue};
pub use outcome::{Claimed, Ending, Finish, Fence};
pub use registry::{Kind, Registry};
