//! What people who signed in with a password see and change of their account: the password, their sessions, and which of their
//! people they are.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pulsecal_core::accounts::rules::{LONGEST, SHORTEST};
use pulsecal_core::accounts::{self, Changed, PasswordChange};
use pulsecal_core::ids::{PersonId, SessionId};
use pulsecal_core::store::sessions::{Which, of_account};
use pulsecal_jobs::AccountMail;
use serde_json::{Value, json};

use super::cookies::set_cookie;
use super::desk;
use super::session::{Sent, SignedIn, local_path};
use super::sign_in::{end, go};
use crate::app::App;
use crate::limits::ACCOUNT;
use crate::params::Params;
use crate::problem::Problem;

/// `/account` and what is under it.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/sessions", post(end_sessions))
        .route("/account/memberships", get(memberships).post(switch))
}

async fn show(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let done = match params.text("done").as_deref() {
        Some("password") => Some("Your password is changed, and everywhere else you are signed out."),
        Some("sessions") => Some("It is ended."),
        Some("second-factor-off") => Some("Codes are switched off: your password lets you in by itself."),
        _ => None,
    };
    view(&app, &person, StatusCode::OK, done, None).await
}

async fn view(
    app: &App,
    person: &SignedIn,
    status: StatusCode,
    done: Option<&str>,
    problem: Option<&str>,
) -> Result<Response, Problem> {
    let account = person.account()?;
    let mut tx = person.begin_account(app).await?;
    let now = tx.now();
    let sessions = of_account(tx.conn(), account, now).await?;
    let members = pulsecal_core::store::accounts::memberships(tx.conn(), account).await?;
    tx.commit().await?;
    let sessions: Vec<Value> = sessions
        .iter()
        .map(|session| {
            json!({
                "id": session.id,
                "here": session.id == person.session,
                "organization": session.organization,
                "begun": session.created_at.format("%-d %b %Y, %H:%M UTC").to_string(),
                "seen": session.seen_at.format("%-d %b %Y, %H:%M UTC").to_string(),
                "address": session.address,
                "agent": browser_of(&session.agent),
            })
        })
        .collect();
    let view = json!({
        "at": "/account",
        "done": done,
        "problem": problem,
        "sessions": sessions,
        "several": members.len() > 1,
        "shortest": SHORTEST,
        "longest": LONGEST,
    });
    desk::page(app, Some(person), status, "account", view)
}

/// A browser and its system in two words, as far as they can be told.
fn browser_of(agent: &str) -> String {
    let find = |known: &[(&'static str, &'static str)]| {
        known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // Who says more than one says the last of them truly.
    let browser = find(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = find(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "an unknown browser".to_owned(),
    }
}

async fn change_password(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    let unfit = StatusCode::UNPROCESSABLE_ENTITY;
    let turn = app.limits.take(ACCOUNT, &account.to_string()).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many tries. Please wait {wait} seconds.");
        let mut response = view(&app, person, StatusCode::TOO_MANY_REQUESTS, None, Some(&why)).await?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    let field = |name: &str| form.field(name).unwrap_or_default();
    if field("password") != field("again") {
        let why = "The two new passwords differ. Please type the same one twice.";
        return view(&app, person, unfit, None, Some(why)).await;
    }
    let session = person.anew(form.from.clone())?;
    let wish = PasswordChange { old: field("old"), new: field("password"), session };
    match accounts::change_password(&app.ctx, person.actor(), account, wish, AccountMail::make).await? {
        Changed::Done(secret) => {
            app.limits.give_back(ACCOUNT, &account.to_string()).await;
            let mut response = to(&app, "/account?done=password");
            response.headers_mut().append(header::SET_COOKIE, set_cookie(&app, Some(&secret))?);
            Ok(response)
        }
        Changed::WrongOld => {
            view(&app, person, unfit, None, Some("The password until now is not right. Nothing was changed.")).await
        }
        Changed::Unfit(why) => view(&app, person, unfit, None, Some(&why.to_string())).await,
    }
}

async fn end_sessions(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    let which = match form.field("session").unwrap_or_default() {
        "others" => Which::Others(person.session),
        one => {
            let one: SessionId = one.parse().map_err(|_| Problem::not_found("There is no such session."))?;
            Which::One(one)
        }
    };
    let mut tx = person.begin_account(&app).await?;
    accounts::end_sessions(&mut tx, person.actor(), account, which).await?;
    tx.commit().await?;
    Ok(to(&app, "/account?done=sessions"))
}

async fn memberships(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let next = params.text("next");
    let mut tx = person.begin_account(&app).await?;
    let members = pulsecal_core::store::accounts::memberships(tx.conn(), person.account()?).await?;
    tx.commit().await?;
    let members: Vec<Value> = members
        .iter()
        .map(|member| {
            json!({"id": member.person, "role": member.role, "organization": member.organization, "here": member.person == person.person})
        })
        .collect();
    let view = json!({"at": "/account", "members": members, "next": next.as_deref().and_then(local_path)});
    desk::page(&app, Some(&person), StatusCode::OK, "memberships", view)
}

async fn switch(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Problem> {
    let (person, account) = (&form.by, form.by.account()?);
    let none = || Problem::not_found("Your account has no such place, or it is no longer open to you.");
    let wanted: PersonId = form.field("person").unwrap_or_default().parse().map_err(|_| none())?;
    let mut tx = person.begin_account(&app).await?;
    let by = |id, role| person.actor_as(id, role);
    let switched = accounts::switch(&mut tx, account, wanted, by, form.from.clone()).await?;
    let Some((secret, role)) = switched else { return Err(none()) };
    tx.commit().await?;
    end(&app, person).await?;
    let mut response = go(&app, form.field("next"), role);
    response.headers_mut().append(header::SET_COOKIE, set_cookie(&app, Some(&secret))?);
    Ok(response)
}

/// Leads on to another page.
pub(super) fn to(app: &App, path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}{path}", app.base_path))]).into_response()
}
