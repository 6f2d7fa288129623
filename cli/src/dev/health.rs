//! Asks the API whether it is ready, by a bare HTTP/1.1 request: one line of an answer is all that matters here.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const PATH: &str = "/health/ready";
const PAUSE: Duration = Duration::from_millis(100);
const ONE_TRY: Duration = Duration::from_secs(3);

/// Returns as soon as `address` (`host:port`) answers 200.
///
/// # Errors
/// At the deadline, with the last answer.
pub(super) async fn wait_ready(address: &str, deadline: Instant) -> Result<(), String> {
    let mut last = "no answer".to_owned();
    let asking = async {
        loop {
            match timeout(ONE_TRY, ask(address)).await {
                Ok(Ok(200)) => return,
                Ok(Ok(code)) => last = format!("HTTP {code}"),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "no answer in time".to_owned(),
            }
            sleep(PAUSE).await;
        }
    };
    match timeout_at(deadline, asking).await {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("http://{address}{PATH} is not ready: {last}")),
    }
}

/// The status code.
async fn ask(address: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    // Bounded: what listens there may be anything.
    BufReader::new(stream.take(256)).read_line(&mut line).await?;
    let mut words = line.split(' ');
    let protocol = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default().trim().parse().ok();
    code.filter(|_| protocol.starts_with("HTTP/1.")).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}
