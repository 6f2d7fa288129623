//! Signing up. The answer is the same whether the address has an account or not; only its mail tells. A GET of the link in it changes
//! nothing, since mail scanners follow links too; only the form does, and once.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::accounts::rules::{LONGEST, SHORTEST};
use pulsecal_core::accounts::sign_up::{self, Confirmed, LONGEST_NAME, Wish};
use pulsecal_core::accounts::{self, Opened};
use pulsecal_core::links::LinkError;
use pulsecal_core::store::account_mails::AccountMailKind;
use pulsecal_core::store::sign_ups::SignUp;
use pulsecal_core::tokens::fingerprint;
use pulsecal_jobs::AccountMail;
use serde_json::{Value, json};

use super::session::{FORM_TOKEN, from_our_page, read_form};
use super::{desk, page};
use crate::access::{LinkHolder, request_of};
use crate::app::App;
use crate::limits::{ACCOUNT, RESETS, SIGN_UP, address_of};
use crate::problem::Problem;

const WRONG: &str = "This is not the password that was chosen when somebody signed up. Nothing was changed. Try again, or sign up once more if you do not remember it.";

/// `/sign-up` and what its mail leads to.
pub(super) fn router() -> Router<App> {
    Router::new().route("/sign-up", get(show).post(ask)).route("/sign-up/{token}", get(show_link).post(confirm))
}

/// What somebody typed, but the password.
#[derive(Default)]
struct Typed {
    given: String,
    family: String,
    email: String,
}

async fn show(State(app): State<App>) -> Result<Response, Problem> {
    form(&app, StatusCode::OK, &Typed::default(), &[])
}

async fn ask(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    from_our_page(&app, request.headers())?;
    let from = address_of(request.extensions(), request.headers()).to_string();
    let id = request_of(request.extensions())?;
    let fields = read_form(request, &app).await?;
    let field = |name: &str| fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value.as_str());
    let plain = |name: &str| field(name).trim().to_owned();
    let typed =
        Typed { given: plain("given_name"), family: plain("family_name"), email: plain("email").to_lowercase() };
    let turn = app.limits.take(SIGN_UP, &from).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many requests from your address. Please wait {wait} seconds.");
        let mut response = form(&app, StatusCode::TOO_MANY_REQUESTS, &typed, &[why])?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    let password = field("password");
    let wish = Wish { given_name: &typed.given, family_name: &typed.family, email: &typed.email, password };
    let wrong = wrong_in(&wish, field("again"));
    if !wrong.is_empty() {
        return form(&app, StatusCode::UNPROCESSABLE_ENTITY, &typed, &wrong);
    }
    // Nobody's inbox is filled by others; that there was a mail already is not told.
    if app.limits.take(RESETS, &typed.email).await.allowed {
        sign_up::sign_up(&app.ctx, &wish, id, AccountMail::make).await?;
    }
    let view = json!({"asked": true, "sign_in": format!("{}/sign-in", app.base_path)});
    desk::page(&app, None, StatusCode::OK, "sign_up", view)
}

/// All that is wrong, in sentences.
fn wrong_in(wish: &Wish<'_>, again: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (label, name) in [("given name", wish.given_name), ("family name", wish.family_name)] {
        if name.is_empty() {
            wrong.push(format!("Please enter your {label}."));
        } else if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            wrong.push(format!("Please enter your {label} in {LONGEST_NAME} characters at most, on one line."));
        }
    }
    if !wish.has_address() {
        wrong.push("Please enter an e-mail address that mail can be sent to, such as name@example.org.".to_owned());
    }
    if let Err(why) = wish.check_password() {
        wrong.push(why.to_string());
    } else if wish.password != again {
        wrong.push("The two passwords differ. Please type the same one twice.".to_owned());
    }
    wrong
}

fn form(app: &App, status: StatusCode, typed: &Typed, wrong: &[String]) -> Result<Response, Problem> {
    let at = |path: &str| format!("{}{path}", app.base_path);
    let view = json!({
        "asked": false,
        "wrong": wrong,
        "given_name": typed.given,
        "family_name": typed.family,
        "email": typed.email,
        "shortest": SHORTEST,
        "longest": LONGEST,
        "longest_name": LONGEST_NAME,
        "path": at("/sign-up"),
        "sign_in": at("/sign-in"),
    });
    desk::page(app, None, status, "sign_up", view)
}

/// A link that works, and what it confirms.
struct Open {
    opened: Opened,
    chosen: SignUp,
    token: String,
}

/// Reads a link; where it does not work any more, the page that says so is within.
async fn open(
    app: &App,
    holder: LinkHolder,
    token: Result<Path<String>, PathRejection>,
) -> Result<Result<Open, Response>, Problem> {
    let Ok(Path(token)) = token else { return Err(holder.refused(app, LinkError::Forged)) };
    let mut tx = holder.begin_account(app).await?;
    let opened = accounts::open(&mut tx, &app.ctx.links, &token, AccountMailKind::Verify).await?;
    let chosen = match &opened {
        Ok(opened) => sign_up::signed_up(&mut tx, opened).await?,
        Err(_) => None,
    };
    tx.commit().await?;
    match (opened, chosen) {
        (Ok(opened), Some(chosen)) => Ok(Ok(Open { opened, chosen, token })),
        (Ok(_), None) | (Err(LinkError::Expired), _) => Ok(Err(over(app)?)),
        (Err(why), _) => Err(holder.refused(app, why)),
    }
}

fn over(app: &App) -> Result<Response, Problem> {
    let view = json!({"reason": "used", "forgot_url": format!("{}/forgot", app.base_path)});
    page(app, StatusCode::GONE, "link_problem", &view, "")
}

impl Open {
    /// Shows that a post comes from the page.
    fn form_token(&self) -> String {
        fingerprint(&["sign-up form", &self.token])
    }

    fn page(&self, app: &App, status: StatusCode, problem: Option<&str>, done: bool) -> Result<Response, Problem> {
        let view: Value = json!({
            "path": format!("{}/sign-up/{}", app.base_path, self.token),
            "link_token": self.form_token(),
            "email": self.opened.email,
            "name": format!("{} {}", self.chosen.given_name, self.chosen.family_name),
            "problem": problem,
            "done": done,
            "sign_in": format!("{}/sign-in", app.base_path),
            "sign_up": format!("{}/sign-up", app.base_path),
        });
        desk::page(app, None, status, "confirm_address", view)
    }
}

async fn show_link(
    holder: LinkHolder,
    State(app): State<App>,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    match open(&app, holder, token).await? {
        Ok(open) => open.page(&app, StatusCode::OK, None, false),
        Err(over) => Ok(over),
    }
}

async fn confirm(
    holder: LinkHolder,
    State(app): State<App>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let open = match open(&app, holder, token).await? {
        Ok(open) => open,
        Err(over) => return Ok(over),
    };
    from_our_page(&app, request.headers())?;
    let fields = read_form(request, &app).await?;
    let field = |name: &str| fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value.as_str());
    let unfit = StatusCode::UNPROCESSABLE_ENTITY;
    if field(FORM_TOKEN) != open.form_token() {
        let again = "Nothing was changed. Please load this page again and send it from there.";
        return open.page(&app, unfit, Some(again), false);
    }
    let turn = app.limits.take(ACCOUNT, &open.opened.email).await;
    if !turn.allowed {
        let wait = turn.wait.as_secs() + 1;
        let why = format!("Too many tries. Please wait {wait} seconds.");
        let mut response = open.page(&app, StatusCode::TOO_MANY_REQUESTS, Some(&why), false)?;
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        return Ok(response);
    }
    match sign_up::confirm(&app.ctx, &open.opened, &open.chosen, field("password"), holder.request()).await? {
        Confirmed::Done => {
            app.limits.give_back(ACCOUNT, &open.opened.email).await;
            open.page(&app, StatusCode::OK, None, true)
        }
        Confirmed::Wrong => open.page(&app, unfit, Some(WRONG), false),
        Confirmed::Over => over(&app),
    }
}
