//! The connections to one server: bounded, reused, closed when idle; and the messages that wait for one.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::config::{SmtpConfig, SmtpConfigError};
use super::connection::Connection;
use super::delivery::{Delivery, Envelope, Stage};
use super::handshake::Dialer;
use super::transaction::Transaction;
use super::wire::WireMessage;

/// Sends messages to one SMTP server. A clone shares the same connections.
#[derive(Clone)]
pub struct SmtpTransport {
    pool: Arc<Pool>,
}

struct Pool {
    dialer: Dialer,
    queue: Mutex<Queue>,
    open: Arc<AtomicUsize>,
}

/// Connections that no message has, and messages that have no connection.
struct Queue {
    /// How many connections more may be in use; the idle ones never exceed this. While it is not 0
    /// nobody waits.
    free: usize,
    /// With the time since when; the one used last is at the end.
    idle: Vec<(Connection, Instant)>,
    /// A task is there that closes the idle ones in time.
    watched: bool,
    /// First come, first served.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    envelope: Envelope,
    is_ascii: bool,
    turn: oneshot::Sender<Turn>,
}

/// What a message waits for.
enum Turn {
    /// It may take an idle connection or open one.
    Free(Permit),
    /// Its commands went out on this connection, behind the text of the message before, to which the
    /// server has answered by now.
    Announced(Connection, Permit),
    /// Its commands went out like that, and then the connection was lost.
    Lost(Permit),
}

/// The right to have one connection in use. When it is dropped, the next message gets it: so drop
/// the connection first.
struct Permit {
    pool: Arc<Pool>,
    /// The message whose commands went out behind this one's text.
    follower: Option<oneshot::Sender<Turn>>,
}

impl Debug for SmtpTransport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTransport").field("config", &self.pool.dialer.config).finish()
    }
}

impl SmtpTransport {
    /// A transport that connects when it has something to send. Does no I/O.
    ///
    /// # Errors
    /// [`SmtpConfigError`] if the host's name cannot be one of a certificate, or TLS cannot be set up.
    pub fn connect_lazy(config: SmtpConfig) -> Result<Self, SmtpConfigError> {
        let free = config.max_connections.max(1);
        let queue = Queue { free, idle: Vec::new(), watched: false, waiting: VecDeque::new() };
        let pool = Pool { dialer: Dialer::new(config)?, queue: Mutex::new(queue), open: Arc::default() };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Sends one message (headers and body, as [`OutgoingMail`] builds it) to one recipient, and
    /// says exactly how that ended. Waits for one of the connections to become free; where the
    /// server offers PIPELINING, the commands of a message that waits go out with the text of one
    /// that is under way.
    ///
    /// If this future is dropped before it is ready, the end is unknown: treat it as
    /// [`Delivery::Uncertain`]. The connection is thrown away then. A message that followed on it
    /// gets another one.
    ///
    /// [`OutgoingMail`]: crate::mail::OutgoingMail
    pub async fn send(&self, envelope: &Envelope, message: &[u8]) -> Delivery {
        let message = WireMessage::new(message);
        let Some(turn) = self.pool.turn(envelope, message.is_ascii()).await else {
            let reason = "the transport is closed".to_owned();
            return Delivery::NotSent { stage: Stage::Connect, reason };
        };
        let (permit, used, announced) = match turn {
            Turn::Free(permit) => (permit, self.pool.take_idle().await, false),
            Turn::Announced(connection, permit) => (permit, Some(connection), true),
            Turn::Lost(permit) => (permit, None, false),
        };
        if let Some(mut connection) = used {
            let begun = connection.announce(envelope, message.is_ascii(), announced).await;
            // The server had closed it, or did so after the message before, and nothing of this
            // message's text went out: a new connection may have it. Once only, and never one that
            // was in use before.
            if !begun.as_ref().is_err_and(|ended| ended.never_began) {
                return permit.go_on(connection, begun, envelope, &message).await;
            }
        }
        match self.pool.dialer.open(&self.pool.open).await {
            Ok(mut connection) => {
                let begun = connection.announce(envelope, message.is_ascii(), false).await;
                permit.go_on(connection, begun, envelope, &message).await
            }
            Err(delivery) => delivery,
        }
    }

    /// Takes leave on every idle connection. Messages under way go on, and later ones connect anew.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut self.pool.queue().idle);
        join_all(idle.into_iter().map(|(connection, _)| connection.quit())).await;
    }

    /// Connections at most.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.pool.dialer.config.max_connections.max(1)
    }

    /// Connections that are open now, idle ones included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.pool.open.load(Ordering::Relaxed)
    }
}

impl Permit {
    fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), follower: None }
    }

    /// Sends the text if the message has `begun`, and leaves the connection to the next message.
    async fn go_on(
        mut self,
        mut connection: Connection,
        begun: Result<(), Transaction>,
        envelope: &Envelope,
        message: &WireMessage<'_>,
    ) -> Delivery {
        let ended = match begun {
            Ok(()) => {
                let next = self.invite(&connection);
                connection.deliver(envelope, message, &next).await
            }
            Err(ended) => ended,
        };
        if ended.reusable {
            self.pass_on(connection);
        } else {
            drop(connection);
        }
        ended.delivery
    }

    /// Makes the message that has waited longest follow on `connection`, if that can be. Its
    /// commands, to be written behind this message's text.
    fn invite(&mut self, connection: &Connection) -> String {
        if !connection.offers.pipelining {
            return String::new();
        }
        let next = self.pool.queue().next_if(|next| connection.takes(next.is_ascii));
        let Some(next) = next else {
            return String::new();
        };
        self.follower = Some(next.turn);
        connection.group(&next.envelope, next.is_ascii)
    }

    /// To the message that follows on `connection`, or into the idle ones.
    fn pass_on(mut self, connection: Connection) {
        let pool = Arc::clone(&self.pool);
        if let Some(follower) = self.follower.take() {
            // If it has gone, its transaction stays half done: the connection is dropped then, and
            // the permit after it.
            drop(follower.send(Turn::Announced(connection, self)));
            return;
        }
        let mut queue = pool.queue();
        queue.idle.push((connection, Instant::now()));
        if !queue.watched {
            queue.watched = true;
            tokio::spawn(close_idle(Arc::downgrade(&pool)));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A turn that cannot be delivered is dropped, and its permit with it, which brings it here
        // again.
        if let Some(follower) = self.follower.take() {
            drop(follower.send(Turn::Lost(Self::new(&self.pool))));
            return;
        }
        let next = self.pool.queue().next_or_free();
        if let Some(next) = next {
            drop(next.turn.send(Turn::Free(Self::new(&self.pool))));
        }
    }
}

impl Queue {
    /// The message that has waited longest, if it is of this kind.
    fn next_if(&mut self, fits: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        while self.waiting.front()?.turn.is_closed() {
            self.waiting.pop_front();
        }
        self.waiting.pop_front_if(|next| fits(next))
    }

    /// The message that has waited longest; if there is none, one connection more may be used.
    fn next_or_free(&mut self) -> Option<Waiting> {
        let next = self.next_if(|_any| true);
        self.free += usize::from(next.is_none());
        next
    }
}

impl Pool {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that panics runs under this lock; and lists stay lists.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a connection may be used. `None` if that will never be.
    async fn turn(self: &Arc<Self>, envelope: &Envelope, is_ascii: bool) -> Option<Turn> {
        let turn = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Some(Turn::Free(Permit::new(self)));
            }
            let (turn, to_come) = oneshot::channel();
            queue.waiting.push_back(Waiting { envelope: envelope.clone(), is_ascii, turn });
            to_come
        };
        turn.await.ok()
    }

    /// The idle connection that was used last, if the server still has it.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let (mut connection, _) = self.queue().idle.pop()?;
            if connection.is_quiet().await {
                return Some(connection);
            }
        }
    }

    /// Removes what has been idle for too long, and says when to look again.
    fn take_expired(&self) -> (Vec<Connection>, Option<Instant>) {
        let now = Instant::now();
        let limit = self.dialer.config.timeouts.idle;
        let mut queue = self.queue();
        // Oldest first.
        let expired = queue.idle.iter().take_while(|(_, since)| *since + limit <= now).count();
        let expired = queue.idle.drain(..expired).map(|(connection, _)| connection).collect();
        let next = queue.idle.first().map(|(_, since)| *since + limit);
        queue.watched = next.is_some();
        (expired, next)
    }
}

/// Closes idle connections when their time has come; ends when there is none left.
async fn close_idle(pool: Weak<Pool>) {
    loop {
        let Some((expired, next)) = pool.upgrade().map(|pool| pool.take_expired()) else {
            return;
        };
        join_all(expired.into_iter().map(Connection::quit)).await;
        match next {
            Some(at) => sleep_until(at).await,
            None => return,
        }
    }
}
