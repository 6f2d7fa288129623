//! Pages, which are for people: what all of them have in common is all that the document says of them.

use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Required, Response, ResponseBuilder};

use super::answers::{common_headers, with_headers};
use super::operation::Operation;
use crate::limits::is_free;
use crate::policy::{Rule, Who};

/// Whether a route is a page, and not part of the API for programs.
pub(super) fn is_page(rule: &Rule) -> bool {
    let programs = ["/v1/", "/files/", "/health/", "/metrics", "/openapi.json", "/oauth/", "/.well-known/"];
    rule.path != "/" && !programs.iter().any(|head| rule.path.starts_with(head))
}

/// A page; none: it must be described where its handlers are.
pub(super) fn of(rule: &Rule) -> Option<Operation> {
    if !is_page(rule) {
        return None;
    }
    let summary = match (rule.method, rule.who) {
        ("GET", _) if rule.path.ends_with("/events") => "Events of a page",
        ("GET", Who::Anybody) if rule.path.starts_with("/assets/") => "A file that pages load",
        ("GET", _) => "A page",
        _ => "What a page sends",
    };
    let kinds: &[&str] = match rule.path {
        path if path.starts_with("/assets/") => &["text/css", "text/javascript"],
        path if path.ends_with("/events") => &["text/event-stream"],
        path if path.ends_with("/raw") => &["message/rfc822"],
        _ => &["text/html"],
    };
    let operation = Operation::new(rule.method, rule.path, summary).file(200, "The page.", kinds, &[]);
    let elsewhere = !is_free(rule.path);
    Some(if elsewhere {
        operation.file(303, "Another page: `/sign-in`, or the one that follows.", &[], &["Location"])
    } else {
        operation
    })
}

/// What a page says of whatever is wrong.
pub(super) fn problem() -> Response {
    let response = ResponseBuilder::new()
        .description("What is wrong, as a page; as a problem document for who accepts JSON only.");
    let problem = ContentBuilder::new().schema(Some(super::body::named("Problem"))).build();
    let page = ContentBuilder::new().build();
    with_headers(
        response.content("text/html", page).content("application/problem+json", problem),
        common_headers(false),
    )
    .build()
}

/// What forms send: fields, of which one shows that it is a form of ours.
pub(super) fn form() -> RequestBody {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let fields = ObjectBuilder::new()
        .property("form_token", text.clone())
        .additional_properties(Some(AdditionalProperties::RefOr(Schema::from(text).into())));
    let content = ContentBuilder::new().schema(Some(Schema::from(fields))).build();
    RequestBodyBuilder::new()
        .content("application/x-www-form-urlencoded", content)
        .required(Some(Required::True))
        .build()
}
