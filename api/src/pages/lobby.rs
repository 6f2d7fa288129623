//! The page of who is signed in with an account that has no place yet: what to do next.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pulsecal_core::accounts::lobby;
use pulsecal_core::ids::AccountId;
use pulsecal_core::sessions::SessionSecret;
use serde_json::json;

use super::cookies::{Cookie, cookie, cookie_of};
use super::desk;
use super::session::{FORM_TOKEN, from_our_page, read_form};
use crate::access::request_of;
use crate::app::App;
use crate::limits::by_caller;
use crate::problem::Problem;

/// `/lobby`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/lobby", get(show)).route("/lobby/leave", post(leave))
}

/// Somebody who waits there.
struct Guest {
    account: AccountId,
    secret: SessionSecret,
}

async fn guest(app: &App, extensions: &Extensions, headers: &HeaderMap) -> Result<Option<Guest>, Problem> {
    let Some(secret) = cookie_of(app, headers, Cookie::Lobby) else { return Ok(None) };
    let Some(account) = lobby::find(&app.ctx, &secret).await? else { return Ok(None) };
    by_caller(app, extensions, &account.to_string()).await?;
    Ok(Some(Guest { account, secret }))
}

async fn show(State(app): State<App>, extensions: Extensions, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(guest) = guest(&app, &extensions, &headers).await? else { return out(&app) };
    let (email, let_in) = lobby::look(&app.ctx, guest.account).await?;
    let view = json!({
        "email": email,
        "let_in": let_in,
        "lobby_token": guest.secret.form_token(),
        "forgot": format!("{}/forgot", app.base_path),
    });
    desk::page(&app, None, StatusCode::OK, "lobby", view)
}

async fn leave(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let id = request_of(request.extensions())?;
    let Some(guest) = guest(&app, request.extensions(), request.headers()).await? else { return out(&app) };
    let fields = read_form(request, &app).await?;
    let token = fields.iter().find(|(name, _)| name == FORM_TOKEN).map_or("", |(_, value)| value.as_str());
    if !guest.secret.is_form_token(token) {
        return Err(Problem::foreign_form());
    }
    lobby::leave(&app.ctx, guest.account, &guest.secret, id).await?;
    out(&app)
}

/// To signing in.
fn out(app: &App) -> Result<Response, Problem> {
    let to = format!("{}/sign-in", app.base_path);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie(app, Cookie::Lobby, None)?);
    Ok(response)
}
