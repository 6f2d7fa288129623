//! Signing in with an e-mail address and a password, or with a personal access token, and out again.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use pulsecal_core::accounts::{self, Attempt, Entered};
use pulsecal_core::ids::RequestId;
use pulsecal_core::limits::Limit;
use pulsecal_core::oidc::Issuer;
use pulsecal_core::sessions::{self, NewSession, SeenFrom, SessionSecret, Source};
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::{Actor, Role};
use pulsecal_core::store::tokens::TokenBearer;
use pulsecal_core::tokens::TokenHash;
use pulsecal_jobs::AccountMail;
use serde_json::json;

use super::cookies::{Cookie, cookie, set_cookie};
use super::desk;
use super::session::{Sent, SignedIn, from_our_page, local_path, read_form, seen_from, signed_in};
use crate::access::request_of;
use crate::app::App;
use crate::limits::{ACCOUNT, SIGN_IN, address_of};
use crate::params::Params;
use crate::policy::is_staff;
use crate::problem::Problem;

/// What is said to who has a role that this release does not know.
pub(super) const NOBODY: &str =
    "Your account cannot be used at this time. Please tell whoever runs PulseCal at your clinic.";

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

/// Somebody who may be signed in.
pub(super) struct Came {
    pub(super) secret: SessionSecret,
    pub(super) role: Role,
    /// They may want to be another person of their account.
    pub(super) several: bool,
}

/// How far somebody got.
enum Way {
    In(Came),
    /// A code is to follow.
    Half(SessionSecret),
    /// They have no place.
    Lobby(SessionSecret),
}

async fn enter(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let address = address_of(request.extensions(), request.headers()).to_string();
    let from = seen_from(request.extensions(), request.headers());
    let id = request_of(request.extensions())?;
    let before = signed_in(&app, request.headers(), id).await?;
    let fields = read_form(request, &app).await?;
    let field = |name: &str| fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let next = field("next").filter(|next| !next.is_empty());
    if !app.sign_in_safe {
        let why = "Signing in needs a protected connection: PUBLIC_URL must begin with https://, or name this machine.";
        return form(&app, StatusCode::FORBIDDEN, next, Some(why));
    }
    let token = field("token").map(str::trim).filter(|token| !token.is_empty());
    let email = field("email").unwrap_or_default().trim().to_lowercase();
    let mut turns = vec![(SIGN_IN, address)];
    if token.is_none() {
        turns.push((ACCOUNT, email.clone()));
    }
    if let Some(refused) = too_often(&app, &turns, next).await? {
        return Ok(refused);
    }
    let way = match token {
        Some(token) => by_token(&app, token, from, id).await?,
        None => by_password(&app, &email, field("password").unwrap_or_default(), from, id).await?,
    };
    match way {
        Ok(Way::In(came)) => {
            for (limit, who) in &turns {
                app.limits.give_back(*limit, who).await;
            }
            arrive(&app, &came, before, next).await
        }
        Ok(Way::Half(half)) => half_way(&app, &half, next),
        Ok(Way::Lobby(secret)) => {
            for (limit, who) in &turns {
                app.limits.give_back(*limit, who).await;
            }
            wait_in_lobby(&app, &secret, before).await
        }
        Err(why) => form(&app, StatusCode::UNAUTHORIZED, next, Some(why)),
    }
}

/// To the page that asks for the code.
pub(super) fn half_way(app: &App, half: &SessionSecret, next: Option<&str>) -> Result<Response, Problem> {
    let mut response = see(app, "/sign-in/code", next);
    response.headers_mut().append(header::SET_COOKIE, cookie(app, Cookie::Half, Some(half.expose()))?);
    Ok(response)
}

/// To the page of who has no place yet.
pub(super) async fn wait_in_lobby(
    app: &App,
    secret: &SessionSecret,
    before: Option<SignedIn>,
) -> Result<Response, Problem> {
    if let Some(before) = before {
        end(app, &before).await?;
    }
    let to = format!("{}/lobby", app.base_path);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie(app, Cookie::Lobby, Some(secret.expose()))?);
    response.headers_mut().append(header::SET_COOKIE, set_cookie(app, None)?);
    Ok(response)
}

/// Gives the browser its session, and leads to where they wanted to go.
pub(super) async fn arrive(
    app: &App,
    came: &Came,
    before: Option<SignedIn>,
    next: Option<&str>,
) -> Result<Response, Problem> {
    // A new session each time: one that somebody else put into this browser is worth nothing afterwards.
    if let Some(before) = before {
        end(app, &before).await?;
    }
    // With several people, a page asks which of them they want to be.
    let mut response = if came.several { see(app, "/account/memberships", next) } else { go(app, next, came.role) };
    response.headers_mut().append(header::SET_COOKIE, set_cookie(app, Some(&came.secret))?);
    Ok(response)
}

/// What is said to who comes too often.
async fn too_often(app: &App, turns: &[(Limit, String)], next: Option<&str>) -> Result<Option<Response>, Problem> {
    for (limit, who) in turns {
        let turn = app.limits.take(*limit, who).await;
        if !turn.allowed {
            let wait = turn.wait.as_secs() + 1;
            let why = format!(
                "Too many tries from your {}. Please wait {wait} seconds.",
                if limit.name == SIGN_IN.name { "address" } else { "side for this e-mail address" }
            );
            let mut response = form(app, StatusCode::TOO_MANY_REQUESTS, next, Some(&why))?;
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            return Ok(Some(response));
        }
    }
    Ok(None)
}

async fn by_password(
    app: &App,
    email: &str,
    password: &str,
    from: SeenFrom,
    request: RequestId,
) -> Result<Result<Way, &'static str>, Problem> {
    let attempt = Attempt { email, password, request, from };
    Ok(match accounts::sign_in(&app.ctx, attempt, AccountMail::make).await? {
        Entered::In { secret, role, several } => Ok(Way::In(Came { secret, role, several })),
        Entered::Half(half) => Ok(Way::Half(half)),
        Entered::Lobby(secret) => Ok(Way::Lobby(secret)),
        Entered::Wrong => Err(
            "E-mail address and password do not match. After several tries, wait a quarter of an hour, or set another password by “Forgot your password?”. If you signed up just now, first open the link in the mail that we sent you.",
        ),
        Entered::Nobody => Err(NOBODY),
    })
}

async fn by_token(
    app: &App,
    token: &str,
    from: SeenFrom,
    request: RequestId,
) -> Result<Result<Way, &'static str>, Problem> {
    let mut found = None;
    if let Some(hash) = TokenHash::of(token) {
        found = app.ctx.db.find_token(&hash).await?;
    }
    // Pages are for people: a client's token opens none.
    let role_of =
        |bearer: &TokenBearer| bearer.role.parse().ok().filter(|role| is_staff(*role) && bearer.client.is_none());
    let Some((role, bearer)) = found.and_then(|bearer| Some((role_of(&bearer)?, bearer))) else {
        let mut tx = app.ctx.begin(Scope::Platform).await?;
        sessions::note_failure(&mut tx, request).await?;
        tx.commit().await?;
        return Ok(Err("This token does not open anything. It may be mistyped, expired or revoked."));
    };
    let mut tx = app.ctx.begin(Scope::Org(bearer.org)).await?;
    let new = NewSession { org: bearer.org, person: bearer.person, source: Source::Token(bearer.token), from };
    let secret = sessions::begin(&mut tx, Actor::Person { id: bearer.person, role, request }, new).await?;
    tx.commit().await?;
    Ok(Ok(Way::In(Came { secret, role, several: false })))
}

async fn leave(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    end(&app, &form.by).await?;
    let to = format!("{}/sign-in", app.base_path);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    response.headers_mut().append(header::SET_COOKIE, set_cookie(&app, None)?);
    Ok(response)
}

/// Ends a session.
pub(super) async fn end(app: &App, person: &SignedIn) -> Result<(), Problem> {
    let mut tx = person.begin(app).await?;
    sessions::sign_out(&mut tx, person.actor(), person.org, person.session).await?;
    Ok(tx.commit().await?)
}

/// To a page of signing in, which leads on to `next`.
pub(super) fn see(app: &App, path: &str, next: Option<&str>) -> Response {
    let next: String = url::form_urlencoded::byte_serialize(next.unwrap_or_default().as_bytes()).collect();
    let to = format!("{}{path}?next={next}", app.base_path);
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// To where somebody wanted to go, or to where their role begins.
pub(super) fn go(app: &App, next: Option<&str>, role: Role) -> Response {
    let home = match role {
        Role::Ops => "/ops",
        Role::Patient => "/p",
        _ => "/staff",
    };
    let to = format!("{}{}", app.base_path, next.and_then(local_path).unwrap_or(home));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn form(app: &App, status: StatusCode, next: Option<&str>, problem: Option<&str>) -> Result<Response, Problem> {
    let at = |path: &str| format!("{}{path}", app.base_path);
    let next = next.and_then(local_path);
    let written: String = url::form_urlencoded::byte_serialize(next.unwrap_or_default().as_bytes()).collect();
    let view = json!({
        "next": next,
        "issuer": app.issuer.as_ref().map(Issuer::name),
        "elsewhere": at(&format!("/sign-in/oidc?next={written}")),
        "problem": problem,
        "path": at("/sign-in"),
        "forgot": at("/forgot"),
        "sign_up": at("/sign-up"),
    });
    desk::page(app, None, status, "sign_in", view)
}
