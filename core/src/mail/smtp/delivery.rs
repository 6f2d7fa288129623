//! How a transaction began and ended.

use std::fmt::{self, Display, Formatter};

use crate::mail::address::{EmailAddress, MessageId};

/// Who a transaction is from and to. One recipient, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(super) return_path: EmailAddress,
    pub(super) recipient: EmailAddress,
    pub(super) tracking: Option<String>,
}

impl Envelope {
    /// From the address that bounces go to, to the one recipient.
    #[must_use]
    pub fn new(return_path: EmailAddress, recipient: EmailAddress) -> Self {
        Self { return_path, recipient, tracking: None }
    }

    /// Asks a server that offers DSN (RFC 3461) to report failure and delay under this message's id.
    #[must_use]
    pub fn tracked_by(mut self, message: &MessageId) -> Self {
        // 32 hexadecimal digits: valid xtext as they are.
        self.tracking = Some(message.local_part().to_owned());
        self
    }
}

/// The step of the dialog at which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Resolving the name and opening the TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The server's first words.
    Greeting,
    /// EHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, up to the go-ahead.
    Data,
    /// The message text and the reply to its end.
    Message,
}

impl Stage {
    /// A short fixed name, fit for a metric label or a column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Hello => "hello",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Data => "data",
            Self::Message => "message",
        }
    }

    /// True for the steps before MAIL. A refusal there, even a permanent one such as 535, is about
    /// the server or our settings and says nothing about the message or its recipient.
    #[must_use]
    pub fn is_session(self) -> bool {
        matches!(self, Self::Connect | Self::Tls | Self::Greeting | Self::Hello | Self::StartTls | Self::Auth)
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one attempt to hand over a message ended. Its texts are one bounded line each, without
/// e-mail addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The server took responsibility for the message.
    Accepted {
        /// The first line of its reply, often with the server's queue id.
        reply: String,
    },
    /// The server said no. Nothing was delivered.
    Refused {
        /// True for a 5xx code: trying the same again is pointless (but see [`Stage::is_session`]).
        permanent: bool,
        /// The reply code, 400 to 599.
        code: u16,
        /// What was refused.
        stage: Stage,
        /// The server's words.
        text: String,
    },
    /// Surely not delivered: no connection, or it failed before the end of the message was handed
    /// to the operating system. Safe to try again.
    NotSent {
        /// Where it failed.
        stage: Stage,
        /// Why.
        reason: String,
    },
    /// The end of the message was on its way and no reply came: it may have been accepted.
    /// Must not be tried again blindly.
    Uncertain {
        /// Why there is no answer.
        reason: String,
    },
}
