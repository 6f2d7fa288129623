//! What every route may answer besides what it is for: derived from who may use it, what it takes, and the layers around it.

use std::collections::BTreeMap;

use axum::response::IntoResponse;
use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder};

use super::body::named;
use super::kinds::{like, number, one_of, text};
use super::operation::{Needed, Operation};
use crate::app::body_limit;
use crate::idempotency::is_keyed;
use crate::limits::is_free;
use crate::policy::{Rule, Who};
use crate::problem::Problem;

/// What may stand in the way on a route, of every kind once.
pub(super) fn problems(rule: &Rule, operation: &Operation) -> Vec<Problem> {
    let mut all = vec![Problem::fault_of_ours(uuid::Uuid::nil()), Problem::unavailable(AWAY, 5)];
    if !is_free(rule.path) {
        all.push(Problem::too_often(7));
    }
    if let Who::Token(scope) | Who::TokenOrPage(scope) = rule.who {
        all.extend([Problem::no_token(true), Problem::no_scope(scope.as_str(), false)]);
    }
    if rule.path.contains('{') || matches!(rule.who, Who::ThisMachine) {
        all.push(Problem::not_found("There is nothing with this id."));
    }
    if operation.is_list || !operation.query.is_empty() {
        all.push(Problem::field("limit", "must be 1 to 100"));
    }
    let takes_json = operation.body.as_ref().is_some_and(|(_, needed)| *needed != Needed::Form);
    if takes_json {
        all.extend([Problem::not_json(), Problem::field("starts_at", "is needed")]);
    }
    let keyed = is_keyed(rule.method, rule.path);
    if keyed || takes_json {
        all.push(Problem::too_large(body_limit(rule.path)));
    }
    if keyed {
        all.extend([Problem::key_busy(), Problem::key_of_another()]);
    }
    if keyed || takes_json || !operation.headers.is_empty() {
        all.push(Problem::unreadable("The body is not valid JSON."));
    }
    all.extend(operation.problems.iter().cloned());
    let mut known = Vec::new();
    all.retain(|problem| {
        let new = !known.contains(&problem.code());
        known.push(problem.code());
        new
    });
    all
}

const AWAY: &str = "The database cannot be reached right now. Nothing was changed; please try again.";

/// The answers that are problems, by status: the name of each, and what it is.
pub(super) fn refusals(problems: Vec<Problem>, limited: bool) -> BTreeMap<u16, (String, Response)> {
    let mut by_status: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for problem in problems {
        by_status.entry(problem.status().as_u16()).or_default().push(problem);
    }
    let named = by_status.into_iter().map(|(status, mut all)| {
        all.sort_by_key(Problem::code);
        let codes: Vec<&str> = all.iter().map(Problem::code).collect();
        let free = if limited { "" } else { ".free" };
        (status, (format!("{status}.{}{free}", codes.join(".")), refusal(status, &all, limited)))
    });
    named.collect()
}

fn refusal(status: u16, problems: &[Problem], limited: bool) -> Response {
    let titles: Vec<String> =
        problems.iter().map(|problem| format!("{} (`{}`)", problem.title(), urn(problem))).collect();
    let urns: Vec<String> = problems.iter().map(urn).collect();
    let which = ObjectBuilder::new()
        .property("type", one_of(&urns.iter().map(String::as_str).collect::<Vec<_>>()))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status])));
    let schema = AllOfBuilder::new().item(named("Problem")).item(which);
    let mut content = ContentBuilder::new().schema(Some(Schema::from(schema)));
    let mut headers = common_headers(limited);
    for problem in problems {
        content = content.examples_from_iter([(
            problem.code(),
            utoipa::openapi::example::ExampleBuilder::new().value(Some(problem.body())).build(),
        )]);
        let answer = problem.clone().into_response();
        headers.extend(HEADERS.iter().map(|(name, ..)| *name).filter(|name| answer.headers().contains_key(*name)));
    }
    let response =
        ResponseBuilder::new().description(titles.join("; ")).content("application/problem+json", content.build());
    with_headers(response, headers).build()
}

/// The `type` of a problem.
pub(super) fn urn(problem: &Problem) -> String {
    format!("urn:pulsecal:problem:{}", problem.code())
}

/// The headers of every answer.
pub(super) fn common_headers(limited: bool) -> Vec<&'static str> {
    let mut names = vec!["X-Request-Id"];
    if limited {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    names
}

pub(super) fn with_headers(mut response: ResponseBuilder, mut names: Vec<&'static str>) -> ResponseBuilder {
    names.sort_unstable();
    names.dedup();
    for name in names {
        response = response.header_ref(name, Ref::new(format!("#/components/headers/{name}")));
    }
    response
}

/// The headers of answers: name, what it says, example.
const HEADERS: [(&str, &str, &str); 12] = [
    ("X-Request-Id", "Names the request in log and audit trail.", "0197a000-0000-7000-8000-0000000000aa"),
    ("RateLimit", "Requests that are left, and seconds until all are there again.", "\"caller\";r=99;t=1"),
    (
        "RateLimit-Policy",
        "The limit that counts here: requests, and the seconds in which they come back.",
        "\"caller\";q=100;w=100",
    ),
    ("Retry-After", "Seconds after which it may be tried again.", "5"),
    ("Location", "Where what was made is.", "/v1/appointments/0197a000-0000-7000-8000-000000000005"),
    ("ETag", "The version, to be sent as `If-Match` with a change.", "\"3\""),
    ("WWW-Authenticate", "What a request needs.", "Bearer realm=\"pulsecal\""),
    (
        "Idempotency-Replayed",
        "`true`: the answer was given before, to the same request with the same `Idempotency-Key`.",
        "true",
    ),
    ("Content-Disposition", "The name of the file.", "attachment; filename=\"appointments.csv\""),
    ("Content-Range", "Which bytes of how many these are.", "bytes 0-99/1234"),
    ("Accept-Ranges", "Parts of the file can be asked for.", "bytes"),
    (
        "Repr-Digest",
        "The SHA-256 of the whole file (RFC 9530).",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    ),
];

/// Every header of answers, as others refer to them.
pub(super) fn headers() -> impl Iterator<Item = (&'static str, Header)> {
    HEADERS.iter().map(|(name, about, example)| {
        let schema: RefOr<Schema> = match *name {
            "Retry-After" => number(1..=86_400).into(),
            _ => text(1000).into(),
        };
        let example = if *name == "Retry-After" { json!(5) } else { json!(example) };
        (*name, HeaderBuilder::new().schema(Some(schema)).description(Some(*about)).example(Some(example)).build())
    })
}

/// The schema of every problem document (RFC 9457).
pub(super) fn problem_schema(every: &[Problem]) -> Schema {
    let urns: Vec<String> = every.iter().map(urn).collect();
    let wrong = ObjectBuilder::new()
        .property("field", ObjectBuilder::new().schema_type(Type::String))
        .property("message", text(2000))
        .required("field")
        .required("message")
        .description(Some("One wrong field: its name, with dots that lead into nested ones, and a sentence about it."));
    ObjectBuilder::new()
        .description(Some("What is wrong (RFC 9457)."))
        .property("type", one_of(&urns.iter().map(String::as_str).collect::<Vec<_>>()))
        .property("title", text(200))
        .property("status", number(400..=599))
        .property("detail", text(4000))
        .property("errors", utoipa::openapi::schema::ArrayBuilder::new().items(wrong.build()).min_items(Some(1)))
        .property("instance", like("^urn:uuid:[0-9a-f-]{36}$", 45, "urn:uuid:0197a000-0000-7000-8000-0000000000aa"))
        .required("type")
        .required("title")
        .required("status")
        .into()
}
