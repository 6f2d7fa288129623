//! The API tokens of one's own: made, shown once, listed and revoked. Making one takes the password, so that a stolen session is not
//! enough.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use pulsecal_core::accounts;
use pulsecal_core::ids::TokenId;
use pulsecal_core::store::tokens::TokenLine;
use pulsecal_core::tokens::{self, Scopes, TokenScope};
use serde_json::{Value, json};

use super::account::to;
use super::desk;
use super::session::{Sent, SignedIn};
use crate::app::App;
use crate::limits::ACCOUNT;
use crate::params::Params;
use crate::policy::ceiling;
use crate::problem::Problem;

/// So many tokens of one person are worth something at a time.
const MOST: usize = 20;
/// The longest note on what a token is for, in characters.
const LABEL: usize = 100;
/// A token is good for so many days at most.
const LONGEST_DAYS: i64 = 365;

/// `/account/tokens` and what is under it.
pub(super) fn router() -> Router<App> {
    Router::new().route("/account/tokens", get(show).post(make)).route("/account/tokens/revoke", post(revoke))
}

async fn show(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let done = params.text("done").as_deref() == Some("revoked");
    let done = done.then_some("The token is worth nothing any more.");
    view(&app, &person, StatusCode::OK, done, None).await
}

async fn view(
    app: &App,
    person: &SignedIn,
    status: StatusCode,
    done: Option<&str>,
    problem: Option<&str>,
) -> Result<Response, Problem> {
    let _with_password = person.account()?;
    let mut tx = person.begin(app).await?;
    let now = tx.now();
    let live = tokens::of_person(&mut tx, person.person).await?;
    tx.commit().await?;
    let line = |token: &TokenLine| {
        json!({
            "id": token.id,
            "label": token.label,
            "scopes": token.scopes,
            "made": token.created_at.format("%-d %b %Y").to_string(),
            "ends": token.expires_at.format("%-d %b %Y").to_string(),
            "days": (token.expires_at - now).num_days(),
        })
    };
    let view = json!({
        "at": "/account",
        "done": done,
        "problem": problem,
        "tokens": live.iter().map(line).collect::<Vec<Value>>(),
        "scopes": ceiling(person.role).iter().map(|scope| scope.as_str()).collect::<Vec<&str>>(),
        "full": live.len() >= MOST,
        "label": LABEL,
        "longest": LONGEST_DAYS,
    });
    desk::page(app, Some(person), status, "account_tokens", view)
}

/// What a form asks for.
struct Wish {
    label: String,
    scopes: Scopes,
    days: i64,
}

/// Reads a wish, or says what is wrong with it.
fn wish(form: &Sent<SignedIn>) -> Result<Wish, String> {
    let label = form.field("label").unwrap_or_default().trim().to_owned();
    if !(1..=LABEL).contains(&label.chars().count()) || label.chars().any(char::is_control) {
        return Err(format!("Say what the token is for, in {LABEL} characters at most."));
    }
    let names: Vec<&str> = form.values("scope").take(TokenScope::ALL.len()).collect();
    let scopes = Scopes::parse(&names).map_err(|error| format!("{error}."))?;
    if names.is_empty() || scopes.within(ceiling(form.by.role)) != scopes {
        return Err("Choose what the token may do, of what you may do yourself.".to_owned());
    }
    let days = form.field("days").and_then(|days| days.parse().ok()).filter(|days| (1..=LONGEST_DAYS).contains(days));
    let days = days.ok_or_else(|| format!("Say for how many days it is good, 1 to {LONGEST_DAYS}."))?;
    Ok(Wish { label, scopes, days })
}

async fn make(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    let unfit = StatusCode::UNPROCESSABLE_ENTITY;
    let Wish { label, scopes, days } = match wish(&form) {
        Ok(wish) => wish,
        Err(wrong) => return view(&app, person, unfit, None, Some(&wrong)).await,
    };
    let turn = app.limits.take(ACCOUNT, &account.to_string()).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many tries. Please wait {wait} seconds.");
        let mut response = view(&app, person, StatusCode::TOO_MANY_REQUESTS, None, Some(&why)).await?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    let password = form.field("password").unwrap_or_default();
    if !accounts::owner_is_sure(&app.ctx, person.actor(), account, password).await? {
        return view(&app, person, unfit, None, Some("The password is not right. Nothing was made.")).await;
    }
    app.limits.give_back(ACCOUNT, &account.to_string()).await;
    let mut tx = person.begin(&app).await?;
    let expires_at = tx.now() + TimeDelta::days(days);
    // Counted under a lock, so that two at once do not pass the bound together.
    if tokens::count_to_add(&mut tx, person.person).await? >= MOST {
        let why = format!("You have {MOST} tokens, and may have no more. Revoke one first.");
        return view(&app, person, StatusCode::CONFLICT, None, Some(&why)).await;
    }
    let token = tokens::mint(&mut tx, person.actor(), person.org, person.person, &scopes, expires_at, &label).await?;
    tx.commit().await?;
    let ends = expires_at.format("%-d %b %Y").to_string();
    let view = json!({"at": "/account", "token": token.expose(), "label": label, "ends": ends});
    desk::page(&app, Some(person), StatusCode::OK, "account_token", view)
}

async fn revoke(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let person = &form.by;
    let _with_password = person.account()?;
    let none = || Problem::not_found("You have no such token, or it was revoked before.");
    let wanted: TokenId = form.field("token").unwrap_or_default().parse().map_err(|_| none())?;
    let mut tx = person.begin(&app).await?;
    let own = tokens::of_person(&mut tx, person.person).await?;
    if !own.iter().any(|token| token.id == wanted) || !tokens::revoke(&mut tx, person.actor(), wanted).await? {
        return Err(none());
    }
    tx.commit().await?;
    Ok(to(&app, "/account/tokens?done=revoked"))
}
