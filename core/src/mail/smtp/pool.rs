//! The connections to one server: bounded, reused, closed when idle.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
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
    /// One permit per connection in use; the idle ones never exceed the permits that are free.
    permits: Semaphore,
    idle: Mutex<Idle>,
    open: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Idle {
    /// With the time since when; the one used last is at the end.
    connections: Vec<(Connection, Instant)>,
    /// A task is there that closes them in time.
    watched: bool,
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
        let permits = Semaphore::new(config.max_connections.max(1));
        let pool = Pool { dialer: Dialer::new(config)?, permits, idle: Mutex::default(), open: Arc::default() };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Sends one message (headers and body, as [`OutgoingMail`] builds it) to one recipient, and
    /// says exactly how that ended. Waits for one of the connections to become free.
    ///
    /// If this future is dropped before it is ready, the end is unknown: treat it as
    /// [`Delivery::Uncertain`]. The connection is thrown away then.
    ///
    /// [`OutgoingMail`]: crate::mail::OutgoingMail
    pub async fn send(&self, envelope: &Envelope, message: &[u8]) -> Delivery {
        let message = WireMessage::new(message);
        let Ok(_permit) = self.pool.permits.acquire().await else {
            let reason = "the transport is closed".to_owned();
            return Delivery::NotSent { stage: Stage::Connect, reason };
        };
        if let Some(mut connection) = self.pool.take_idle().await {
            let transaction = connection.transact(envelope, &message).await;
            // It was closed while it was idle and nothing of the message went out: a new
            // connection may have it. Once only, and never one that was idle too.
            if !transaction.never_began {
                return self.settle(connection, transaction);
            }
        }
        match self.pool.dialer.open(&self.pool.open).await {
            Ok(mut connection) => {
                let transaction = connection.transact(envelope, &message).await;
                self.settle(connection, transaction)
            }
            Err(delivery) => delivery,
        }
    }

    /// Takes leave on every idle connection. Messages under way go on, and later ones connect anew.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut self.pool.idle().connections);
        join_all(idle.into_iter().map(|(connection, _)| connection.quit())).await;
    }

    /// Connections that are open now, idle ones included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.pool.open.load(Ordering::Relaxed)
    }

    fn settle(&self, connection: Connection, transaction: Transaction) -> Delivery {
        if transaction.reusable {
            let mut idle = self.pool.idle();
            idle.connections.push((connection, Instant::now()));
            if !idle.watched {
                idle.watched = true;
                tokio::spawn(close_idle(Arc::downgrade(&self.pool)));
            }
        }
        transaction.delivery
    }
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing that panics runs under this lock; and a list of connections stays a list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle connection that was used last, if the server still has it.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let (mut connection, _) = self.idle().connections.pop()?;
            if connection.is_quiet().await {
                return Some(connection);
            }
        }
    }

    /// Removes what has been idle for too long, and says when to look again.
    fn take_expired(&self) -> (Vec<Connection>, Option<Instant>) {
        let now = Instant::now();
        let limit = self.dialer.config.timeouts.idle;
        let mut idle = self.idle();
        // Oldest first.
        let expired = idle.connections.iter().take_while(|(_, since)| *since + limit <= now).count();
        let expired = idle.connections.drain(..expired).map(|(connection, _)| connection).collect();
        let next = idle.connections.first().map(|(_, since)| *since + limit);
        idle.watched = next.is_some();
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
