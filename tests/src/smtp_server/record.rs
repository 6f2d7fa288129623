//! What the server remembers.

use std::fmt;
use std::time::Instant;

/// A message that the server took over.
#[derive(Clone)]
pub struct Accepted {
    /// The connection it came on, counted from 1.
    pub connection: u64,
    /// Envelope sender; empty for the null sender.
    pub from: String,
    /// Envelope recipients that were accepted.
    pub to: Vec<String>,
    /// The Message-ID header as it stands, with its angle brackets.
    pub message_id: Option<String>,
    /// Bytes of the message as sent (dots unstuffed), without the final dot.
    pub size: usize,
    /// The message, cut at [`super::Options::keep_raw_bytes`]; `None` where no bytes are kept.
    pub raw: Option<Vec<u8>>,
    /// When the final dot was read.
    pub at: Instant,
    /// True if a fault kept the 250 from the sender.
    pub reply_lost: bool,
}

/// A message that arrived whole and was not taken over.
#[derive(Clone)]
pub struct NotAccepted {
    /// The message. `reply_lost` is meaningless here and false.
    pub message: Accepted,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a message that arrived and was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered with this code.
    Refused(u16),
    /// The connection was closed without an answer.
    Dropped,
    /// Nothing was answered and the connection stays open.
    Hung,
}

/// Numbers of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections so far.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// Most connections open at one time.
    pub most_open_connections: u64,
    /// MAIL commands.
    pub mail: u64,
    /// RCPT commands.
    pub rcpt: u64,
    /// DATA commands.
    pub data: u64,
    /// Final dots read.
    pub arrived: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Accepted messages whose 250 a fault kept back.
    pub replies_lost: u64,
    /// 4xx and 5xx answers that faults gave, at any stage.
    pub refused: u64,
    /// Connections that faults closed.
    pub dropped: u64,
    /// Connections that faults left without an answer.
    pub hung: u64,
    /// Bytes of accepted messages.
    pub bytes: u64,
}

impl Accepted {
    /// The kept bytes as text; empty where none are kept.
    pub fn raw_text(&self) -> String {
        self.raw.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned()
    }
}

// Test output is kept by CI, so neither addresses nor content are shown.
impl fmt::Debug for Accepted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Accepted")
            .field("connection", &self.connection)
            .field("recipients", &self.to.len())
            .field("message_id", &self.message_id)
            .field("size", &self.size)
            .field("reply_lost", &self.reply_lost)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NotAccepted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NotAccepted").field("fate", &self.fate).field("message", &self.message).finish()
    }
}
