//! A TCP proxy between a process and its server, which can be told to fail like a network.

mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::own_processes::ports::ReservedPort;
use crate::threads::OwnRuntime;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Hands them on.
    Pass,
    /// A partition: connections are accepted and stay open, nothing arrives on either side, not even a close. When the
    /// mode ends, what was held back is delivered.
    BlackHole,
    /// Requests arrive at the target, its replies do not reach the client. When the mode ends, they do.
    StallReplies,
    /// Nobody listens; entering this mode also resets the open connections.
    Refuse,
    /// Each byte arrives this much later; throughput is not limited.
    Delay {
        /// On the way to the target.
        to_target: Duration,
        /// On the way to the client.
        to_client: Duration,
    },
    /// Resets a connection once this many bytes, counted from the start of this mode or of the connection and over both
    /// directions, were handed on.
    DropAfter {
        /// Bytes; 0 resets at the first.
        bytes: u64,
    },
    /// Hands on at most this many bytes a second in each direction of each connection.
    Throttle {
        /// Bytes a second, at least 1.
        bytes_per_second: u64,
    },
}

/// The proxy: on a port of 127.0.0.1 that stays the same in every mode, until dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: ReservedPort,
    orders: mpsc::UnboundedSender<Order>,
    open: Arc<AtomicUsize>,
    _runtime: OwnRuntime,
}

impl FaultProxy {
    /// A proxy to this address, in [`Mode::Pass`].
    pub fn start(target: SocketAddr) -> Self {
        let port = ReservedPort::take();
        let number = port.number();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, number)).expect("a reserved port is free");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let (orders, incoming) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let for_proxy = Arc::clone(&open);
        let runtime = OwnRuntime::start("fault-proxy", move || async move {
            let listener = TcpListener::from_std(listener).expect("a non-blocking listener can be registered");
            run(listener, number, target, incoming, for_proxy).await;
        });
        Self { port, orders, open, _runtime: runtime }
    }

    /// A proxy to the server of this URL, which must have an IP address (or `localhost`) and a port.
    ///
    /// # Panics
    /// If it has not.
    pub fn to_url(url: &str) -> Self {
        let url: Url = url.parse().unwrap_or_else(|error| panic!("not a URL: {error}"));
        let host = match url.host_str() {
            None | Some("localhost") => "127.0.0.1",
            Some(host) => host,
        };
        let address = host.parse().expect("the URL names an IP address");
        let standard = match url.scheme() {
            "postgres" | "postgresql" => Some(5432),
            "redis" => Some(6379),
            _ => url.port_or_known_default(),
        };
        let port = url.port().or(standard).expect("the URL names a port");
        Self::start(SocketAddr::new(address, port))
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }

    /// Changes the mode for open and new connections. When this returns, only writes begun before still move by the old one.
    pub async fn set(&self, mode: Mode) {
        self.order(|done| Order::Set(mode, done)).await;
    }

    /// Resets the open connections; new ones follow the mode.
    pub async fn close_existing(&self) {
        self.order(Order::CloseExisting).await;
    }

    /// Connections that clients hold to the proxy.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, is_done) = oneshot::channel();
        self.orders.send(order(done)).expect("the proxy runs until it is dropped");
        is_done.await.expect("the proxy runs until it is dropped");
    }
}

/// The URL with another host and port: what a process is given so that it goes through the proxy.
///
/// # Panics
/// If it is no URL with a host.
pub fn url_through(url: &str, address: SocketAddr) -> String {
    let mut url: Url = url.parse().unwrap_or_else(|error| panic!("not a URL: {error}"));
    url.set_host(Some(&address.ip().to_string())).expect("the URL has a host");
    url.set_port(Some(address.port())).expect("the URL has a host");
    url.into()
}

/// A mode, and how many were set before it.
#[derive(Clone, Copy, Debug)]
struct Setting {
    mode: Mode,
    generation: u64,
}

#[derive(Debug)]
enum Order {
    Set(Mode, oneshot::Sender<()>),
    CloseExisting(oneshot::Sender<()>),
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(
    listener: TcpListener,
    port: u16,
    target: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Order>,
    open: Arc<AtomicUsize>,
) {
    let mut listener = Some(listener);
    let (mode, _) = watch::channel(Setting { mode: Mode::Pass, generation: 0 });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Orders first, so that a connection made after an order meets it.
            biased;
            order = orders.recv() => match order {
                None => return,
                Some(Order::Set(new, done)) => {
                    if new == Mode::Refuse {
                        listener = None;
                        connections.shutdown().await;
                    } else if listener.is_none() {
                        let address = (Ipv4Addr::LOCALHOST, port);
                        listener = Some(TcpListener::bind(address).await.expect("a reserved port is free"));
                    }
                    mode.send_modify(|setting| *setting = Setting { mode: new, generation: setting.generation + 1 });
                    // Its receiver may have given up waiting.
                    let _ = done.send(());
                }
                Some(Order::CloseExisting(done)) => {
                    connections.shutdown().await;
                    let _ = done.send(());
                }
            },
            client = accept(listener.as_ref()) => {
                open.fetch_add(1, Ordering::Relaxed);
                let open = Open(Arc::clone(&open));
                let mode = mode.subscribe();
                connections.spawn(async move {
                    connection(client, target, mode).await;
                    drop(open);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
        // Out of file descriptors: those in use will come free.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connection(client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Setting>) {
    // A reset, not an orderly end, when this proxy closes: that is what a lost peer looks like.
    let _ = client.set_zero_linger();
    let _ = client.set_nodelay(true);
    if mode.wait_for(|setting| setting.mode != Mode::BlackHole).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = server.set_zero_linger();
    let _ = server.set_nodelay(true);
    pump::both_ways(client, server, mode).await;
}
