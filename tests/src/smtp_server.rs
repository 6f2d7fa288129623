//! An SMTP server that records what it accepts and fails as it is told.
//!
//! What it recorded is the truth of a test: a message is *accepted* from the instant the server took it over after the
//! final dot, whether or not the sender ever learned of it.

mod body;
mod faults;
mod record;
mod session;

pub use self::faults::{Fault, Faults, Stage};
pub use self::record::{Accepted, Counts, Fate, NotAccepted};

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::faults::LiveFaults;
use crate::threads::OwnRuntime;
use crate::wait::until;

/// How the server behaves apart from its faults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether EHLO offers PIPELINING.
    pub pipelining: bool,
    /// Bytes of a message that are kept for reading; 0 keeps none, which is right for tests of speed.
    pub keep_raw_bytes: usize,
    /// Number of messages of which raw bytes are kept; later ones are recorded without.
    pub keep_raw_messages: usize,
    /// Largest message in bytes, offered as SIZE. A larger one gets 552.
    pub size_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { pipelining: true, keep_raw_bytes: 256 * 1024, keep_raw_messages: 5_000, size_limit: 32 * 1024 * 1024 }
    }
}

/// The server: on a free port of 127.0.0.1 until dropped, on a thread of its own.
#[derive(Debug)]
pub struct RecordingSmtp {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: OwnRuntime,
}

impl RecordingSmtp {
    /// Starts it with [`Options::default`].
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts it.
    pub fn start_with(options: Options) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of 127.0.0.1 is free");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared { options, state: Mutex::default() });
        let for_server = Arc::clone(&shared);
        let runtime = OwnRuntime::start("recording-smtp", || session::serve(listener, for_server));
        Self { address, shared, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `SMTP_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Replaces the faults from now on; what hangs goes on hanging. Counting (`next`, `first_tries`, shares) starts anew.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = LiveFaults::new(faults);
    }

    /// The accepted messages, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared.lock().accepted.clone()
    }

    /// The messages that arrived to the final dot and were not accepted, in order.
    pub fn not_accepted(&self) -> Vec<NotAccepted> {
        self.shared.lock().not_accepted.clone()
    }

    /// The accepted messages by their Message-ID; one without is under the empty string.
    pub fn by_message_id(&self) -> HashMap<String, Vec<Accepted>> {
        let mut found: HashMap<String, Vec<Accepted>> = HashMap::new();
        for message in &self.shared.lock().accepted {
            found.entry(message.message_id.clone().unwrap_or_default()).or_default().push(message.clone());
        }
        found
    }

    /// Numbers since the start or the last [`Self::clear`].
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts.clone()
    }

    /// Waits until at least this many messages are accepted, and gives them.
    ///
    /// # Panics
    /// If that does not happen within the limit.
    pub async fn wait_accepted(&self, count: usize, limit: Duration) -> Vec<Accepted> {
        let what = format!("{count} messages are accepted");
        until(limit, &what, async || {
            let state = self.shared.lock();
            (state.accepted.len() >= count).then(|| state.accepted.clone())
        })
        .await
    }

    /// Forgets the messages and numbers. Faults stay.
    pub fn clear(&self) {
        let mut state = self.shared.lock();
        state.accepted.clear();
        state.not_accepted.clear();
        state.counts = Counts { open_connections: state.counts.open_connections, ..Counts::default() };
    }
}

#[derive(Debug)]
struct Shared {
    options: Options,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    faults: LiveFaults,
    accepted: Vec<Accepted>,
    not_accepted: Vec<NotAccepted>,
    counts: Counts,
}

impl State {
    /// A message has arrived whole; without a fate it is accepted.
    fn record(&mut self, message: Accepted, fate: Option<Fate>) {
        self.counts.arrived += 1;
        match fate {
            None => {
                self.counts.accepted += 1;
                self.counts.replies_lost += u64::from(message.reply_lost);
                self.counts.bytes += message.size as u64;
                self.accepted.push(message);
            }
            Some(fate) => self.not_accepted.push(NotAccepted { message, fate }),
        }
    }
}
