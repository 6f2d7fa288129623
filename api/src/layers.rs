//! What holds for every request: time, headers, one log line, and errors that look like the page they are on.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pulsecal_core::ids::{Ids, RequestId};
use pulsecal_core::web_origin::WebOrigin;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::app::{App, REQUEST_LIMIT};
use crate::pages;
use crate::problem::Problem;

/// Headers of every answer that has not set them itself.
const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-robots-tag", "noindex, nofollow"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// Names the request in its answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// And where `PUBLIC_URL` is https: two years of nothing else, below that name too.
const HTTPS_ONLY: &str = "max-age=63072000; includeSubDomains";

/// Adds the security headers, to errors too.
pub(crate) async fn secure(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    if app.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ONLY));
    }
    response
}

/// Lets scripts of pages of these origins use `/v1`, with a token of theirs; never with cookies, and of no other path. Whoever is not on the list gets an
/// answer that their browser does not show them.
pub(crate) fn cors(origins: Vec<WebOrigin>) -> CorsLayer {
    let listed = move |origin: &HeaderValue, parts: &Parts| {
        parts.uri.path().starts_with("/v1/") && origins.iter().any(|one| origin.as_bytes() == one.as_str().as_bytes())
    };
    let own = ["idempotency-key", "idempotency-replayed", "ratelimit", "ratelimit-policy"].map(HeaderName::from_static);
    let [key, replayed, limit, policy] = own;
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, key])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, REQUEST_ID, replayed, limit, policy])
        .max_age(Duration::from_secs(600))
}

/// One line for each request, with the route's pattern in place of its path: a path or a query may hold a token. The request
/// gets an id of ours, which its log lines, audit entries and answer name.
pub(crate) async fn log(mut request: Request, next: Next) -> Response {
    let id: RequestId = Ids.new_id();
    request.extensions_mut().insert(id);
    let begun = Instant::now();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).instrument(tracing::info_span!("request", request.id = %id)).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, taken) = (response.status().as_u16(), begun.elapsed());
    let ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
    if route.starts_with("/health") || route == "/metrics" {
        tracing::debug!(request.id = %id, http.method = method, http.route = route, http.status = status, http.ms = ms, "api.request");
    } else {
        tracing::info!(request.id = %id, http.method = method, http.route = route, http.status = status, http.ms = ms, "api.request");
    }
    metrics::histogram!("api_request_seconds", "method" => method, "route" => route, "status" => status.to_string())
        .record(taken.as_secs_f64());
    response
}

/// The method's name, where it is one that a route may have: others are the sender's own words.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "(other)",
    }
}

/// Gives a request up that takes too long. What it did in Postgres is rolled back.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("This took too long and was given up.", 5).into_response(),
    }
}

/// The answer in place of a handler that panicked. What it said stays out: it may quote what it was working on.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

/// Shows a problem on a page as a page.
pub(crate) async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let heads =
        ["/p/", "/dev/", "/staff", "/ops", "/sign-in", "/sign-out", "/forgot", "/reset/", "/welcome/", "/account"];
    let page = heads.iter().any(|head| path.starts_with(head)) && !wants_json(request.headers());
    let response = next.run(request).await;
    if !page {
        return response;
    }
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    match pages::problem_page(&app, problem) {
        Ok(mut shown) => {
            for name in [header::RETRY_AFTER, header::ALLOW] {
                if let Some(value) = response.headers().get(&name) {
                    shown.headers_mut().insert(name, value.clone());
                }
            }
            shown
        }
        Err(_) => response,
    }
}

/// Whether a program asks, by its `Accept`.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}
