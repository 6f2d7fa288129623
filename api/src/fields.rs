//! Bodies: JSON objects whose fields are read one by one, so that an answer names all that is wrong with them.

use axum::body::Bytes;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::BODY_LIMIT;
use crate::json::Unambiguous;
use crate::params::{WRONG_YEAR, is_in_years};
use crate::problem::{FieldError, Problem};

/// The longest part of a message about somebody's input, in characters.
const MESSAGE_LIMIT: usize = 200;
/// So many unknown fields are named at most.
const MOST_UNKNOWN: usize = 20;

/// A body that says it is JSON and is not too long. What is in it is read by [`JsonBody::fields`], after it is known
/// that the sender may do this at all.
pub(crate) struct JsonBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::not_json());
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(BODY_LIMIT),
                _ => Problem::unreadable("The body broke off."),
            }),
        }
    }
}

/// A body that may be left out, with its `Content-Type`.
impl<S: Send + Sync> OptionalFromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

impl JsonBody {
    /// The fields of a body that may be left out.
    ///
    /// # Errors
    /// As [`JsonBody::fields`].
    pub(crate) fn fields_or_none(body: Option<Self>) -> Result<Fields, Problem> {
        match body {
            Some(body) => body.fields(),
            None => Ok(Fields::of(Map::new())),
        }
    }

    /// The fields of the object.
    ///
    /// # Errors
    /// 400 for what is no JSON object, 422 for text that cannot be stored.
    pub(crate) fn fields(self) -> Result<Fields, Problem> {
        let text = std::str::from_utf8(&self.0).map_err(|_| Problem::unreadable("The body is not valid UTF-8."))?;
        // Bounded in depth by serde_json, in length by BODY_LIMIT.
        let Unambiguous(value) = serde_json::from_str(text)
            .map_err(|error| Problem::unreadable(format!("The body is not valid JSON: {error}.")))?;
        let Value::Object(map) = value else {
            return Err(Problem::unreadable("The body must be a JSON object."));
        };
        let mut fields = Fields::of(map);
        let with_nul: Vec<String> = fields
            .map
            .iter()
            .filter(|(name, value)| name.contains('\0') || has_nul(value))
            .map(|(name, _)| name.replace('\0', "\u{fffd}"))
            .collect();
        for name in with_nul {
            fields.wrong(name, "must not hold the character U+0000");
        }
        if fields.errors.is_empty() { Ok(fields) } else { Err(Problem::fields(fields.errors)) }
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(all) => all.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The fields of a body, taken out one by one.
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// The names that were asked for: those of the request.
    known: Vec<String>,
    errors: Vec<FieldError>,
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields")
            .field("left", &self.map.len())
            .field("wrong", &self.errors.len())
            .finish_non_exhaustive()
    }
}

impl Fields {
    fn of(map: Map<String, Value>) -> Self {
        Self { map, known: Vec::new(), errors: Vec::new() }
    }

    fn know(&mut self, name: &str) {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_owned());
        }
    }

    /// A field that must be there. None: it was not, or was wrong, and that is on record.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.know(name);
        if matches!(self.map.get(name), None | Some(Value::Null)) {
            self.map.remove(name);
            self.wrong(name, "is needed");
            return None;
        }
        self.change(name).flatten()
    }

    /// A field that may be absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.change(name).flatten()
    }

    /// A field of a change: absent means that it stays, null that it goes.
    pub(crate) fn change<T: DeserializeOwned>(&mut self, name: &str) -> Option<Option<T>> {
        self.know(name);
        match self.map.remove(name)? {
            Value::Null => Some(None),
            value => match serde_json::from_value(value) {
                Ok(value) => Some(Some(value)),
                Err(error) => {
                    self.wrong(name, error.to_string());
                    None
                }
            },
        }
    }

    /// A field that is an instant in the years that calendars of people know.
    pub(crate) fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let at: DateTime<Utc> = self.optional(name)?;
        if is_in_years(at) {
            return Some(at);
        }
        self.wrong(name, WRONG_YEAR);
        None
    }

    /// A field of a change that cannot go.
    pub(crate) fn set<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.know(name);
        if self.map.get(name) == Some(&Value::Null) {
            self.map.remove(name);
            self.wrong(name, "must not be null");
            return None;
        }
        self.change(name).flatten()
    }

    /// The fields of an object within; none are there when it is absent. [`Fields::take_in`] ends the reading of it.
    pub(crate) fn object(&mut self, name: &str) -> Self {
        let map = self.optional::<Map<String, Value>>(name).unwrap_or_default();
        Self::of(map)
    }

    /// The fields of an object within that may be absent, and not null.
    pub(crate) fn set_object(&mut self, name: &str) -> Option<Self> {
        self.set::<Map<String, Value>>(name).map(Self::of)
    }

    /// The fields of the objects of a list of `most` at most, which may be absent, and not null.
    pub(crate) fn set_objects(&mut self, name: &str, most: usize) -> Option<Vec<Self>> {
        let all = self.set::<Vec<Map<String, Value>>>(name)?;
        if all.len() > most {
            self.wrong(name, format!("must have {most} at most"));
            return None;
        }
        Some(all.into_iter().map(Self::of).collect())
    }

    /// All of an object within was read: what is left of it, and what was wrong, is on record under its name.
    pub(crate) fn take_in(&mut self, name: &str, inner: Self) {
        for error in inner.errors {
            self.wrong(format!("{name}.{}", error.field), error.message);
        }
        for unknown in inner.map.keys().take(MOST_UNKNOWN) {
            let known = inner.known.iter().map(|known| format!("{name}.{known}")).collect::<Vec<_>>();
            self.unknown(&format!("{name}.{unknown}"), &known);
        }
    }

    /// Puts something wrong on record.
    pub(crate) fn wrong(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let cut = |text: String| text.chars().take(MESSAGE_LIMIT).collect();
        self.errors.push(FieldError { field: cut(field.into()), message: cut(message.into()) });
    }

    /// Puts a field on record that the request does not have; it has the `known` ones.
    fn unknown(&mut self, name: &str, known: &[String]) {
        let message = if known.is_empty() {
            "is not a field of this request, which has none".to_owned()
        } else {
            format!("is not a field of this request, which has {}", known.join(", "))
        };
        self.errors.push(FieldError { field: name.chars().take(MESSAGE_LIMIT).collect(), message });
    }

    /// A field as it was given, without taking it.
    pub(crate) fn given(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// Something wrong with this field is on record.
    pub(crate) fn is_wrong(&self, field: &str) -> bool {
        self.errors.iter().any(|error| error.field == field)
    }

    /// Puts it on record if a text is empty, blank or longer than `most` characters.
    pub(crate) fn check_length(&mut self, name: &str, text: Option<&str>, most: usize) {
        let Some(text) = text else { return };
        if text.trim().is_empty() {
            self.wrong(name, "must not be empty");
        } else if text.chars().count() > most {
            self.wrong(name, format!("must have {most} characters at most"));
        }
    }

    /// Puts it on record if a day is none that calendars of people know.
    pub(crate) fn check_day(&mut self, name: &str, day: Option<NaiveDate>) {
        if day.is_some_and(|day| !(1900..=9999).contains(&day.year())) {
            self.wrong(name, WRONG_YEAR);
        }
    }

    /// All was read: nothing may be left, and nothing may be wrong.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.map.keys().take(MOST_UNKNOWN).cloned().collect();
        let known = std::mem::take(&mut self.known);
        for name in unknown {
            self.unknown(&name, &known);
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

/// The version that the request wants to change, by its `If-Match`; none: whichever.
///
/// # Errors
/// An `If-Match` that is no version.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<i32>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text.trim_start_matches("W/").trim_matches('"').parse();
    let version: i32 = number.map_err(|_| Problem::unreadable("`If-Match` must be one `ETag`, as in \"3\"."))?;
    Ok(Some(version))
}

/// Refuses a change of another version than the one that is there.
///
/// # Errors
/// The version is another.
pub(crate) fn check_version(wanted: Option<i32>, now: i32) -> Result<(), Problem> {
    match wanted {
        Some(wanted) if wanted != now => Err(Problem::version_mismatch(now)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn body(kind: &str, bytes: impl Into<Body>) -> Result<Fields, Problem> {
        let request = Request::builder().header(header::CONTENT_TYPE, kind);
        let request = request.body(bytes.into()).expect("a request");
        <JsonBody as FromRequest<()>>::from_request(request, &()).await?.fields()
    }

    #[tokio::test]
    async fn what_is_no_json_object_is_refused_in_words() {
        let deep = "[".repeat(100_000);
        let cases: [(&str, &[u8], u16); 8] = [
            ("text/plain", b"{}", 415),
            ("application/json", b"", 400),
            ("application/json", b"{", 400),
            ("application/json", b"[1]", 400),
            ("application/json", b"{\"a\": \"\xff\"}", 400),
            ("application/json", deep.as_bytes(), 400),
            ("application/json", br#"{"a": {"b": ["\u0000"]}}"#, 422),
            ("application/json", br#"{"a\u0000": 1}"#, 422),
        ];
        for (kind, bytes, status) in cases {
            let problem = body(kind, bytes.to_vec()).await.expect_err("refused");
            assert_eq!(problem.status().as_u16(), status);
            assert!(!problem.detail().is_empty() && problem.detail().chars().count() < 300);
        }
        assert!(body("application/merge-patch+json; charset=utf-8", "{}").await.is_ok());
    }

    #[tokio::test]
    async fn every_wrong_field_is_named_at_once() {
        let text = r#"{"count": "three", "gone": null, "extra": 1, "name": "  "}"#;
        let mut fields = body("application/json", text).await.expect("an object");
        assert_eq!(fields.required::<u8>("count"), None);
        assert_eq!(fields.required::<u8>("missing"), None);
        assert_eq!(fields.set::<u8>("gone"), None);
        let name: Option<String> = fields.optional("name");
        fields.check_length("name", name.as_deref(), 10);
        let problem = fields.finish().expect_err("all wrong");
        let answer = axum::body::to_bytes(problem.into_response().into_body(), 10_000).await.expect("short");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let named: Vec<&str> =
            answer["errors"].as_array().expect("a list").iter().filter_map(|e| e["field"].as_str()).collect();
        assert_eq!(named, ["count", "missing", "gone", "name", "extra"]);
    }

    #[tokio::test]
    async fn absent_null_and_a_value_are_three_things() {
        let mut fields = body("application/json", r#"{"a": null, "b": 2}"#).await.expect("an object");
        assert_eq!(fields.change::<u8>("a"), Some(None));
        assert_eq!(fields.change::<u8>("b"), Some(Some(2)));
        assert_eq!(fields.change::<u8>("c"), None);
        fields.finish().expect("nothing wrong");
    }
}
