//! The one send path: promise on record, render at that moment, send, record. What many jobs do at the same moment is done
//! in one statement, and a job is finished in the transaction that records its message.

mod account;
mod alarm;
mod batch;
mod dose;
mod export;
mod join;
mod mailer;
mod message;
mod path;
mod payment;
mod visit;

pub use account::AccountMessage;
pub use alarm::AlarmMessage;
pub use batch::Batcher;
pub use dose::{DoseMessage, dose_facts};
pub use export::{ExportReady, ReadyExport};
pub use join::JoinMessage;
pub use mailer::Mailer;
pub use message::{About, Category, Content, Desk, Message, Reached, Recipient};
pub use path::{Post, Sender};
pub use payment::PaymentMessage;
pub use visit::{VisitMessage, meeting_page, visit_facts};
