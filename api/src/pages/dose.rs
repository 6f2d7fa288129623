//! Where a patient answers for one dose. Whoever holds the link may answer, and nobody else can make one.
//!
//! A GET never records anything: mail scanners and previews follow links too. Only the form does.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::doses::answer::{Answered, answer};
use pulsecal_core::ids::RequestId;
use pulsecal_core::links::{DoseLink, LinkError};
use pulsecal_core::mail::{DoseAnswer, DoseAnsweredView, DoseChoice, DoseForm, DosePageView, SNOOZE_MINUTES};
use pulsecal_core::send::dose_facts;
use pulsecal_core::store::send::{DoseSubject, dose_subjects};
use pulsecal_core::time::Zone;
use pulsecal_core::tokens::fingerprint;

use super::{page, value_of};
use crate::access::LinkHolder;
use crate::app::App;
use crate::problem::Problem;

/// The routes under `/p/d`.
pub(super) fn router() -> Router<App> {
    Router::new().route("/p/d/{token}", get(show).post(record)).route("/p/d/{token}/done", get(done))
}

/// A token as it stands in the path.
type Token = Result<Path<String>, PathRejection>;

/// A link that was read, with the dose it is about.
struct Open {
    token: String,
    link: DoseLink,
    subject: DoseSubject,
    zone: Zone,
}

impl Open {
    async fn read(app: &App, holder: LinkHolder, token: Token) -> Result<Self, Problem> {
        let Ok(Path(token)) = token else { return Err(holder.refused(app, LinkError::Forged)) };
        let link = match app.ctx.links.read_dose(&token, app.ctx.clock.now()) {
            Ok(link) => link,
            Err(why) => return Err(holder.refused(app, why)),
        };
        let mut tx = holder.begin(app, link.org).await?;
        let mut found = dose_subjects(tx.conn(), &[link.dose]).await?;
        // The dose was dropped from its plan, or nobody is to be reminded any more: the link was good, its time is over.
        let subject = found.remove(&link.dose).filter(|subject| subject.reachable);
        let subject = subject.ok_or_else(Problem::link_expired)?;
        holder.saw(app, tx, link.org, ("dose", link.dose.0), subject.patient).await?;
        let zone = subject.zone.parse().map_err(|_| Problem::internal("a dose's zone is none"))?;
        Ok(Self { token, link, subject, zone })
    }

    fn path(&self, app: &App) -> String {
        format!("{}/p/d/{}", app.base_path, self.token)
    }

    fn form(
        &self,
        app: &App,
        status: StatusCode,
        preselected: Option<DoseChoice>,
        problem: Option<&str>,
    ) -> Result<Response, Problem> {
        let facts = dose_facts(&self.subject, self.zone, self.subject.step);
        let form = DoseForm { action: &self.path(app), token: &form_token(&self.token), preselected, problem };
        page(app, status, "dose_answer", &DosePageView::new(&facts, form), "")
    }
}

/// Shows that a post comes from the form: who only guesses that there is one does not have it.
fn form_token(token: &str) -> String {
    fingerprint(&["dose form", token])
}

async fn show(
    holder: LinkHolder,
    State(app): State<App>,
    token: Token,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let open = Open::read(&app, holder, token).await?;
    let query = query.unwrap_or_default();
    let choice = value_of(query.as_bytes(), "choice").and_then(|word| DoseChoice::from_query(&word));
    open.form(&app, StatusCode::OK, choice, None)
}

async fn record(
    holder: LinkHolder,
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    token: Token,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let open = Open::read(&app, holder, token).await?;
    let again = "Nothing was recorded. Please choose once more.";
    let Ok(body) = body else {
        return open.form(&app, StatusCode::BAD_REQUEST, None, Some(again));
    };
    if value_of(&body, "form_token").as_deref() != Some(&form_token(&open.token)) {
        return open.form(&app, StatusCode::BAD_REQUEST, None, Some(again));
    }
    let said = value_of(&body, "choice").and_then(|word| DoseAnswer::from_form(&word));
    let Some(said) = said else {
        return open.form(&app, StatusCode::UNPROCESSABLE_ENTITY, None, Some(again));
    };
    let refused = |sentence| open.form(&app, StatusCode::CONFLICT, None, Some(sentence));
    match answer(&app.ctx, open.link.org, open.link.dose, said, request).await? {
        Answered::Recorded { .. } | Answered::Already => {
            let to = format!("{}/done", open.path(&app));
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
        }
        Answered::TooLate if matches!(said, DoseAnswer::Snooze(_)) => {
            refused("There is not enough time left to remind you again. Please choose another answer.")
        }
        Answered::TooLate => refused("The time to answer this is over, so nothing was recorded."),
        Answered::TooManySnoozes => {
            refused("You have asked to be reminded again as often as is possible. Please choose another answer.")
        }
        Answered::Unknown => Err(Problem::link_expired()),
    }
}

/// What is on record, whoever recorded it.
async fn done(holder: LinkHolder, State(app): State<App>, token: Token) -> Result<Response, Problem> {
    let open = Open::read(&app, holder, token).await?;
    let (answer, again) = match open.subject.state.as_str() {
        "taken" => (DoseAnswer::Taken, None),
        "skipped" => (DoseAnswer::Skip, None),
        "snoozed" => (DoseAnswer::Snooze(SNOOZE_MINUTES[0]), Some(open.subject.ladder_at)),
        _ => {
            let to = open.path(&app);
            return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response());
        }
    };
    let facts = dose_facts(&open.subject, open.zone, open.subject.step);
    let view = DoseAnsweredView::new(&facts, answer, again, Some(&open.path(&app)));
    page(&app, StatusCode::OK, "dose_answered", &view, "")
}
