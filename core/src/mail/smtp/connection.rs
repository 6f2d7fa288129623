//! One connection: commands out, replies in, each within its time.

use std::fmt::{self, Display, Formatter};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::config::SmtpTimeouts;
use super::reply::{self, Parsed, Reply};
use super::stream::SmtpStream;

/// How long to take leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a dialog cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    Closed,
    Io(io::ErrorKind),
    TimedOut(Duration),
    /// The server said something that does not fit.
    Protocol(&'static str),
}

impl Broken {
    /// The peer went away, as it may on a connection that has been idle.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }
}

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
            Self::TimedOut(after) => write!(f, "no answer within {} s", after.as_secs_f32()),
            Self::Protocol(what) => f.write_str(what),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::Io(kind),
        }
    }
}

/// What the server offers (EHLO).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) eight_bit_mime: bool,
    pub(super) dsn: bool,
    pub(super) start_tls: bool,
    pub(super) auth_plain: bool,
    pub(super) auth_login: bool,
}

/// Counts open connections, for as long as it lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection, past greeting, TLS and AUTH once [`Connection::open`] returned it.
pub(super) struct Connection {
    pub(super) stream: SmtpStream,
    /// Received and not yet read, from `read_from` on.
    pub(super) received: Vec<u8>,
    pub(super) read_from: usize,
    pub(super) offers: Offers,
    pub(super) timeouts: SmtpTimeouts,
    /// The last transaction was refused halfway: its sender may still be set.
    pub(super) needs_reset: bool,
    _counted: Counted,
}

impl Connection {
    pub(super) fn over(stream: SmtpStream, timeouts: SmtpTimeouts, counted: Counted) -> Self {
        Self {
            stream,
            received: Vec::with_capacity(1024),
            read_from: 0,
            offers: Offers::default(),
            timeouts,
            needs_reset: false,
            _counted: counted,
        }
    }

    /// False if the server has closed an idle connection, or is about to.
    pub(super) async fn is_quiet(&mut self) -> bool {
        self.read_from == self.received.len() && self.stream.is_quiet().await
    }

    /// Sends one command and reads its reply.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, Broken> {
        self.write(command.as_bytes()).await?;
        self.reply().await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.write_counting([bytes], &mut 0).await
    }

    /// Writes all of `pieces`, in one call if the stream takes them at once. `sent` becomes the
    /// number of bytes that it has taken, also after an error: a write that fails or is given up
    /// has taken nothing.
    pub(super) async fn write_counting<const N: usize>(
        &mut self,
        pieces: [&[u8]; N],
        sent: &mut usize,
    ) -> Result<(), Broken> {
        let limit = self.timeouts.command;
        let mut pieces = pieces.map(IoSlice::new);
        let mut rest = &mut pieces[..];
        // Takes away the empty ones at its start.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match timeout(limit, self.stream.write_vectored(rest)).await {
                Ok(Ok(0)) => return Err(Broken::Io(io::ErrorKind::WriteZero)),
                Ok(Ok(taken)) => {
                    *sent += taken;
                    IoSlice::advance_slices(&mut rest, taken);
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Broken::TimedOut(limit)),
            }
        }
        match timeout(limit, self.stream.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(Broken::TimedOut(limit)),
        }
    }

    /// The next reply, within the time for a command.
    pub(super) async fn reply(&mut self) -> Result<Reply, Broken> {
        self.reply_within(self.timeouts.command).await
    }

    pub(super) async fn reply_within(&mut self, limit: Duration) -> Result<Reply, Broken> {
        // Of a group of commands the replies come together: no timer for those that are here.
        if let Some(reply) = self.received_reply()? {
            return Ok(reply);
        }
        match timeout(limit, self.read_reply()).await {
            Ok(reply) => reply,
            Err(_) => Err(Broken::TimedOut(limit)),
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        loop {
            self.received.drain(..self.read_from);
            self.read_from = 0;
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Broken::Closed);
            }
            if let Some(reply) = self.received_reply()? {
                return Ok(reply);
            }
        }
    }

    /// The next reply, if all of it was received already.
    fn received_reply(&mut self) -> Result<Option<Reply>, Broken> {
        match reply::parse(&self.received[self.read_from..]) {
            Parsed::Whole(reply, used) => {
                self.read_from += used;
                Ok(Some(reply))
            }
            Parsed::Partial => Ok(None),
            Parsed::Nonsense => Err(Broken::Protocol("the server does not speak SMTP")),
        }
    }

    /// Takes leave and closes. Never fails: there is nothing left to lose.
    pub(super) async fn quit(mut self) {
        let _whatever_it_answers = timeout(GOODBYE, self.command("QUIT\r\n")).await;
        let _already_gone = timeout(GOODBYE, self.stream.shutdown()).await;
    }
}
