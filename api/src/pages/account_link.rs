//! What the links in mails to owners of accounts lead to: accepting an invitation, and setting another password. A GET changes
//! nothing, since mail scanners follow links too; only the form does, and once.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::accounts::rules::{LONGEST, SHORTEST};
use pulsecal_core::accounts::{self, Accepted, Opened, Renewed};
use pulsecal_core::links::LinkError;
use pulsecal_core::store::account_mails::AccountMailKind;
use pulsecal_core::tokens::fingerprint;
use pulsecal_jobs::AccountMail;
use serde_json::json;

use super::session::{FORM_TOKEN, from_our_page, read_form};
use super::{desk, page};
use crate::access::LinkHolder;
use crate::app::App;
use crate::problem::Problem;

const AGAIN: &str = "Nothing was changed. Please load this page again and send it from there.";
const TWICE: &str = "The two passwords differ. Please type the same one twice.";

/// `/reset` and `/welcome`.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/reset/{token}", get(show_reset).post(reset))
        .route("/welcome/{token}", get(show_welcome).post(welcome))
}

/// A token as it stands in the path.
type Token = Result<Path<String>, PathRejection>;

/// A link that works, with where it stands.
struct Open {
    opened: Opened,
    token: String,
    kind: AccountMailKind,
}

/// Reads a link; where it does not work any more, the page that says so is within.
async fn open(
    app: &App,
    holder: LinkHolder,
    token: Token,
    kind: AccountMailKind,
) -> Result<Result<Open, Response>, Problem> {
    let Ok(Path(token)) = token else { return Err(holder.refused(app, LinkError::Forged)) };
    let mut tx = holder.begin_account(app).await?;
    let opened = accounts::open(&mut tx, &app.ctx.links, &token, kind).await?;
    tx.commit().await?;
    match opened {
        Ok(opened) => Ok(Ok(Open { opened, token, kind })),
        Err(LinkError::Expired) => Ok(Err(over(app)?)),
        Err(why) => Err(holder.refused(app, why)),
    }
}

fn over(app: &App) -> Result<Response, Problem> {
    let view = json!({"reason": "used", "forgot_url": format!("{}/forgot", app.base_path)});
    page(app, StatusCode::GONE, "link_problem", &view, "")
}

impl Open {
    /// Shows that a post comes from the form: who only guesses that there is one does not have it.
    fn form_token(&self) -> String {
        fingerprint(&["account form", &self.token])
    }

    fn page(&self, app: &App, status: StatusCode, problem: Option<&str>, done: bool) -> Result<Response, Problem> {
        let at = |path: &str| format!("{}{path}", app.base_path);
        let (name, head) = match self.kind {
            AccountMailKind::Invitation => ("welcome", "/welcome/"),
            _ => ("reset", "/reset/"),
        };
        let invitation = self.opened.invitation.as_ref();
        let view = json!({
            "path": at(&format!("{head}{}", self.token)),
            "link_token": self.form_token(),
            "email": self.opened.email,
            "organization": invitation.map(|invitation| &invitation.organization),
            "name": invitation.map(|invitation| &invitation.name),
            "has_password": invitation.is_some_and(|invitation| invitation.has_password),
            "shortest": SHORTEST,
            "longest": LONGEST,
            "problem": problem,
            "done": done,
            "sign_in": at("/sign-in"),
        });
        desk::page(app, None, status, name, view)
    }

    /// The password of a form that our page sent; within: what is wrong with it.
    async fn password(
        &self,
        app: &App,
        headers: &HeaderMap,
        request: Request,
    ) -> Result<Result<String, &'static str>, Problem> {
        from_our_page(app, headers)?;
        let fields = read_form(request, app).await?;
        let field = |name: &str| fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value.as_str());
        if field(FORM_TOKEN) != self.form_token() {
            return Ok(Err(AGAIN));
        }
        if field("password") != field("again") {
            return Ok(Err(TWICE));
        }
        Ok(Ok(field("password").to_owned()))
    }
}

async fn show_reset(holder: LinkHolder, State(app): State<App>, token: Token) -> Result<Response, Problem> {
    match open(&app, holder, token, AccountMailKind::Reset).await? {
        Ok(open) => open.page(&app, StatusCode::OK, None, false),
        Err(over) => Ok(over),
    }
}

async fn show_welcome(holder: LinkHolder, State(app): State<App>, token: Token) -> Result<Response, Problem> {
    match open(&app, holder, token, AccountMailKind::Invitation).await? {
        Ok(open) => open.page(&app, StatusCode::OK, None, false),
        Err(over) => Ok(over),
    }
}

async fn reset(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    request: Request,
) -> Result<Response, Problem> {
    let open = match open(&app, holder, token, AccountMailKind::Reset).await? {
        Ok(open) => open,
        Err(over) => return Ok(over),
    };
    let headers = request.headers().clone();
    let password = match open.password(&app, &headers, request).await? {
        Ok(password) => password,
        Err(why) => return open.page(&app, StatusCode::UNPROCESSABLE_ENTITY, Some(why), false),
    };
    match accounts::renew(&app.ctx, &open.opened, &password, holder.request(), AccountMail::make).await? {
        Renewed::Done => open.page(&app, StatusCode::OK, None, true),
        Renewed::Unfit(why) => open.page(&app, StatusCode::UNPROCESSABLE_ENTITY, Some(&why.to_string()), false),
        Renewed::Over => over(&app),
    }
}

async fn welcome(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    request: Request,
) -> Result<Response, Problem> {
    let open = match open(&app, holder, token, AccountMailKind::Invitation).await? {
        Ok(open) => open,
        Err(over) => return Ok(over),
    };
    let headers = request.headers().clone();
    let password = match open.password(&app, &headers, request).await? {
        Ok(password) => password,
        Err(why) => return open.page(&app, StatusCode::UNPROCESSABLE_ENTITY, Some(why), false),
    };
    match accounts::accept(&app.ctx, &open.opened, &password, holder.request()).await? {
        Accepted::Joined => open.page(&app, StatusCode::OK, None, true),
        Accepted::Unfit(why) => open.page(&app, StatusCode::UNPROCESSABLE_ENTITY, Some(&why.to_string()), false),
        Accepted::Over => over(&app),
    }
}
