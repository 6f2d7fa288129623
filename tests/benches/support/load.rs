//! Load on an HTTP server over connections that are kept, with as little work of its own as can be: what the generator costs, the
//! servers under it cannot use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// No answer of a bench is longer.
const LONGEST: usize = 1 << 20;

/// What a load found.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests that were answered.
    pub answered: usize,
    /// For so many seconds.
    pub seconds: f64,
    /// How long each waited, in ms.
    pub waits: Vec<f64>,
}

impl Load {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.answered).unwrap_or(u32::MAX)) / self.seconds
    }
}

/// Asks for so long over so many connections, each with one request at a time; request `i` is what `request` makes of it, and
/// each must be answered with `status`. Numbers go on from `next`.
///
/// # Panics
/// At another answer.
pub async fn drive(
    server: SocketAddr,
    connections: usize,
    span: Duration,
    next: &AtomicUsize,
    status: u16,
    request: impl Fn(usize) -> String,
) -> Load {
    let began = Instant::now();
    let one = async || {
        let mut stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket's option");
        let (mut waits, mut buffer) = (Vec::new(), Vec::new());
        while began.elapsed() < span {
            let text = request(next.fetch_add(1, Ordering::Relaxed));
            let asked = Instant::now();
            stream.write_all(text.as_bytes()).await.expect("sent");
            let got = answer(&mut stream, &mut buffer).await;
            waits.push(asked.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(got, status, "{text}\n\n{}", String::from_utf8_lossy(&buffer));
        }
        waits
    };
    let waits: Vec<f64> = join_all((0..connections).map(|_| one())).await.into_iter().flatten().collect();
    Load { answered: waits.len(), seconds: began.elapsed().as_secs_f64(), waits }
}

/// What came of requests that were sent at set moments.
#[derive(Debug, Default)]
pub struct Paced {
    /// How often each status came.
    pub statuses: BTreeMap<u16, usize>,
    /// How long each took from the moment at which it was due, in ms, shortest first.
    pub waits: Vec<f64>,
}

/// Sends so many requests a second for so long, over so many connections, whatever is answered.
///
/// # Panics
/// When the server hangs up.
pub async fn pace(
    server: SocketAddr,
    connections: usize,
    a_second: u32,
    span: Duration,
    request: impl Fn(usize) -> String,
) -> Paced {
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let one = async || {
        let mut stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket's option");
        let (mut answers, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs(1) * u32::try_from(i).unwrap_or(u32::MAX) / a_second;
            if due >= span {
                return answers;
            }
            tokio::time::sleep_until(began + due).await;
            stream.write_all(request(i).as_bytes()).await.expect("sent");
            let status = answer(&mut stream, &mut buffer).await;
            answers.push((status, (began.elapsed() - due).as_secs_f64() * 1000.0));
        }
    };
    let mut all = Paced::default();
    for (status, wait) in join_all((0..connections).map(|_| one())).await.into_iter().flatten() {
        *all.statuses.entry(status).or_default() += 1;
        all.waits.push(wait);
    }
    all.waits.sort_by(f64::total_cmp);
    all
}

/// Reads one answer whole; gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    let body = loop {
        more(stream, buffer).await;
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = std::str::from_utf8(&buffer[..body]).expect("a head is text").to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).expect("an answer says its length");
    while buffer.len() < body + length {
        more(stream, buffer).await;
    }
    status
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    let read = stream.read_buf(buffer).await.expect("the server answers");
    assert!(read > 0 && buffer.len() < LONGEST, "the server hung up, or said too much");
}
