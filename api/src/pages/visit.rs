//! Where a patient looks at a visit, confirms it, moves it or calls it off. Whoever holds the link may, and nobody else can make
//! one. The link is of the visit, not of the mail: an old one leads to what holds now.
//!
//! A GET never changes anything: mail scanners and previews follow links too. Only the form does.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use pulsecal_core::clinic::VisitRules;
use pulsecal_core::links::{LinkError, VisitLink};
use pulsecal_core::mail::{VisitChoice, VisitForm, VisitPageView};
use pulsecal_core::send::{meeting_page, visit_facts};
use pulsecal_core::store::audit::{self, Entry};
use pulsecal_core::store::organizations;
use pulsecal_core::store::visits::{VisitSubject, subjects};
use pulsecal_core::time::Zone;
use pulsecal_core::tokens::fingerprint;
use pulsecal_core::visits::{self, Change, Open, VisitError, free, is_off, is_open};
use pulsecal_jobs::AppointmentMail;
use serde_json::json;

use super::{page, value_of};
use crate::access::LinkHolder;
use crate::app::App;
use crate::problem::Problem;

/// The routes under `/p/a`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/p/a/{token}", get(show).post(record))
}

/// A token as it stands in the path.
type Token = Result<Path<String>, PathRejection>;

/// A link that was read, with the visit as it is now.
struct Seen {
    token: String,
    link: VisitLink,
    subject: VisitSubject,
    zone: Zone,
    rules: VisitRules,
    times: Vec<DateTime<Utc>>,
    now: DateTime<Utc>,
}

/// What the form asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Confirm,
    AskToMove,
    Cancel,
    MoveTo(DateTime<Utc>),
}

impl Asked {
    fn from_form(value: &str) -> Option<Self> {
        match value {
            "yes" => Some(Self::Confirm),
            "ask" => Some(Self::AskToMove),
            "no" => Some(Self::Cancel),
            other => DateTime::from_timestamp(other.strip_prefix("at-")?.parse().ok()?, 0).map(Self::MoveTo),
        }
    }

    /// The audit entry's word, and the page's after it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Confirm => ("appointment.confirmed", "yes"),
            Self::AskToMove => ("appointment.move_asked", "ask"),
            Self::Cancel => ("appointment.cancelled", "no"),
            Self::MoveTo(_) => ("appointment.moved", "at"),
        }
    }
}

impl Seen {
    async fn read(app: &App, holder: LinkHolder, token: &Token) -> Result<Self, Problem> {
        let Ok(Path(token)) = token else { return Err(holder.refused(app, LinkError::Forged)) };
        let link = match app.ctx.links.read_visit(token, app.ctx.clock.now()) {
            Ok(link) => link,
            Err(why) => return Err(holder.refused(app, why)),
        };
        let mut tx = holder.begin(app, link.org).await?;
        let now = tx.now();
        let subject = subjects(tx.conn(), &[link.visit]).await?.pop().filter(|subject| subject.reachable);
        let subject = subject.ok_or_else(Problem::link_expired)?;
        let zone: Zone = subject.visit.zone.parse().map_err(|_| Problem::internal("a visit's zone is none"))?;
        let rules = organizations::rules(tx.conn(), link.org).await?;
        let times = free::free_times(&mut tx, &subject.visit, &rules).await?;
        holder.saw(app, tx, link.org, ("appointment", link.visit.0), subject.visit.patient).await?;
        Ok(Self { token: token.clone(), link, subject, zone, rules: rules.visits, times, now })
    }

    fn state(&self) -> &'static str {
        match &self.subject.visit {
            visit if is_off(&visit.status) => "cancelled",
            visit if is_open(&visit.status) && self.now < visit.starts_at => "open",
            _ => "over",
        }
    }

    fn path(&self, app: &App) -> String {
        format!("{}/p/a/{}", app.base_path, self.token)
    }

    fn shown(
        &self,
        app: &App,
        status: StatusCode,
        preselected: Option<VisitChoice>,
        done: Option<&str>,
        problem: Option<&str>,
    ) -> Result<Response, Problem> {
        let visit = &self.subject.visit;
        let can_move = may_move(&self.rules, visit.starts_at, self.now);
        let form = VisitForm {
            action: &self.path(app),
            token: &form_token(&self.token),
            version: visit.version,
            state: self.state(),
            can_move,
            can_cancel: may_cancel(&self.rules, visit.starts_at, self.now),
            asked: visit.move_asked_at.is_some(),
            preselected,
            done,
            problem,
            times: if can_move { &self.times } else { &[] },
        };
        let meeting = meeting_page(&app.ctx.links, &self.subject, self.now)
            .map_err(|_| Problem::internal("PUBLIC_URL is none"))?;
        let mut facts = visit_facts(&self.subject, self.zone);
        facts.meeting_url = meeting.as_ref().map(url::Url::as_str).or(facts.meeting_url);
        page(app, status, "visit", &VisitPageView::new(&facts, &form), "")
    }
}

fn may_move(rules: &VisitRules, starts_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now <= starts_at - rules.move_until()
}

fn may_cancel(rules: &VisitRules, starts_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now <= starts_at - rules.cancel_until()
}

/// Shows that a post comes from the form: who only guesses that there is one does not have it.
fn form_token(token: &str) -> String {
    fingerprint(&["visit form", token])
}

async fn show(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let seen = Seen::read(&app, holder, &token).await?;
    let query = query.unwrap_or_default();
    let choice = value_of(query.as_bytes(), "choice").and_then(|word| VisitChoice::from_query(&word));
    let visit = &seen.subject.visit;
    // Said only while it is true: a page that is loaded again later shows what holds then.
    let done = match value_of(query.as_bytes(), "done").as_deref() {
        Some("yes") if visit.confirmed_by_patient_at.is_some() => Some("Thank you. It is confirmed."),
        Some("no") if is_off(&visit.status) => Some("It is called off."),
        Some("ask") if visit.move_asked_at.is_some() => Some("We have been told."),
        Some("at") if seen.state() == "open" => Some("It is moved. This is what holds now."),
        _ => None,
    };
    seen.shown(&app, StatusCode::OK, choice, done, None)
}

async fn record(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let seen = Seen::read(&app, holder, &token).await?;
    let again = |status| seen.shown(&app, status, None, None, Some("Nothing was changed. Please choose once more."));
    let Ok(body) = body else { return again(StatusCode::BAD_REQUEST) };
    if value_of(&body, "form_token").as_deref() != Some(&form_token(&seen.token)) {
        return again(StatusCode::BAD_REQUEST);
    }
    let asked = value_of(&body, "choice").and_then(|word| Asked::from_form(&word));
    let version = value_of(&body, "version").and_then(|text| text.parse::<i32>().ok());
    let (Some(asked), Some(version)) = (asked, version) else { return again(StatusCode::UNPROCESSABLE_ENTITY) };
    match change(&app, &seen, asked, version, holder).await {
        Ok(()) => {
            let to = format!("{}?done={}", seen.path(&app), asked.words().1);
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
        }
        Err(VisitError::Db(error)) => Err(error.into()),
        Err(why) => {
            // What holds now, and why nothing was changed.
            let now = Seen::read(&app, holder, &token).await?;
            let status =
                if matches!(why, VisitError::Busy) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
            let again = matches!(asked, Asked::MoveTo(_)).then_some(VisitChoice::Move);
            now.shown(&app, status, again, None, Some(refusal(&why)))
        }
    }
}

async fn change(app: &App, seen: &Seen, asked: Asked, version: i32, holder: LinkHolder) -> Result<(), VisitError> {
    let VisitLink { org, visit } = seen.link;
    let mut open = match visits::to_change(&app.ctx, org, visit, Some(version)).await {
        // The same button pressed twice: it is done already.
        Err(VisitError::Version(_)) if is_done(asked, &seen.subject) => return Ok(()),
        other => other?,
    };
    let (now, starts_at, rules) = (open.tx.now(), open.visit.starts_at, open.rules.visits);
    let done = match asked {
        Asked::Confirm => open.confirm(AppointmentMail::make).await?,
        Asked::AskToMove | Asked::MoveTo(_) if !may_move(&rules, starts_at, now) => return Err(VisitError::Past),
        Asked::AskToMove => open.ask_to_move().await?,
        Asked::Cancel if !may_cancel(&rules, starts_at, now) => return Err(VisitError::Past),
        Asked::Cancel => open.cancel("patient", AppointmentMail::make).await?,
        Asked::MoveTo(at) => {
            let Open { tx, visit, rules } = &mut open;
            if !free::is_free(tx, visit, rules, at).await? {
                return Err(VisitError::Taken);
            }
            open.move_to(Change { starts_at: Some(at), ..Change::default() }, AppointmentMail::make).await?
        }
    };
    let Open { mut tx, visit, .. } = open;
    if done {
        let entry = Entry {
            org: Some(org),
            actor: holder.actor(),
            action: asked.words().0,
            subject_type: "appointment",
            subject: visit.id.0,
            outcome: "success",
            detail: Some(json!({"version": visit.version, "sequence": visit.sequence})),
        };
        audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?;
    }
    Ok(tx.commit().await?)
}

fn is_done(asked: Asked, subject: &VisitSubject) -> bool {
    let visit = &subject.visit;
    match asked {
        Asked::Confirm => is_open(&visit.status) && visit.confirmed_by_patient_at.is_some(),
        Asked::AskToMove => is_open(&visit.status) && visit.move_asked_at.is_some(),
        Asked::Cancel => visit.status == "cancelled",
        Asked::MoveTo(at) => is_open(&visit.status) && visit.starts_at == at,
    }
}

fn refusal(why: &VisitError) -> &'static str {
    match why {
        VisitError::Version(_) => "It was changed meanwhile. This is what holds now; please choose once more.",
        VisitError::Taken => "That time is no longer free. Please choose another.",
        VisitError::Busy => "We are just writing to you about this. Please try again in a moment.",
        VisitError::Past => "It is too late for that here. Please call us.",
        VisitError::Status(_) => "That can no longer be changed here. Please call us.",
        _ => "Nothing was changed. Please call us.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_one_of_its_own_words() {
        assert!(Asked::from_form("at-1795000000").is_some_and(|asked| asked.words().1 == "at"));
        for bad in ["", "at-", "at-x", "YES", "cancel", "at-99999999999999999999"] {
            assert!(Asked::from_form(bad).is_none(), "{bad:?}");
        }
    }
}
