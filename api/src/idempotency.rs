//! `Idempotency-Key`: a write that its sender gave a key is done once, however often it arrives. The same request with the same key gets
//! the same answer for a day; another request with it is refused.
//!
//! The layer reads key and body; [`Keyed::claim`] claims the key for this request, once it is known who asks; the answer is put on record in the
//! transaction of what was done ([`Keyed::close`]). What came to nothing leaves no key, and may be sent again with it.

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use pulsecal_core::ids::RequestId;
use pulsecal_core::store::idempotency::{self, Answer, Claim, PersonsKey};
use pulsecal_core::store::{Scope, Tx};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::app::{App, BODY_LIMIT, REQUEST_LIMIT, body_limit};
use crate::problem::Problem;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A claim that is older belongs to a request that is no more.
const STALE: TimeDelta = TimeDelta::seconds(REQUEST_LIMIT.as_secs().cast_signed() + 10);

/// A request with a key.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    key: String,
    request_hash: [u8; 32],
    claimed: Arc<OnceLock<(PersonsKey, RequestId)>>,
}

/// Why a request is not done.
pub(crate) enum NotDone {
    /// Something is wrong.
    Problem(Problem),
    /// It was done before, and answered so.
    Before(Answer),
}

impl<E: Into<Problem>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for NotDone {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Before(answer) => again(answer),
        }
    }
}

/// Whether requests to a path may have a key: the API's writes.
pub(crate) fn is_keyed(method: &str, path: &str) -> bool {
    ["POST", "PATCH", "PUT", "DELETE"].contains(&method) && path.starts_with("/v1/")
}

/// Reads the key of a write, and gives the claim back if the request came to nothing.
pub(crate) async fn keyed(State(app): State<App>, request: Request, next: Next) -> Response {
    if !is_keyed(request.method().as_str(), request.uri().path()) || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let (keyed, request) = match read(request).await {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let claimed = keyed.claimed.clone();
    let response = next.run(request).await;
    let done = response.status().is_success();
    if let Some((of, request)) = claimed.get().filter(|_| !done)
        && let Err(problem) = give_back(&app, of, *request).await
    {
        // It is as good as given back when it is stale.
        tracing::warn!(code = problem.code(), "api.idempotency: a claim could not be given back");
    }
    response
}

async fn read(request: Request) -> Result<(Keyed, Request), Problem> {
    let wrong =
        || Problem::unreadable("`Idempotency-Key` must be given once, and be 1 to 255 visible ASCII characters.");
    let mut keys = request.headers().get_all(KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(wrong()) };
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or_else(wrong)?.to_owned();
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let (mut parts, body) = request.into_parts();
    let limit = body_limit(parts.uri.path());
    let body = tokio::time::timeout(REQUEST_LIMIT, to_bytes(body, limit)).await;
    let body: Bytes = match body {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Problem::too_large(limit)),
        Err(_) => return Err(Problem::unreadable("The body did not arrive in time.")),
    };
    let mut hash = Sha256::new();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    for part in [parts.method.as_str().as_bytes(), path.as_bytes(), &body] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let keyed = Keyed { key, request_hash: hash.finalize().into(), claimed: Arc::default() };
    parts.extensions.insert(keyed.clone());
    Ok((keyed, Request::from_parts(parts, Body::from(body))))
}

async fn give_back(app: &App, of: &PersonsKey, request: RequestId) -> Result<(), Problem> {
    let mut tx = app.ctx.begin(Scope::Org(of.org)).await?;
    idempotency::give_back(tx.conn(), of, request).await?;
    Ok(tx.commit().await?)
}

impl Keyed {
    /// Claims the key for this request, or says why it is not to be done.
    pub(crate) async fn claim(&self, app: &App, of: PersonsKey, request: RequestId) -> Result<(), NotDone> {
        let claim = app.ctx.db.claim_key(&of, &self.request_hash, request, STALE).await?;
        match claim {
            Claim::Mine => {
                // Set once: a request is claimed for once.
                let _first = self.claimed.set((of, request));
                Ok(())
            }
            Claim::Busy => Err(Problem::key_busy().into()),
            Claim::Other => Err(Problem::key_of_another().into()),
            Claim::Answered(answer) => Err(NotDone::Before(answer)),
        }
    }

    /// The key, without the person, as the sender gave it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Puts the answer on record, and ends the transaction in which the write was done.
    pub(crate) async fn close(&self, mut tx: Tx, response: Response) -> Result<Response, Problem> {
        let Some((of, request)) = self.claimed.get() else {
            return Err(Problem::internal("a write with a key was done without a claim"));
        };
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, BODY_LIMIT * 4).await;
        let body = body.map_err(|_| Problem::internal("an answer to a write is too long to be kept"))?;
        let answer = Answer {
            status: i16::try_from(parts.status.as_u16()).unwrap_or(i16::MAX),
            headers: listed(&parts.headers),
            body: body.to_vec(),
        };
        if !idempotency::answer(tx.conn(), of, *request, &answer).await? {
            return Err(Problem::key_busy());
        }
        tx.commit().await?;
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

/// The headers of an answer. Handlers set one of each name.
fn listed(headers: &HeaderMap) -> Value {
    let pairs = headers.iter().filter_map(|(name, value)| Some((name.to_string(), Value::from(value.to_str().ok()?))));
    Value::Object(pairs.collect::<Map<String, Value>>())
}

/// An answer once more.
fn again(answer: Answer) -> Response {
    let status = u16::try_from(answer.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = (status.unwrap_or(StatusCode::OK), answer.body).into_response();
    let headers = response.headers_mut();
    headers.clear();
    for (name, value) in answer.headers.as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        if let (Some(name), Some(Ok(value))) = (name, value.as_str().map(HeaderValue::from_str)) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
