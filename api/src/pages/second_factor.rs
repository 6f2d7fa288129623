//! The second factor of one's account: set up, new recovery codes, switch off. Each takes the password, so that a stolen session is not
//! enough.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pulsecal_core::accounts::second::{self, Asked, Confirmed, State as Factor};
use pulsecal_jobs::AccountMail;
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::{Value, json};

use super::desk;
use super::session::{Sent, SignedIn};
use crate::app::App;
use crate::limits::ACCOUNT;
use crate::problem::Problem;

const WRONG_PASSWORD: &str = "The password is not right. Nothing was changed.";
const WRONG_CODE: &str =
    "This is not the code that the app should show now. Check the clock of your phone, and enter the next code.";
const TOO_LATE: &str = "This took too long, or it was done elsewhere. Please look at how it stands now.";

/// `/account/second-factor` and what is under it.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/account/second-factor", get(show).post(begin))
        .route("/account/second-factor/confirm", post(confirm))
        .route("/account/second-factor/codes", post(codes))
        .route("/account/second-factor/off", post(off))
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    view(&app, &person, StatusCode::OK, None).await
}

async fn begin(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    if let Some(refused) = too_often(&app, person).await? {
        return Ok(refused);
    }
    match second::begin(&app.ctx, person.actor(), account, form.field("password").unwrap_or_default()).await? {
        Asked::Done(()) => {
            app.limits.give_back(ACCOUNT, &account.to_string()).await;
            Ok(to(&app, "/account/second-factor"))
        }
        Asked::WrongPassword => unfit(&app, person, WRONG_PASSWORD).await,
        Asked::Nothing => unfit(&app, person, TOO_LATE).await,
    }
}

async fn confirm(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    if let Some(refused) = too_often(&app, person).await? {
        return Ok(refused);
    }
    let code = form.field("code").unwrap_or_default();
    match second::confirm(&app.ctx, person.actor(), account, code, AccountMail::make).await? {
        Confirmed::On(codes) => {
            app.limits.give_back(ACCOUNT, &account.to_string()).await;
            show_codes(&app, person, &codes, true)
        }
        Confirmed::Wrong => unfit(&app, person, WRONG_CODE).await,
        Confirmed::Nothing => unfit(&app, person, TOO_LATE).await,
    }
}

async fn codes(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    if let Some(refused) = too_often(&app, person).await? {
        return Ok(refused);
    }
    match second::renew_codes(&app.ctx, person.actor(), account, form.field("password").unwrap_or_default()).await? {
        Asked::Done(codes) => {
            app.limits.give_back(ACCOUNT, &account.to_string()).await;
            show_codes(&app, person, &codes, false)
        }
        Asked::WrongPassword => unfit(&app, person, WRONG_PASSWORD).await,
        Asked::Nothing => unfit(&app, person, TOO_LATE).await,
    }
}

async fn off(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    if let Some(refused) = too_often(&app, person).await? {
        return Ok(refused);
    }
    let password = form.field("password").unwrap_or_default();
    match second::switch_off(&app.ctx, person.actor(), account, password, AccountMail::make).await? {
        Asked::Done(()) => {
            app.limits.give_back(ACCOUNT, &account.to_string()).await;
            Ok(to(&app, "/account?done=second-factor-off"))
        }
        Asked::WrongPassword => unfit(&app, person, WRONG_PASSWORD).await,
        Asked::Nothing => unfit(&app, person, TOO_LATE).await,
    }
}

/// What is said to who tries passwords or codes too often.
async fn too_often(app: &App, person: &SignedIn) -> Result<Option<Response>, Problem> {
    let turn = app.limits.take(ACCOUNT, &person.account()?.to_string()).await;
    if turn.allowed {
        return Ok(None);
    }
    let wait = turn.wait.as_secs() + 1;
    let why = format!("Too many tries. Please wait {wait} seconds.");
    let mut response = view(app, person, StatusCode::TOO_MANY_REQUESTS, Some(&why)).await?;
    response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    Ok(Some(response))
}

async fn unfit(app: &App, person: &SignedIn, why: &str) -> Result<Response, Problem> {
    view(app, person, StatusCode::UNPROCESSABLE_ENTITY, Some(why)).await
}

async fn view(app: &App, person: &SignedIn, status: StatusCode, problem: Option<&str>) -> Result<Response, Problem> {
    let state = match second::state(&app.ctx, person.account()?).await? {
        Factor::Off => json!({"state": "off"}),
        Factor::Begun { text, uri } => json!({"state": "begun", "key": text, "picture": picture(&uri)?}),
        Factor::On { since, codes_left } => {
            json!({"state": "on", "since": since.format("%-d %b %Y").to_string(), "codes_left": codes_left})
        }
    };
    let mut view = json!({"at": "/account", "problem": problem, "lacks_factor": person.lacks_factor});
    if let (Value::Object(view), Value::Object(state)) = (&mut view, state) {
        view.extend(state);
    }
    desk::page(app, Some(person), status, "second_factor", view)
}

/// The one time that recovery codes are seen.
fn show_codes(app: &App, person: &SignedIn, codes: &[String], first: bool) -> Result<Response, Problem> {
    let view = json!({"at": "/account", "codes": codes, "first": first});
    desk::page(app, Some(person), StatusCode::OK, "recovery_codes", view)
}

/// A QR code as the path of an SVG, with its size in squares; four more are free on each side.
fn picture(text: &str) -> Result<Value, Problem> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|error| Problem::internal(&error.to_string()))?;
    let squares = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    let path: String = squares
        .filter(|(x, y)| code.get_module(*x, *y))
        .map(|(x, y)| format!("M{} {}h1v1h-1z", x + 4, y + 4))
        .collect();
    Ok(json!({"path": path, "size": code.size() + 8}))
}

fn to(app: &App, path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}{path}", app.base_path))]).into_response()
}
