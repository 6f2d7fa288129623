//! The small port of worker and scheduler: `/health/live`, `/health/ready`, `/metrics`. Not for the outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::telemetry::Health;

const MAX_REQUEST: usize = 8192;
const MAX_CONNECTIONS: usize = 16;

/// Answers until the process ends. One request each connection, 8 KiB at most, within 5 s.
///
/// # Errors
/// The address is taken.
pub async fn serve(bind: SocketAddr, health: Health, metrics: PrometheusHandle) -> std::io::Result<()> {
    let listener = TcpListener::bind(bind).await?;
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(seat) = seats.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (health, metrics) = (health.clone(), metrics.clone());
            tokio::spawn(async move {
                // A client that breaks off is no matter of ours.
                let _ended = tokio::time::timeout(Duration::from_secs(5), answer(stream, &health, &metrics)).await;
                drop(seat);
            });
        }
    });
    Ok(())
}

async fn answer(mut stream: TcpStream, health: &Health, metrics: &PrometheusHandle) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line.split(|byte| *byte == b' ').nth(1) {
        Some(b"/health/live") => ("200 OK", "live\n".to_owned()),
        Some(b"/health/ready") => {
            let stuck = health.stuck();
            if stuck.is_empty() {
                ("200 OK", "ready\n".to_owned())
            } else {
                let lines =
                    stuck.iter().map(|(name, since)| format!("{name} has not moved for {} s\n", since.as_secs()));
                ("503 Service Unavailable", lines.collect())
            }
        }
        Some(b"/metrics") => ("200 OK", metrics.render()),
        _ => ("404 Not Found", "there is /health/live, /health/ready and /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
