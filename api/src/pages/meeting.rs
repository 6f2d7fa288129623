//! Where a patient joins an online visit. Whoever holds the link may, in its time, and nobody else can make one.
//!
//! A GET shows when, and never where: mail scanners and previews follow links too. Only the form leads to the meeting.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Utc};
use pulsecal_core::links::{LinkError, VisitLink};
use pulsecal_core::mail::{MeetingForm, MeetingPageView};
use pulsecal_core::send::visit_facts;
use pulsecal_core::store::audit::{self, Entry};
use pulsecal_core::store::organizations;
use pulsecal_core::store::visits::{VisitSubject, subjects};
use pulsecal_core::time::Zone;
use pulsecal_core::tokens::fingerprint;
use pulsecal_core::visits::{self, Joins, Open, VisitError, Window, session_state};
use serde_json::json;

use super::{page, value_of};
use crate::access::LinkHolder;
use crate::app::App;
use crate::problem::Problem;

/// The routes under `/p/t`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/p/t/{token}", get(show).post(join))
}

/// A token as it stands in the path.
type Token = Result<Path<String>, PathRejection>;

/// A link that was read, with the visit as it is now.
struct Seen {
    token: String,
    link: VisitLink,
    subject: VisitSubject,
    zone: Zone,
    window: Window,
    now: DateTime<Utc>,
}

/// Shows that a post comes from the form: who only guesses that there is one does not have it.
fn form_token(token: &str) -> String {
    fingerprint(&["meeting form", token])
}

impl Seen {
    async fn read(app: &App, holder: LinkHolder, token: &Token) -> Result<Self, Problem> {
        let Ok(Path(token)) = token else { return Err(holder.refused(app, LinkError::Forged)) };
        let link = match app.ctx.links.read_meeting(token, app.ctx.clock.now()) {
            Ok(link) => link,
            Err(why) => return Err(holder.refused(app, why)),
        };
        let mut tx = holder.begin(app, link.org).await?;
        let now = tx.now();
        let subject = subjects(tx.conn(), &[link.visit]).await?.pop().filter(|subject| subject.reachable);
        let subject = subject.ok_or_else(Problem::link_expired)?;
        let zone: Zone = subject.visit.zone.parse().map_err(|_| Problem::internal("a visit's zone is none"))?;
        let rules = organizations::rules(tx.conn(), link.org).await?;
        let window = Window::of(&subject.visit, &rules.visits);
        holder.saw(app, tx, link.org, ("appointment", link.visit.0), subject.visit.patient).await?;
        Ok(Self { token: token.clone(), link, subject, zone, window, now })
    }

    fn state(&self) -> &'static str {
        let visit = &self.subject.visit;
        match session_state(visit) {
            "cancelled" => "cancelled",
            "scheduled" | "in_progress" if visit.mode == "virtual" => match self.now {
                now if now < self.window.opens_at => "soon",
                now if self.window.is_open(now) => "open",
                _ => "over",
            },
            _ => "over",
        }
    }

    fn page(
        &self,
        app: &App,
        status: StatusCode,
        meeting: Option<&str>,
        problem: Option<&str>,
    ) -> Result<Response, Problem> {
        let form = MeetingForm {
            action: &format!("{}/p/t/{}", app.base_path, self.token),
            token: &form_token(&self.token),
            state: self.state(),
            opens_at: self.window.opens_at,
            meeting,
            problem,
        };
        page(app, status, "meeting", &MeetingPageView::new(&visit_facts(&self.subject, self.zone), &form), "")
    }
}

async fn show(holder: LinkHolder, State(app): State<App>, token: Token) -> Result<Response, Problem> {
    Seen::read(&app, holder, &token).await?.page(&app, StatusCode::OK, None, None)
}

async fn join(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let seen = Seen::read(&app, holder, &token).await?;
    let form = body.ok().and_then(|body| value_of(&body, "form_token"));
    if form.as_deref() != Some(&form_token(&seen.token)) {
        return seen.page(&app, StatusCode::BAD_REQUEST, None, Some("Please press the button once more."));
    }
    match enter(&app, &seen, holder).await {
        Ok(url) => {
            let now = Seen::read(&app, holder, &token).await?;
            now.page(&app, StatusCode::OK, Some(&url), None)
        }
        Err(VisitError::Db(error)) => Err(error.into()),
        Err(why) => {
            let status = match why {
                VisitError::NotNow(_) => StatusCode::FORBIDDEN,
                VisitError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::CONFLICT,
            };
            let words = match why {
                VisitError::NotNow(_) => "It cannot be joined now; see below when.",
                VisitError::Busy => "We are just writing to you about this. Please try again in a moment.",
                _ => "It cannot be joined here. Please call us.",
            };
            Seen::read(&app, holder, &token).await?.page(&app, status, None, Some(words))
        }
    }
}

async fn enter(app: &App, seen: &Seen, holder: LinkHolder) -> Result<String, VisitError> {
    let VisitLink { org, visit } = seen.link;
    let mut open = visits::to_change(&app.ctx, org, visit, None).await?;
    let (url, _) = open.join(Joins::Patient).await?;
    let Open { mut tx, visit, .. } = open;
    let entry = Entry {
        org: Some(org),
        actor: holder.actor(),
        action: "session.joined",
        subject_type: "appointment",
        subject: visit.id.0,
        outcome: "success",
        detail: Some(json!({"version": visit.version})),
    };
    let now = tx.now();
    audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?;
    tx.commit().await?;
    Ok(url)
}
