//! Pages: dose links and the development inbox, which are read without signing in; those of staff, operators and patients, which are not.

mod accesses;
mod account;
mod account_link;
mod account_tokens;
mod audit;
mod cookies;
pub(crate) mod desk;
mod dose;
mod exports;
mod forgot;
mod inbox;
mod lobby;
mod meeting;
mod ops;
mod patient;
mod second_factor;
pub(crate) mod session;
mod sign_in;
mod sign_in_code;
mod sign_in_oidc;
mod sign_up;
mod staff;
mod visit;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

pub(crate) use self::ops::SeenLately;
use crate::app::App;
use crate::problem::Problem;

/// The pages' routes.
pub(crate) fn router() -> Router<App> {
    dose::router()
        .merge(visit::router())
        .merge(meeting::router())
        .merge(inbox::router())
        .merge(sign_in::router())
        .merge(sign_in_code::router())
        .merge(sign_in_oidc::router())
        .merge(sign_up::router())
        .merge(lobby::router())
        .merge(forgot::router())
        .merge(account_link::router())
        .merge(account::router())
        .merge(second_factor::router())
        .merge(account_tokens::router())
        .merge(desk::router())
        .merge(ops::router())
        .merge(audit::router())
        .merge(exports::router())
        .merge(staff::router())
        .merge(patient::router())
        .merge(accesses::router())
}

/// A page from its template, with a policy that lets it load nothing but its own style. `more` is added to the policy.
fn page<V: Serialize>(app: &App, status: StatusCode, name: &str, view: &V, more: &str) -> Result<Response, Problem> {
    let nonce: String = app.ctx.ids.secret()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let html =
        app.ctx.templates.render_page(name, &nonce, view).map_err(|error| Problem::internal(&error.to_string()))?;
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'{more}"
    );
    let mut response = (status, Html(html)).into_response();
    let policy = HeaderValue::from_str(&policy).map_err(|error| Problem::internal(&error.to_string()))?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// A problem, as a page.
pub(crate) fn problem_page(app: &App, problem: &Problem) -> Result<Response, Problem> {
    match problem.code() {
        "link_expired" => page(app, problem.status(), "link_problem", &json!({"reason": "expired"}), ""),
        "link_unknown" => page(app, problem.status(), "link_problem", &json!({"reason": "unknown"}), ""),
        _ => {
            let view = json!({
                "status": problem.status().as_u16(),
                "title": problem.title(),
                "detail": Some(problem.detail()).filter(|detail| !detail.is_empty()),
                "reference": problem.reference(),
            });
            page(app, problem.status(), "error", &view, "")
        }
    }
}

/// The value of a form's or query's field; the first one, and other fields do not matter.
fn value_of(encoded: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(encoded).find(|(given, _)| given == name).map(|(_, value)| value.into_owned())
}
