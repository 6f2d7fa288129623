//! How the process is: alive, ready, and its metrics.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::contract::Operation;
use crate::problem::Problem;

/// Postgres and Redis answer within this when they are well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// `/health/live`, `/health/ready`, `/metrics` and `/`.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async || "PulseCal. The API is under /v1.\n"))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
}

/// What the contract says of them.
pub(crate) fn contract() -> Vec<Operation> {
    let text = &["text/plain"];
    vec![
        Operation::new("GET", "/", "Says what this is").file(200, "A line of text.", text, &[]),
        Operation::new("GET", "/health/live", "The process is alive").file(200, "It is.", text, &[]),
        Operation::new("GET", "/health/ready", "The process can answer requests").file(200, "It can.", text, &[]).file(
            503,
            "It cannot; one line for each reason.",
            text,
            &[],
        ),
        Operation::new("GET", "/metrics", "Metrics for Prometheus").file(200, "Metrics.", text, &[]),
    ]
}

/// Ready: Postgres answers, the loops moved lately, and no stop was asked for. Redis is only named: without it jobs wait in
/// Postgres, and requests go on.
async fn ready(State(app): State<App>) -> Response {
    let (postgres, redis) = tokio::join!(app.ctx.db.answers(ANSWERS_WITHIN), app.ctx.db.belt().answers(ANSWERS_WITHIN));
    let mut against = Vec::new();
    if app.stop.is_cancelled() {
        against.push("it is stopping".to_owned());
    }
    if !postgres {
        against.push("Postgres does not answer".to_owned());
    }
    let stuck = app.health.stuck();
    against.extend(stuck.iter().map(|(name, since)| format!("{name} has not moved for {} s", since.as_secs())));
    let (status, mut text) = if against.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        let lines = against.iter().map(|line| format!("not ready: {line}\n"));
        (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
    };
    if !redis {
        text.push_str("Redis does not answer: jobs wait in Postgres until it does\n");
    }
    (status, text).into_response()
}

/// For scrapers on this machine only.
async fn metrics(State(app): State<App>, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let near = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if !near || forwarded(request.headers()) {
        return Problem::not_found("There is nothing at this address.").into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, (app.metrics)()).into_response()
}

/// Whether a proxy on this machine passed it on for somebody else.
fn forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name))
}
