//! The inbox of a development set-up: mail that would have gone out. Only without a mail server, and only on this machine.

use axum::extract::{FromRequestParts, State};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mail_parser::MessageParser;
use pulsecal_core::store::{Scope, mailbox};
use serde_json::json;
use uuid::Uuid;

use super::page;
use crate::app::App;
use crate::layers::wants_json;
use crate::params::{Id, Params};
use crate::problem::Problem;

/// Mails shown when nothing else is asked for, and at most.
const USUAL: i64 = 200;
const MOST: i64 = 10_000;
/// The HTML of a mail runs nothing, loads nothing and may be framed by the page around it. Its links open in a window of
/// their own: the pages that they lead to may not be framed.
const MAIL_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The routes under `/dev/inbox`.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/dev/inbox", get(list))
        .route("/dev/inbox/{id}", get(show))
        .route("/dev/inbox/{id}/html", get(html))
        .route("/dev/inbox/{id}/raw", get(raw))
}

/// The inbox may be looked at.
struct Local;

impl FromRequestParts<App> for Local {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if app.inbox_open && names_this_machine(&parts.headers, &app.public_host) {
            Ok(Self)
        } else {
            Err(Problem::not_found("There is nothing at this address."))
        }
    }
}

/// Whether the browser means this machine: a page elsewhere may have its own name point here.
fn names_this_machine(headers: &HeaderMap, public_host: &str) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let Some(host) = host else { return true };
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name == public_host,
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || host.starts_with(public_host),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

async fn list(_: Local, State(app): State<App>, headers: HeaderMap, mut params: Params) -> Result<Response, Problem> {
    let limit = params.parsed::<i64>("limit").unwrap_or(USUAL).clamp(1, MOST);
    params.finish()?;
    let mut tx = app.ctx.begin(Scope::Orgs(&[])).await?;
    let mails = mailbox::newest(tx.conn(), limit).await?;
    tx.commit().await?;
    if wants_json(&headers) {
        return Ok(Json(mails).into_response());
    }
    let messages: Vec<_> = mails
        .iter()
        .map(|mail| {
            json!({
                "to": mail.to,
                "subject": mail.subject,
                "received_at": mail.received_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
                "url": format!("{}/dev/inbox/{}", app.base_path, mail.id),
            })
        })
        .collect();
    page(&app, StatusCode::OK, "inbox", &json!({"messages": messages}), "")
}

async fn one(app: &App, id: Uuid) -> Result<(mailbox::InboxLine, Vec<u8>), Problem> {
    let mut tx = app.ctx.begin(Scope::Orgs(&[])).await?;
    let found = mailbox::one(tx.conn(), id).await?;
    tx.commit().await?;
    found.ok_or_else(|| Problem::not_found("There is no such mail."))
}

async fn show(_: Local, State(app): State<App>, Id(id): Id<Uuid>, headers: HeaderMap) -> Result<Response, Problem> {
    let (line, raw) = one(&app, id).await?;
    let parsed = MessageParser::default().parse(&raw);
    let text = parsed.as_ref().and_then(|mail| mail.body_text(0)).unwrap_or_default();
    let head: Vec<_> = parsed
        .iter()
        .flat_map(|mail| mail.headers_raw())
        .map(|(name, value)| {
            let value: Vec<&str> = value.split_whitespace().collect();
            json!({"name": name, "value": value.join(" ")})
        })
        .collect();
    if wants_json(&headers) {
        let html = parsed.as_ref().and_then(|mail| mail.body_html(0)).unwrap_or_default();
        let mut mail = serde_json::to_value(&line)?;
        mail["headers"] = json!(head);
        mail["text"] = json!(text);
        mail["html"] = json!(html);
        return Ok(Json(mail).into_response());
    }
    let here = format!("{}/dev/inbox", app.base_path);
    let view = json!({
        "subject": line.subject,
        "headers": head,
        "text": text,
        "html_url": format!("{here}/{id}/html"),
        "raw_url": format!("{here}/{id}/raw"),
        "inbox_url": here,
    });
    page(&app, StatusCode::OK, "inbox_message", &view, "; frame-src 'self'")
}

async fn html(_: Local, State(app): State<App>, Id(id): Id<Uuid>) -> Result<Response, Problem> {
    let (_, raw) = one(&app, id).await?;
    let parsed = MessageParser::default().parse(&raw);
    let html = parsed.as_ref().and_then(|mail| mail.body_html(0)).unwrap_or_default();
    let policy = [(header::CONTENT_SECURITY_POLICY, MAIL_POLICY)];
    Ok((policy, Html(html.replacen("<head>", "<head>\n<base target=\"_blank\">", 1))).into_response())
}

async fn raw(_: Local, State(app): State<App>, Id(id): Id<Uuid>) -> Result<Response, Problem> {
    let (_, raw) = one(&app, id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], raw).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_this_machine_opens_the_inbox() {
        let mut headers = HeaderMap::new();
        let mut told = |host: &'static str| {
            headers.insert(header::HOST, host.parse().expect("a value"));
            names_this_machine(&headers, "clinic.example.org")
        };
        for own in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "clinic.example.org"] {
            assert!(told(own), "{own}");
        }
        for other in ["evil.example.com:8080", "127.0.0.1.example.com", "10.0.0.1", "", "a b"] {
            assert!(!told(other), "{other}");
        }
    }
}
