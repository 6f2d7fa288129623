//! The one send path: promise on record, render at that moment, send, record. What many jobs do at the same moment is done
//! in one statement, and a job is finished in the transaction that records its message.

mod batch;
mod dose;
mod mailer;

pub use batch::Batcher;
pub use dose::{DoseParts, DoseSender, dose_facts};
pub use mailer::Mailer;
