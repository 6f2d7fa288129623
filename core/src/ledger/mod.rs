//! The ledger's protocol: what a job is, and how it ends.

mod job;
mod outcome;
mod registry;

pub use job::{Backoff, Enqueued, Job, JobError, JobResult, NewJob, Policy, Priority, Queue, UnknownQueue, Verdict};
pub use outcome::{Claimed, Ending, Fence, Finish};
pub use registry::{Kind, Registry};
