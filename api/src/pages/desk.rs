//! What the pages of staff, operators and patients share: their frame, with navigation and sign-out, and the files that it loads.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::store::audit::Role;
use pulsecal_core::tokens::TokenScope::{self, AppointmentsRead, ExportsRead, MessagesRead, PatientsRead};
use pulsecal_core::tokens::fingerprint;
use serde_json::{Value, json};

use super::session::SignedIn;
use crate::app::App;
use crate::policy::is_staff;
use crate::problem::Problem;

/// What the pages may do: load styles, scripts, pictures and data from this server, and send forms to it. Nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Browsers name the origin of a form only if the page may name its own; see [`super::session`].
const REFERRER: &str = "same-origin";
/// A file's address changes with its content.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The files that pages load: name, media type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("desk.css", "text/css; charset=utf-8", include_str!("../../assets/desk.css")),
    ("desk.js", "text/javascript; charset=utf-8", include_str!("../../assets/desk.js")),
    ("exports.js", "text/javascript; charset=utf-8", include_str!("../../assets/exports.js")),
];

/// The places in the head of each page: path, label, and for whom.
const PLACES: [(&str, &str, Whom); 15] = [
    ("/ops", "Overview", Whom::Ops),
    ("/ops/jobs", "Jobs", Whom::Ops),
    ("/ops/schedules", "Schedules", Whom::Ops),
    ("/ops/audit", "Audit", Whom::Ops),
    ("/staff/agenda", "Agenda", Whom::Staff(AppointmentsRead)),
    ("/staff/patients", "Patients", Whom::Staff(PatientsRead)),
    ("/staff/messages", "Messages", Whom::Staff(MessagesRead)),
    ("/staff/exports", "Exports", Whom::Staff(ExportsRead)),
    ("/p", "Visits", Whom::Patient),
    ("/p/medicines", "Medicines", Whom::Patient),
    ("/p/records", "Records", Whom::Patient),
    ("/p/payments", "Payments", Whom::Patient),
    ("/p/accesses", "Who saw my record", Whom::Patient),
    ("/p/data", "My data", Whom::Patient),
    ("/account", "Account", Whom::Account),
];

/// Who sees a place.
#[derive(Clone, Copy)]
enum Whom {
    /// The role `ops`.
    Ops,
    /// Every other one of staff who may do this.
    Staff(TokenScope),
    /// Patients.
    Patient,
    /// Who signed in with a password, in whichever role.
    Account,
}

/// `/assets`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = file.ok_or_else(|| Problem::not_found("There is nothing at this address."))?;
    Ok(([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, FOREVER)], *text).into_response())
}

/// The address of a file, which changes with its content.
pub(super) fn asset_url(app: &App, name: &str) -> String {
    let text = FILES.iter().find(|(known, ..)| *known == name).map_or("", |(_, _, text)| text);
    format!("{}/assets/{name}?v={}", app.base_path, &fingerprint(&[text])[..12])
}

/// A page for a signed-in person, from `templates/pages/<name>.html`, which extends `pages/desk.html`. `view` is an object;
/// its `at` is the path of the place in the navigation that is marked as the one where the reader is. The frame's own
/// values are added: `base`, `person`, `form_token`, `places`, `css`, `js`.
pub(crate) fn page(
    app: &App,
    person: Option<&SignedIn>,
    status: StatusCode,
    name: &str,
    mut view: Value,
) -> Result<Response, Problem> {
    let at = view["at"].as_str().unwrap_or_default().to_owned();
    let sees = |whom: Whom| {
        person.is_some_and(|person| match whom {
            Whom::Ops => person.role == Role::Ops,
            Whom::Staff(scope) => person.role != Role::Ops && is_staff(person.role) && person.may(scope),
            Whom::Patient => person.role == Role::Patient,
            Whom::Account => person.account.is_some(),
        })
    };
    let places: Vec<Value> = PLACES
        .iter()
        .filter(|(_, _, whom)| sees(*whom))
        .map(|(path, label, _)| json!({"url": format!("{}{path}", app.base_path), "label": label, "here": *path == at}))
        .collect();
    view["base"] = json!(app.base_path);
    view["places"] = json!(places);
    view["css"] = json!(asset_url(app, "desk.css"));
    view["js"] = json!(asset_url(app, "desk.js"));
    view["person"] = person.map_or(
        Value::Null,
        |person| json!({"name": person.name, "role": person.role.as_str(), "organization": person.organization}),
    );
    view["form_token"] = json!(person.map(SignedIn::form_token));
    let html = app.ctx.templates.render_page(name, "", &view);
    let html = html.map_err(|error| Problem::internal(&error.to_string()))?;
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static(REFERRER));
    Ok(response)
}
