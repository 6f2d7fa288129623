//! Handing a message to an SMTP server, and knowing exactly how that ended.
//!
//! TLS is rustls and the SASL answers are lettre's; the dialog is our own, for two reasons. One is
//! exactness: whether the dot that ends a message was handed to the kernel decides between "try
//! again" and "may have been accepted", and lettre does not tell. The other is speed: MAIL, RCPT
//! and DATA go out in one write where the server offers PIPELINING (RFC 2920), and the message
//! with its dot in a second one, over a socket without Nagle's algorithm. While messages wait for
//! a connection, that second write is the next one's first: a text, its dot and the next MAIL,
//! RCPT and DATA go out together, one write and one round trip for each message.

mod config;
mod connection;
mod delivery;
mod handshake;
mod pool;
mod reply;
mod stream;
#[cfg(test)]
mod tests;
mod transaction;
mod wire;

pub use config::{SmtpConfig, SmtpConfigError, SmtpTimeouts, StartTlsPolicy};
pub use delivery::{Delivery, Envelope, Stage};
pub use pool::SmtpTransport;
