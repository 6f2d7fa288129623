//! The second step of signing in, for accounts with a second factor: a code after the right password.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::accounts::second::{self, CodeTry, Stepped};
use pulsecal_core::accounts::{AccountError, Entered};
use pulsecal_core::sessions::SessionSecret;
use pulsecal_jobs::AccountMail;
use serde_json::json;

use super::cookies::{Cookie, cookie, cookie_of};
use super::desk;
use super::session::{FORM_TOKEN, from_our_page, local_path, read_form, seen_from, signed_in};
use super::sign_in::{Came, NOBODY, arrive, see, wait_in_lobby};
use crate::access::request_of;
use crate::app::App;
use crate::limits::{ACCOUNT, SIGN_IN, address_of};
use crate::params::Params;
use crate::problem::Problem;

const WRONG: &str = "The code is not right, or it was used before. Wait for the next one that the app shows. After several wrong codes, wait a quarter of an hour, or enter a recovery code.";
const AGAIN: &str = "Nothing was changed. Please send the form once more.";

/// `/sign-in/code`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/sign-in/code", get(show).post(enter))
}

async fn show(State(app): State<App>, headers: HeaderMap, mut params: Params) -> Result<Response, Problem> {
    let next = params.text("next");
    let half = cookie_of(&app, &headers, Cookie::Half);
    match half {
        Some(half) if is_open(&app, &half).await?.is_some() => form(&app, StatusCode::OK, &half, next.as_deref(), None),
        _ => over(&app, next.as_deref()),
    }
}

async fn enter(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let address = address_of(request.extensions(), request.headers()).to_string();
    let (from, id) = (seen_from(request.extensions(), request.headers()), request_of(request.extensions())?);
    let before = signed_in(&app, request.headers(), id).await?;
    let half = cookie_of(&app, request.headers(), Cookie::Half);
    let fields = read_form(request, &app).await?;
    let field = |name: &str| fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let next = field("next").filter(|next| !next.is_empty());
    let Some(half) = half else { return over(&app, next) };
    let Some(account) = is_open(&app, &half).await? else { return over(&app, next) };
    if !half.is_form_token(field(FORM_TOKEN).unwrap_or_default()) {
        return form(&app, StatusCode::UNPROCESSABLE_ENTITY, &half, next, Some(AGAIN));
    }
    let turns = [(SIGN_IN, address), (ACCOUNT, account.to_string())];
    for (limit, who) in &turns {
        let turn = app.limits.take(*limit, who).await;
        if !turn.allowed {
            let wait = turn.wait.as_secs() + 1;
            let why = format!("Too many tries. Please wait {wait} seconds.");
            let mut response = form(&app, StatusCode::TOO_MANY_REQUESTS, &half, next, Some(&why))?;
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            return Ok(response);
        }
    }
    let attempt = CodeTry { half: &half, code: field("code").unwrap_or_default(), request: id, from };
    match second::enter_code(&app.ctx, attempt, AccountMail::make).await? {
        Stepped::Right(Entered::In { secret, role, several }) => {
            for (limit, who) in &turns {
                app.limits.give_back(*limit, who).await;
            }
            let mut response = arrive(&app, &Came { secret, role, several }, before, next).await?;
            response.headers_mut().append(header::SET_COOKIE, cookie(&app, Cookie::Half, None)?);
            Ok(response)
        }
        Stepped::Right(Entered::Lobby(secret)) => {
            let mut response = wait_in_lobby(&app, &secret, before).await?;
            response.headers_mut().append(header::SET_COOKIE, cookie(&app, Cookie::Half, None)?);
            Ok(response)
        }
        Stepped::Right(_) => form(&app, StatusCode::UNAUTHORIZED, &half, next, Some(NOBODY)),
        Stepped::Wrong => form(&app, StatusCode::UNAUTHORIZED, &half, next, Some(WRONG)),
        Stepped::Over => over(&app, next),
    }
}

async fn is_open(app: &App, half: &SessionSecret) -> Result<Option<pulsecal_core::ids::AccountId>, AccountError> {
    second::is_open(&app.ctx, half).await
}

/// Back to the password.
fn over(app: &App, next: Option<&str>) -> Result<Response, Problem> {
    let mut response = see(app, "/sign-in", next);
    response.headers_mut().append(header::SET_COOKIE, cookie(app, Cookie::Half, None)?);
    Ok(response)
}

fn form(
    app: &App,
    status: StatusCode,
    half: &SessionSecret,
    next: Option<&str>,
    problem: Option<&str>,
) -> Result<Response, Problem> {
    let view = json!({
        "next": next.and_then(local_path),
        "problem": problem,
        "path": format!("{}/sign-in/code", app.base_path),
        "sign_in": format!("{}/sign-in", app.base_path),
        "half_token": half.form_token(),
    });
    desk::page(app, None, status, "sign_in_code", view)
}
