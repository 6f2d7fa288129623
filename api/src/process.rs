//! An API process from start to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt;
use pulsecal_core::process::{Failure, Process};
use tokio::net::TcpListener;

use crate::app::{App, router};

/// Requests that are under way at a stop have so long to end.
const GRACE: Duration = Duration::from_secs(10);
/// The threads that answer requests go round this often; 30 s without is a wedge.
const PULSE: Duration = Duration::from_secs(1);
const WEDGED: Duration = Duration::from_secs(30);

/// Answers requests until the process is told to stop.
///
/// # Errors
/// `BIND` is taken.
pub async fn run(process: Process) -> Result<(), Failure> {
    let bind = process.config.bind;
    let cannot = |error| Failure::new(format!("BIND: cannot listen on {bind}: {error}"));
    let listener = TcpListener::bind(bind).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let stop = process.stop.clone();
    let pulse = process.health.watch("runtime", WEDGED);
    let pulsing = tokio::spawn(async move {
        loop {
            pulse.moved();
            tokio::time::sleep(PULSE).await;
        }
    });
    let metrics = process.telemetry.metrics.clone();
    let app = App::new(
        &process.config,
        process.ctx.clone(),
        process.health.clone(),
        stop.clone(),
        Box::new(move || metrics.render()),
    );
    tracing::info!(process.id = %process.id, %address, "api: ready");
    // Answers go out at once instead of waiting to be joined with more.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "api: a connection without TCP_NODELAY");
        }
    });
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { serving.await } => ended.map_err(cannot)?,
        () = late => tracing::warn!(seconds = GRACE.as_secs(), "api: stops with requests still under way"),
    }
    pulsing.abort();
    Ok(())
}
