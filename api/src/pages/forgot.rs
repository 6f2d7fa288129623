//! Asking for a link to set another password. The answer is the same whether the address has an account or not.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::accounts;
use pulsecal_jobs::AccountMail;
use serde_json::json;

use super::desk;
use super::session::{from_our_page, read_form};
use crate::access::request_of;
use crate::app::App;
use crate::limits::{FORGOT, RESETS, address_of};
use crate::problem::Problem;

/// `/forgot`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/forgot", get(show).post(ask))
}

async fn show(State(app): State<App>) -> Result<Response, Problem> {
    form(&app, StatusCode::OK, None, false)
}

async fn ask(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let from = address_of(request.extensions(), request.headers()).to_string();
    let id = request_of(request.extensions())?;
    let fields = read_form(request, &app).await?;
    let email = fields.iter().find(|(name, _)| name == "email").map_or("", |(_, value)| value.trim()).to_lowercase();
    let turn = app.limits.take(FORGOT, &from).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many requests from your address. Please wait {wait} seconds.");
        let mut response = form(&app, StatusCode::TOO_MANY_REQUESTS, Some(&why), false)?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    if email.is_empty() {
        return form(&app, StatusCode::UNPROCESSABLE_ENTITY, Some("Please enter your e-mail address."), false);
    }
    // Nobody's inbox is filled by others; that there was a mail already is not told.
    if app.limits.take(RESETS, &email).await.allowed {
        accounts::ask_reset(&app.ctx, &email, id, AccountMail::make).await?;
    }
    form(&app, StatusCode::OK, None, true)
}

fn form(app: &App, status: StatusCode, problem: Option<&str>, asked: bool) -> Result<Response, Problem> {
    let at = |path: &str| format!("{}{path}", app.base_path);
    let view = json!({"problem": problem, "asked": asked, "path": at("/forgot"), "sign_in": at("/sign-in")});
    desk::page(app, None, status, "forgot", view)
}
