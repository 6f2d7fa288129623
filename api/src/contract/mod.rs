//! The contract of the API: its OpenAPI document. It is made from what decides: each row of [`crate::policy::RULES`] is one
//! operation; the file of its handlers says what it takes and shows; what every route may answer follows from row and layers.

mod access;
mod answers;
pub(crate) mod body;
pub(crate) mod examples;
pub(crate) mod kinds;
mod operation;
mod pages;
mod reference;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder, ResponsesBuilder, Server,
};

pub(crate) use body::{Body, named};
pub(crate) use kinds::Kind;
pub(crate) use operation::Operation;

use crate::app::App;
use crate::idempotency::is_keyed;
use crate::limits::is_free;
use crate::paging;
use crate::policy::{RULES, Rule};
use crate::problem::Problem;
use crate::{health, oauth, routes};
use operation::{Good, Needed};

const FORM: &str = "application/x-www-form-urlencoded";

/// `/openapi.json` and `/docs`.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(reference::show))
}

async fn document(State(app): State<App>) -> Result<Response, Problem> {
    let mut document = cached().clone();
    if !app.base_path.is_empty() {
        document.servers = Some(vec![Server::new(app.base_path.as_str())]);
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], document.to_pretty_json()?).into_response())
}

/// The document, made once.
fn cached() -> &'static OpenApi {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(openapi)
}

/// The document as it is committed, `docs/openapi.json`.
///
/// # Panics
/// If it cannot be written as JSON, which does not occur.
pub fn text() -> String {
    let text = openapi().to_pretty_json();
    text.expect("a document of strings and numbers is JSON") + "\n"
}

/// What the files of the handlers say.
fn operations() -> Vec<Operation> {
    let mut all = routes::contract();
    all.extend(health::contract());
    all.extend(oauth::contract());
    all.extend([Operation::new("GET", "/openapi.json", "This document").file(
        200,
        "OpenAPI 3.1.",
        &["application/json"],
        &[],
    )]);
    all
}

/// The document.
fn openapi() -> OpenApi {
    let mut described: BTreeMap<_, _> =
        operations().into_iter().map(|operation| ((operation.method, operation.path), operation)).collect();
    let mut parts = Parts::default();
    let mut paths = PathsBuilder::new();
    for rule in RULES {
        let operation = described.remove(&(rule.method, rule.path)).or_else(|| pages::of(rule));
        // A test compares the document with the table: none is missing, and none is left.
        if let (Some(operation), Some(method)) = (operation, method(rule.method)) {
            let built = parts.operation(rule, operation);
            paths = paths.path(rule.path, utoipa::openapi::PathItem::new(method, built));
        }
    }
    for (_, left) in described {
        if let Some(method) = method(left.method) {
            paths = paths.path(left.path, utoipa::openapi::PathItem::new(method, OperationBuilder::new().build()));
        }
    }
    let about = "Appointments, prescriptions, medication reminders and exports of clinics, for their staff and systems.\n\n\
        Errors are problem documents (RFC 9457); `errors` names every wrong field at once. Times are RFC 3339, zones IANA names. \
        Lists come in pages: send `next_cursor` as `cursor`. A write with an `Idempotency-Key` is done once. \
        `x-access` says who may use a route, and what it leaves in the audit trail. All examples are invented.";
    let info = InfoBuilder::new()
        .title("PulseCal")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(about))
        .license(Some(License::new("MIT")));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(parts.components())).build()
}

fn method(name: &str) -> Option<HttpMethod> {
    match name {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "PATCH" => Some(HttpMethod::Patch),
        "PUT" => Some(HttpMethod::Put),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

/// What operations refer to.
#[derive(Default)]
struct Parts {
    components: Components,
    problems: BTreeMap<&'static str, Problem>,
}

impl Parts {
    fn operation(&mut self, rule: &Rule, of: Operation) -> utoipa::openapi::path::Operation {
        let limited = !is_free(rule.path);
        let keyed = is_keyed(rule.method, rule.path);
        let problems = answers::problems(rule, &of);
        self.problems.extend(problems.iter().map(|problem| (problem.code(), problem.clone())));
        let mut responses = ResponsesBuilder::new();
        for good in of.answers {
            responses = responses.response(good.status.to_string(), self.good(good, of.is_list, limited, keyed));
        }
        if pages::is_page(rule) {
            responses = responses.response("default", pages::problem());
        } else {
            for (status, (name, response)) in answers::refusals(problems, limited) {
                responses = responses.response(status.to_string(), RefOr::Ref(Ref::from_response_name(&name)));
                self.components.responses.insert(name, response.into());
            }
        }
        for (name, schema) in of.schemas {
            self.components.schemas.insert(name, whole(schema));
        }
        let mut built = OperationBuilder::new()
            .tag(tag(rule))
            .summary(Some(of.summary))
            .description(Some(format!("{} {}", of.detail, access::sentence(rule)).trim()))
            .operation_id(Some(operation_id(rule)))
            .securities(Some(access::security(rule)))
            .extensions(Some(ExtensionsBuilder::new().add("x-access", access::extension(rule)).build()))
            .responses(responses);
        for parameter in parameters(rule, of.query, of.is_list, &of.headers, keyed) {
            built = built.parameter(parameter);
        }
        if let Some((body, needed)) = of.body {
            let (name, schema, example) = body.into_parts();
            self.components.schemas.insert(name.to_owned(), schema);
            let content = ContentBuilder::new().schema(Some(named(name))).example(Some(example)).build();
            let required = if needed == Needed::No { Required::False } else { Required::True };
            let kind = if needed == Needed::Form { FORM } else { "application/json" };
            let body = RequestBodyBuilder::new().content(kind, content).required(Some(required));
            built = built.request_body(Some(body.build()));
        } else if !of.uploads.is_empty() {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            for kind in of.uploads {
                let file = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
                body = body.content(kind, ContentBuilder::new().schema(Some(file)).build());
            }
            built = built.request_body(Some(body.build()));
        } else if pages::is_page(rule) && rule.method == "POST" {
            built = built.request_body(Some(pages::form()));
        }
        built.build()
    }

    fn good(&mut self, good: Good, is_list: bool, limited: bool, keyed: bool) -> utoipa::openapi::Response {
        let mut response = ResponseBuilder::new().description(good.about);
        for (kind, schema) in good.content {
            let mut content = ContentBuilder::new();
            if let Some(schema) = schema {
                let shown = if is_list { paging::page_schema(schema).into() } else { schema };
                let example = good.example.clone().map(|one| if is_list { paging::page_example(one) } else { one });
                content = content.schema(Some(shown)).example(example);
            }
            response = response.content(kind, content.build());
        }
        let mut headers = answers::common_headers(limited);
        headers.extend(good.headers);
        if keyed {
            headers.push("Idempotency-Replayed");
        }
        answers::with_headers(response, headers).build()
    }

    fn components(mut self) -> Components {
        // Pages, and methods that a path does not take.
        let more = [
            Problem::method_not_allowed(),
            Problem::not_signed_in(),
            Problem::foreign_form(),
            Problem::page_without_account(),
            Problem::without_factor(),
        ];
        self.problems.extend(more.map(|problem| (problem.code(), problem)));
        let mut components = self.components;
        let every: Vec<Problem> = self.problems.into_values().collect();
        components.schemas.insert("Problem".to_owned(), answers::problem_schema(&every).into());
        for (name, header) in answers::headers() {
            components.headers.insert(name.to_owned(), header.into());
        }
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("pc_live_…").description(Some(
            "An API token: `pulsecal token create` makes one. It does what its scopes and its person's role allow.",
        ));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        let session = ApiKeyValue::with_description("__Host-pulsecal", "Set by signing in at `/sign-in`.");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
        components
    }
}

/// Answers hold all of their fields, null or not. Only what may be empty altogether leaves out the fields that say nothing.
fn whole(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) if !object.required.is_empty() => {
            object.required = object.properties.keys().cloned().collect();
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

/// The operations of one resource are shown together.
fn tag(rule: &Rule) -> &'static str {
    let mut parts = rule.path.split('/').skip(1);
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("v1", Some(resource)) => resource,
        ("files", _) => "exports",
        ("health" | "metrics" | "" | "openapi.json" | "docs" | "oauth" | ".well-known", _) => "service",
        _ => "pages",
    }
}

/// As in `post_v1_appointments_id_move`.
fn operation_id(rule: &Rule) -> String {
    let mut id = rule.method.to_lowercase();
    for part in rule.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        id.push('_');
        id.push_str(part);
    }
    id
}

fn parameters(
    rule: &Rule,
    query: Vec<(&'static str, RefOr<Schema>)>,
    is_list: bool,
    headers: &[&'static str],
    keyed: bool,
) -> Vec<Parameter> {
    let parameter = |name: &str, place: ParameterIn, mut schema: RefOr<Schema>| {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let about = match &mut schema {
            RefOr::T(Schema::Object(object)) => object.description.take(),
            _ => None,
        };
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        parameter.description(about).schema(Some(schema)).build()
    };
    let in_path = rule.path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let mut all: Vec<Parameter> = in_path
        .map(|name| {
            let kind = if name == "id" { an_id(rule.path) } else { kinds::text(2000).about("As the link has it.") };
            parameter(name, ParameterIn::Path, kind.into())
        })
        .collect();
    if is_list {
        all.extend(paging::parameters().map(|(name, kind)| parameter(name, ParameterIn::Query, kind.into())));
    }
    all.extend(query.into_iter().map(|(name, schema)| parameter(name, ParameterIn::Query, schema)));
    let keys = keyed.then_some("Idempotency-Key");
    all.extend(
        headers.iter().copied().chain(keys).map(|name| parameter(name, ParameterIn::Header, header_kind(name).into())),
    );
    all
}

/// The id in a path, with that of the example of its resource.
fn an_id(path: &str) -> Object {
    let example = match path.split('/').nth(2) {
        Some("patients") => examples::PATIENT,
        Some("prescriptions") => examples::PRESCRIPTION,
        Some("medication-reminders") => examples::REMINDER,
        Some("appointments") => examples::APPOINTMENT,
        Some("exports") => examples::EXPORT,
        Some("emergency-contacts") => examples::CONTACT,
        Some("medical-records") => examples::RECORD,
        Some("record-attachments") => examples::ATTACHMENT,
        Some("payments") => examples::PAYMENT,
        Some("insurances") => examples::INSURANCE,
        Some("members") => examples::MEMBER,
        _ => examples::JOB,
    };
    let mut id = kinds::id().about("The id.");
    id.examples = vec![json!(example)];
    id
}

/// The headers of requests.
fn header_kind(name: &str) -> Object {
    match name {
        "If-Match" => {
            let about = "The version that is to be changed, as its `ETag` names it; another is refused. `*`, or none: whichever.";
            kinds::like(r#"^(\*|(W/)?"[0-9]{1,9}")$"#, 14, "\"1\"").about(about)
        }
        "Idempotency-Key" => {
            let about = "The same request with the same key is done once, and answered alike for a day.";
            kinds::like("^[!-~]{1,255}$", 255, "8e03978e-40d5-43e8-bc93-6894a57f9324").about(about)
        }
        "Range" => {
            let about = "The part of the file that is wanted; what is no range gets all of it.";
            let mut range = ObjectBuilder::new().schema_type(Type::String).build().about(about);
            range.examples = vec![json!("bytes=0-99")];
            range
        }
        _ => ObjectBuilder::new().schema_type(Type::String).examples([json!("")]).build(),
    }
}
