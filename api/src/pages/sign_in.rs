//! Signing in with a personal access token, and out again.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use pulsecal_core::ids::RequestId;
use pulsecal_core::sessions;
use pulsecal_core::store::audit::{Actor, Role};
use pulsecal_core::store::tokens::TokenBearer;
use pulsecal_core::store::{Scope, tokens};
use pulsecal_core::tokens::TokenHash;
use serde_json::json;

use super::desk;
use super::session::{Sent, SignedIn, from_our_page, local_path, read_form, set_cookie, signed_in};
use crate::access::request_of;
use crate::app::App;
use crate::limits::{SIGN_IN, address_of};
use crate::params::Params;
use crate::policy::is_staff;
use crate::problem::Problem;

/// `/sign-in` and `/sign-out`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/sign-in", get(show).post(enter)).route("/sign-out", post(leave))
}

async fn show(
    State(app): State<App>,
    headers: HeaderMap,
    Extension(request): Extension<RequestId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let next = params.text("next");
    if let Some(person) = signed_in(&app, &headers, request).await? {
        return Ok(go(&app, next.as_deref(), person.role));
    }
    form(&app, StatusCode::OK, next.as_deref(), None)
}

async fn enter(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let from = address_of(request.extensions(), request.headers()).to_string();
    let id = request_of(request.extensions())?;
    let before = signed_in(&app, request.headers(), id).await?;
    let fields = read_form(request, &app).await?;
    let field = |name: &str| fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.trim());
    let next = field("next").filter(|next| !next.is_empty());
    if !app.sign_in_safe {
        let why = "Signing in needs a protected connection: PUBLIC_URL must begin with https://, or name this machine.";
        return form(&app, StatusCode::FORBIDDEN, next, Some(why));
    }
    let turn = app.limits.take(SIGN_IN, &from).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many tries from your address. Please wait {wait} seconds.");
        let mut response = form(&app, StatusCode::TOO_MANY_REQUESTS, next, Some(&why))?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    let mut found = None;
    if let Some(hash) = field("token").and_then(TokenHash::of) {
        // No organization yet: this transaction sees no rows but through the function that finds tokens.
        let mut tx = app.ctx.begin(Scope::Orgs(&[])).await?;
        let now = tx.now();
        found = tokens::find(tx.conn(), &hash, now).await?;
        tx.commit().await?;
    }
    let role_of = |bearer: &TokenBearer| bearer.role.parse().ok().filter(|role| is_staff(*role));
    let Some((role, bearer)) = found.and_then(|bearer| Some((role_of(&bearer)?, bearer))) else {
        let mut tx = app.ctx.begin(Scope::Platform).await?;
        sessions::note_failure(&mut tx, id).await?;
        tx.commit().await?;
        let why = "This token does not open anything. It may be mistyped, expired or revoked.";
        return form(&app, StatusCode::UNAUTHORIZED, next, Some(why));
    };
    app.limits.give_back(SIGN_IN, &from).await;
    // A new session each time: one that somebody else put into this browser is worth nothing afterwards.
    if let Some(before) = before {
        end(&app, &before).await?;
    }
    let mut tx = app.ctx.begin(Scope::Org(bearer.org)).await?;
    let secret = sessions::sign_in(&mut tx, Actor::Person { id: bearer.person, role, request: id }, &bearer).await?;
    tx.commit().await?;
    let mut response = go(&app, next, role);
    response.headers_mut().append(header::SET_COOKIE, set_cookie(&app, Some(&secret))?);
    Ok(response)
}

async fn leave(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    end(&app, &form.by).await?;
    let to = format!("{}/sign-in", app.base_path);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    response.headers_mut().append(header::SET_COOKIE, set_cookie(&app, None)?);
    Ok(response)
}

async fn end(app: &App, person: &SignedIn) -> Result<(), Problem> {
    let mut tx = person.begin(app).await?;
    sessions::sign_out(&mut tx, person.actor(), person.org, person.session).await?;
    Ok(tx.commit().await?)
}

fn go(app: &App, next: Option<&str>, role: Role) -> Response {
    let home = if role == Role::Ops { "/ops" } else { "/staff" };
    let to = format!("{}{}", app.base_path, next.and_then(local_path).unwrap_or(home));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn form(app: &App, status: StatusCode, next: Option<&str>, problem: Option<&str>) -> Result<Response, Problem> {
    let view =
        json!({"next": next.and_then(local_path), "problem": problem, "path": format!("{}/sign-in", app.base_path)});
    desk::page(app, None, status, "sign_in", view)
}
