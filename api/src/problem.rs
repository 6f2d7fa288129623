//! Errors as people and programs read them: problem documents (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pulsecal_core::accounts::{AccountError, PasswordError};
use pulsecal_core::ids::Ids;
use pulsecal_core::store::DbError;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// Its name; dots lead into nested ones.
    pub(crate) field: String,
    /// What is wrong, as a sentence for people.
    pub(crate) message: String,
}

/// An answer that says what is wrong. A page that meets one shows it as a page.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    reference: Option<Uuid>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            reference: None,
            headers: Vec::new(),
        }))
    }

    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// 400: the request cannot be read at all.
    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", "The request cannot be read", detail)
    }

    /// 401: no token, or one that is worth nothing. Which of the ways it is worthless stays unsaid.
    pub(crate) fn no_token(sent: bool) -> Self {
        let (detail, challenge) = if sent {
            ("The token is unknown, expired or revoked.", r#"Bearer realm="pulsecal", error="invalid_token""#)
        } else {
            ("Send a token as `Authorization: Bearer pc_live_…`.", r#"Bearer realm="pulsecal""#)
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail)
            .with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// 401: for pages.
    pub(crate) fn not_signed_in() -> Self {
        let detail = "You are not signed in, or no longer. Nothing was changed. Please sign in, and try again.";
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", "Please sign in", detail)
    }

    /// 403: a page for people of another role.
    pub(crate) fn page_without_role(role: &str) -> Self {
        let detail = format!("This page is for people with the role {role}.");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 403: the token that somebody signed in with does not go so far.
    pub(crate) fn page_without_scope(scope: &str) -> Self {
        let detail = format!("Your role, or the token that you signed in with, does not allow {scope}.");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 403: a page for who signed in with a password.
    pub(crate) fn page_without_account() -> Self {
        let detail = "You signed in with an access token, which has no password and no sessions elsewhere. Sign in with your e-mail address and password for this page.";
        Self::new(StatusCode::FORBIDDEN, "no_account", "Not for access tokens", detail)
    }

    /// 403: the organization asks its staff for a second factor.
    pub(crate) fn without_factor() -> Self {
        let detail = "Your organization asks for a code beside the password. Switch it on at /account/second-factor first. Nothing was changed.";
        Self::new(StatusCode::FORBIDDEN, "second_factor_required", "A code beside the password is needed", detail)
    }

    /// 403: a form that no page of ours sent for this session.
    pub(crate) fn foreign_form() -> Self {
        let detail = "The form is not of this session, so nothing was changed. Please load its page again and send it from there.";
        Self::new(StatusCode::FORBIDDEN, "foreign_form", "Not sent from here", detail)
    }

    /// 403: the token does not go so far.
    pub(crate) fn no_scope(scope: &str, by_role: bool) -> Self {
        let detail = if by_role {
            format!("The role of this token's person does not allow {scope}.")
        } else {
            format!("The token lacks the scope {scope}.")
        };
        let challenge = format!(r#"Bearer realm="pulsecal", error="insufficient_scope", scope="{scope}""#);
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
            .with_header(header::WWW_AUTHENTICATE, &challenge)
    }

    /// 403: what one may do, but not at this time or not to this thing.
    pub(crate) fn not_now(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_now", "Not now, or not here", detail)
    }

    /// 403: medical records of somebody whom they do not treat.
    pub(crate) fn not_treating() -> Self {
        let detail = "You do not treat this patient, so their medical records are closed to you. If you need them all the same, break the glass: \
            POST /v1/patients/{id}/break-glass with your reason. It opens them to you for 4 hours, and \
            operators, administrators and the patient see that it was done.";
        Self::new(StatusCode::FORBIDDEN, "not_treating", "Not your patient", detail)
    }

    /// 404: there is no such thing, or it is another organization's.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// 404: a link that is none of ours.
    pub(crate) fn link_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "link_unknown", "This link does not work", "")
    }

    /// 410: a link whose time is over.
    pub(crate) fn link_expired() -> Self {
        Self::new(StatusCode::GONE, "link_expired", "This link is no longer valid", "")
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "This address does not take that method; `Allow` names those it takes.",
        )
    }

    /// 409: it cannot be done in the state that things are in.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 409: the same request is being done at this moment.
    pub(crate) fn key_busy() -> Self {
        let detail = "A request with this `Idempotency-Key` is being worked on. Ask again in a moment.";
        Self::new(StatusCode::CONFLICT, "key_busy", "Being worked on", detail).with_header(header::RETRY_AFTER, "1")
    }

    /// 422: the key of another request.
    pub(crate) fn key_of_another() -> Self {
        let detail = "This `Idempotency-Key` was used for another request. Each request needs a key of its own.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_of_another", "The key is another request's", detail)
    }

    /// 412: somebody else changed it in the meantime.
    pub(crate) fn version_mismatch(now: i32) -> Self {
        let detail = format!("It is at version {now}; read it again, and send its `ETag` as `If-Match`.");
        Self::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", "It was changed meanwhile", detail)
            .with_header(header::ETAG, &format!("\"{now}\""))
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("A body may have {} KiB at most.", limit / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// 415.
    pub(crate) fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "JSON is needed",
            "Send JSON, with `Content-Type: application/json`.",
        )
    }

    /// 415, with what may be sent instead.
    pub(crate) fn wrong_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Such files are not taken", detail)
    }

    /// 416: the part that is asked for is not there.
    pub(crate) fn no_such_range(size: u64) -> Self {
        let detail = format!("The file has {size} bytes.");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", "There is no such part", detail)
            .with_header(header::CONTENT_RANGE, &format!("bytes */{size}"))
    }

    /// 429: not so many at a time.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many at a time", detail)
            .with_header(header::RETRY_AFTER, &retry_after_seconds.to_string())
    }

    /// 429: not so often.
    pub(crate) fn too_often(retry_after_seconds: u64) -> Self {
        let detail = format!("Too many requests. Please try again in {retry_after_seconds} s; nothing was changed.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_often", "Too many requests", detail)
            .with_header(header::RETRY_AFTER, &retry_after_seconds.to_string())
    }

    /// 422: fields are wrong.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are wrong; `errors` names each.", many.len()),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", "Fields are wrong", detail);
        problem.0.errors = errors;
        problem
    }

    /// 422: one field is wrong.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// 503: something that is needed is away for now.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available right now", detail)
            .with_header(header::RETRY_AFTER, &retry_after_seconds.to_string())
    }

    /// 500: a fault of ours. `why` goes to the log, under the reference that the answer shows.
    pub(crate) fn internal(why: &str) -> Self {
        let reference: Uuid = Ids.new_id();
        tracing::error!(%reference, error = why, "api.error: a request failed by a fault of ours");
        Self::fault_of_ours(reference)
    }

    /// 500, under this reference.
    pub(crate) fn fault_of_ours(reference: Uuid) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong",
            "The fault is ours. The reference finds it in the logs.",
        );
        problem.0.reference = Some(reference);
        problem
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The machine's word for it.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// A few words.
    pub(crate) fn title(&self) -> &'static str {
        self.0.title
    }

    /// A sentence; may be empty.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What finds it in the logs.
    pub(crate) fn reference(&self) -> Option<Uuid> {
        self.0.reference
    }
}

impl Problem {
    /// The document.
    pub(crate) fn body(&self) -> Value {
        let parts = &*self.0;
        let mut body = json!({
            "type": format!("urn:pulsecal:problem:{}", parts.code),
            "title": parts.title,
            "status": parts.status.as_u16(),
        });
        if !parts.detail.is_empty() {
            body["detail"] = json!(parts.detail);
        }
        if !parts.errors.is_empty() {
            body["errors"] = json!(parts.errors);
        }
        if let Some(reference) = parts.reference {
            body["instance"] = json!(format!("urn:uuid:{reference}"));
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let parts = &*self.0;
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (parts.status, kind, body.to_string()).into_response();
        for (name, value) in &parts.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        let away = |retry| {
            Self::unavailable("The database cannot be reached right now. Nothing was changed; please try again.", retry)
        };
        match &error {
            DbError::PoolTimedOut | DbError::PoolClosed | DbError::Io(_) | DbError::Tls(_) => {
                tracing::warn!(%error, "api.postgres: Postgres is away");
                away(5)
            }
            DbError::Database(said) => {
                let code = said.code().unwrap_or_default();
                match &*code {
                    // Cannot sign in yet, is shutting down, too many connections, recovery.
                    "53300" | "57P01" | "57P02" | "57P03" => {
                        tracing::warn!(%code, "api.postgres: Postgres is away");
                        away(5)
                    }
                    _ if code.starts_with("08") => away(5),
                    // Lost a race with another transaction, or waited too long for it.
                    "40001" | "40P01" | "55P03" | "57014" => away(1),
                    // Characters that Postgres does not store.
                    "22021" | "22P05" => Self::unreadable("The request holds characters that cannot be stored."),
                    _ => {
                        // Without the message's values: they may be personal data.
                        let (table, rule) = (said.table().unwrap_or_default(), said.constraint().unwrap_or_default());
                        Self::internal(&format!("Postgres: SQLSTATE {code}, table {table:?}, constraint {rule:?}"))
                    }
                }
            }
            other => Self::internal(&other.to_string()),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Db(error) => error.into(),
            AccountError::Password(PasswordError::Busy) => {
                metrics::counter!("api_passwords_shed_total").increment(1);
                Self::unavailable(
                    "Too many people are signing in at this moment. Nothing was changed; please try again.",
                    3,
                )
            }
            AccountError::Password(PasswordError::Broken(why)) => Self::internal(&why),
            AccountError::Key(why) => Self::internal(&why.to_string()),
            AccountError::Job(error) => error.into(),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(&format!("JSON of ours: {:?}", error.classify()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn read(problem: Problem) -> (StatusCode, axum::http::HeaderMap, serde_json::Value) {
        let response = problem.into_response();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 10_000).await.expect("short");
        (status, headers, serde_json::from_slice(&body).expect("a problem is JSON"))
    }

    #[tokio::test]
    async fn a_problem_names_every_wrong_field() {
        let wrong = |field: &str| FieldError { field: field.into(), message: "is wrong".into() };
        let (status, headers, body) = read(Problem::fields(vec![wrong("timing.times"), wrong("meaning")])).await;
        assert_eq!(status, 422);
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["status"], 422);
        assert_eq!(
            body["errors"],
            json!([{"field": "timing.times", "message": "is wrong"}, {"field": "meaning", "message": "is wrong"}])
        );
    }

    #[tokio::test]
    async fn a_fault_of_ours_shows_a_reference_and_no_internals() {
        let (status, _, body) = read(Problem::from(DbError::ColumnNotFound("secret_column".into()))).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret_column"), "{body}");
        assert!(body["instance"].as_str().is_some_and(|text| text.starts_with("urn:uuid:")));
    }

    #[tokio::test]
    async fn postgres_away_is_to_be_tried_again() {
        let (status, headers, _) = read(Problem::from(DbError::PoolTimedOut)).await;
        assert_eq!((status.as_u16(), headers[header::RETRY_AFTER].as_bytes()), (503, &b"5"[..]));
    }

    #[tokio::test]
    async fn a_missing_and_a_worthless_token_get_their_challenge() {
        for (sent, error) in [(false, false), (true, true)] {
            let (status, headers, _) = read(Problem::no_token(sent)).await;
            let challenge = headers[header::WWW_AUTHENTICATE].to_str().expect("ASCII");
            assert_eq!(status, 401);
            assert!(challenge.starts_with("Bearer "));
            assert_eq!(challenge.contains("invalid_token"), error);
        }
    }
}
