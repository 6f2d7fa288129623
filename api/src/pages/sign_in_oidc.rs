//! Signing in at somebody else's (OpenID Connect): the way there, and the way back.

use axum::Router;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pulsecal_core::accounts::Entered;
use pulsecal_core::oidc::{self, Arrived, Issuer, NotProven};
use pulsecal_core::sessions::SessionSecret;
use pulsecal_jobs::AccountMail;
use serde_json::json;

use super::cookies::{Cookie, cookie, raw_cookie};
use super::desk;
use super::session::{local_path, seen_from, signed_in};
use super::sign_in::{Came, NOBODY, arrive, half_way, wait_in_lobby};
use crate::access::request_of;
use crate::app::App;
use crate::limits::{SIGN_IN, address_of};
use crate::params::Params;
use crate::problem::Problem;

const STRANGER: &str = "You are known there, but no account here belongs to you. Sign up here with the same address, or ask your clinic for an invitation. If you have an account here, sign in with its password and ask whoever runs PulseCal at your clinic which e-mail address it has.";
const AGAIN: &str = "This sign-in was not finished, or took too long. Please begin again.";
const DENIED: &str = "You were not signed in there. Begin again, or sign in with your password.";

/// `/sign-in/oidc` and where it comes back to.
pub(super) fn router() -> Router<App> {
    Router::new().route("/sign-in/oidc", get(begin)).route("/sign-in/oidc/callback", get(finish))
}

fn issuer(app: &App) -> Result<&Issuer, Problem> {
    app.issuer.as_ref().ok_or_else(|| Problem::not_found("There is nothing at this address."))
}

async fn begin(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let (issuer, next) = (issuer(&app)?, params.text("next"));
    if !app.sign_in_safe {
        return Err(Problem::not_found("Signing in needs a protected connection."));
    }
    if let Some(refused) = too_often(&app, &extensions, &headers).await? {
        return Ok(refused);
    }
    let begun = match issuer.begin(SessionSecret::anew(app.ctx.ids)).await {
        Ok(begun) => begun,
        Err(why) => return away(&app, &why),
    };
    // Where they wanted to go is not the issuer's to know.
    let next = URL_SAFE_NO_PAD.encode(next.as_deref().and_then(local_path).unwrap_or_default());
    let value = format!("{}.{next}", begun.secret.expose());
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, begun.to.to_string())]).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie(&app, Cookie::Away, Some(&value))?);
    Ok(response)
}

async fn finish(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let issuer = issuer(&app)?;
    let carried = raw_cookie(&app, &headers, Cookie::Away).unwrap_or_default();
    let (secret, next) = carried.split_once('.').unwrap_or_default();
    let next = URL_SAFE_NO_PAD.decode(next).ok().and_then(|next| String::from_utf8(next).ok()).unwrap_or_default();
    let (state, code, error) = (params.text("state"), params.text("code"), params.text("error"));
    let Some(secret) = SessionSecret::parse(secret) else { return page(&app, StatusCode::BAD_REQUEST, AGAIN) };
    if let Some(refused) = too_often(&app, &extensions, &headers).await? {
        return Ok(refused);
    }
    let request = request_of(&extensions)?;
    if error.is_some() {
        oidc::refuse(&app.ctx, request, "they were not signed in there").await?;
        return page(&app, StatusCode::UNAUTHORIZED, DENIED);
    }
    let proven = match issuer.finish(&secret, &state.unwrap_or_default(), &code.unwrap_or_default()).await {
        Ok(proven) => proven,
        Err(why @ NotProven::Away(_)) => return away(&app, &why),
        Err(NotProven::Worthless(why)) => {
            oidc::refuse(&app.ctx, request, why).await?;
            return page(&app, StatusCode::BAD_REQUEST, AGAIN);
        }
    };
    let from = seen_from(&extensions, &headers);
    let before = signed_in(&app, &headers, request).await?;
    let next = Some(next.as_str()).filter(|next| !next.is_empty());
    let mut response = match oidc::arrive(&app.ctx, &proven, request, from, AccountMail::make).await? {
        Arrived::Entered(Entered::In { secret, role, several }) => {
            arrive(&app, &Came { secret, role, several }, before, next).await?
        }
        Arrived::Entered(Entered::Half(half)) => half_way(&app, &half, next)?,
        Arrived::Entered(Entered::Lobby(secret)) => wait_in_lobby(&app, &secret, before).await?,
        Arrived::Entered(_) => page(&app, StatusCode::UNAUTHORIZED, NOBODY)?,
        Arrived::Stranger => page(&app, StatusCode::UNAUTHORIZED, STRANGER)?,
    };
    if response.status() == StatusCode::SEE_OTHER {
        app.limits.give_back(SIGN_IN, &address_of(&extensions, &headers).to_string()).await;
    }
    // It has done what it was for.
    response.headers_mut().append(header::SET_COOKIE, cookie(&app, Cookie::Away, None)?);
    Ok(response)
}

async fn too_often(app: &App, extensions: &Extensions, headers: &HeaderMap) -> Result<Option<Response>, Problem> {
    let turn = app.limits.take(SIGN_IN, &address_of(extensions, headers).to_string()).await;
    if turn.allowed {
        return Ok(None);
    }
    let wait = turn.wait.as_secs() + 1;
    let why = format!("Too many tries from your address. Please wait {wait} seconds.");
    let mut response = page(app, StatusCode::TOO_MANY_REQUESTS, &why)?;
    response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    Ok(Some(response))
}

/// The issuer cannot be asked.
fn away(app: &App, why: &NotProven) -> Result<Response, Problem> {
    tracing::warn!(why = %why, "oidc: the issuer cannot be asked");
    let name = app.issuer.as_ref().map(Issuer::name).unwrap_or_default();
    let why =
        format!("{name} cannot be reached at this time. Please try again in a minute, or sign in with your password.");
    let mut response = page(app, StatusCode::SERVICE_UNAVAILABLE, &why)?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    Ok(response)
}

fn page(app: &App, status: StatusCode, why: &str) -> Result<Response, Problem> {
    let view = json!({"why": why, "sign_in": format!("{}/sign-in", app.base_path)});
    desk::page(app, None, status, "sign_in_oidc", view)
}
