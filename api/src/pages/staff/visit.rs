//! `/staff/appointments/{id}`: one visit; confirming, moving and calling it off. What the clinic does here is not bound by how late
//! a patient may do it.

use std::borrow::Cow;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use pulsecal_core::ids::AppointmentId;
use pulsecal_core::store::pages::visits::one;
use pulsecal_core::store::people;
use pulsecal_core::store::visits as store;
use pulsecal_core::time::Zone;
use pulsecal_core::time::local::LocalMoment;
use pulsecal_core::tokens::TokenScope;
use pulsecal_core::visits::{self, CANCEL_REASONS, Change, Open, VisitError};
use pulsecal_jobs::AppointmentMail;
use serde_json::{Value, json};

use super::{DOCTORS, moment, to, visit_view};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::{Refused, Sent, SignedIn};
use crate::params::{Id, Params, is_in_years};
use crate::problem::Problem;

/// The longest visit that the form makes, in minutes.
const LONGEST_MINUTES: i64 = 24 * 60;

/// What the page says after an action, by the word that its address has: no text of an address is shown.
const NOTES: [(&str, &str); 5] = [
    ("booked", "It is booked. The patient gets a mail with an invitation."),
    ("moved", "It is moved. The patient gets a mail with the new time."),
    ("cancelled", "It is called off. The patient gets a mail that says so."),
    ("confirmed", "It is on record that the patient will come."),
    ("same", "It was so before. Nothing was changed, and nothing is sent."),
];

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/staff/appointments/{id}", get(show))
        .route("/staff/appointments/{id}/confirm", post(confirm))
        .route("/staff/appointments/{id}/move", post(move_))
        .route("/staff/appointments/{id}/cancel", post(cancel))
}

/// What is wrong with a form, as a sentence.
pub(super) struct WrongForm(pub(super) String);

impl WrongForm {
    pub(super) fn of(words: &str) -> Self {
        Self(words.to_owned())
    }
}

async fn show(
    State(app): State<App>,
    person: SignedIn,
    Id(id): Id<AppointmentId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let done = params.text("done");
    let done = NOTES.iter().find(|(word, _)| Some(*word) == done.as_deref()).map(|(_, sentence)| *sentence);
    page(&app, &person, id, StatusCode::OK, done, None).await
}

async fn page(
    app: &App,
    person: &SignedIn,
    id: AppointmentId,
    status: StatusCode,
    done: Option<&str>,
    wrong: Option<&str>,
) -> Result<Response, Problem> {
    let mut tx = person.look(app).await?;
    let now = tx.now();
    let line = one(tx.conn(), person.org, id).await?.ok_or_else(|| Problem::from(VisitError::Unknown))?;
    let visit = store::one(tx.conn(), id).await?.ok_or_else(|| Problem::from(VisitError::Unknown))?;
    let doctors = people::doctors(tx.conn(), DOCTORS).await?;
    person.saw(app, tx, Some(("appointment", id.0)), [visit.patient]).await?;
    let zone: Zone = visit.zone.parse().unwrap_or(Zone::UTC);
    let local = zone.local(visit.starts_at);
    let mut shown = visit_view(&line, now);
    shown["version"] = json!(visit.version);
    shown["confirmed"] = json!(visit.confirmed_by_patient_at.map(|at| moment(zone, at)));
    shown["cancelled"] = json!(visit.cancelled_at.map(|at| moment(zone, at)));
    shown["cancel_reason"] = json!(visit.cancel_reason.map(|reason| reason.replace('_', " ")));
    shown["outside_hours"] = json!(visit.outside_hours);
    shown["meeting_url"] = json!(visit.meeting_url);
    shown["date"] = json!(local.date().to_string());
    shown["minutes"] = json!((visit.ends_at - visit.starts_at).num_minutes());
    let reason = |name: &str| json!({"name": name, "label": name.replace('_', " ")});
    let view = json!({
        "at": "/staff/agenda",
        "visit": shown,
        "done": done,
        "wrong": wrong,
        "may_change": person.may(TokenScope::AppointmentsWrite),
        "reasons": CANCEL_REASONS.map(reason),
        "doctors": doctors.iter().map(|(id, name)| json!({"id": id, "name": name, "own": Some(*id) == visit.doctor})).collect::<Vec<Value>>(),
    });
    desk::page(app, Some(person), status, "staff_visit", view)
}

/// From and until, of the fields `day`, `time` and `minutes`, by the clocks of `zone`.
pub(super) fn read_times(form: &Sent<SignedIn>, zone: Zone) -> Result<(DateTime<Utc>, DateTime<Utc>), WrongForm> {
    let text = |name: &str| form.field(name).unwrap_or_default().trim();
    let day: NaiveDate = text("day").parse().map_err(|_| WrongForm::of("Please give a day, as in 2026-11-25."))?;
    let time = NaiveTime::parse_from_str(text("time"), "%H:%M");
    let time = time.map_err(|_| WrongForm::of("Please give a time, as in 09:30."))?;
    let minutes = text("minutes").parse::<i64>().ok().filter(|minutes| (1..=LONGEST_MINUTES).contains(minutes));
    let minutes = minutes.ok_or(WrongForm::of("Please say how many minutes it takes: 1 to 1440."))?;
    let LocalMoment::Once(starts_at) = LocalMoment::of(zone, day.and_time(time)) else {
        return Err(WrongForm::of("On that day clocks leap over that time, or show it twice. Please choose another."));
    };
    if !is_in_years(starts_at) {
        return Err(WrongForm::of("Please give a day of the years 1900 to 9999."));
    }
    Ok((starts_at, starts_at + TimeDelta::minutes(minutes)))
}

/// Why a visit is not booked or changed, for who filled in a form; what is not theirs to mend stays an error.
pub(super) fn refusal(error: VisitError) -> Result<(StatusCode, String), Problem> {
    let words: Cow<'static, str> = match &error {
        VisitError::Taken => {
            "The doctor is already booked at that time. Nothing was changed; please choose another.".into()
        }
        VisitError::Version(_) => "It was changed meanwhile. This is what holds now; please choose once more.".into(),
        VisitError::Past => "That time is over. Nothing was changed.".into(),
        VisitError::NoPatient => "The patient is inactive or deceased, so nothing can be booked.".into(),
        VisitError::NoDoctor => "That doctor is not active here. Please choose another.".into(),
        VisitError::Length(most) => format!("That is too long. A visit takes {most} minutes at most.").into(),
        VisitError::Far(days) => format!("That is too far ahead. Visits are booked {days} days ahead at most.").into(),
        VisitError::Status(_)
        | VisitError::Order { .. }
        | VisitError::Early(_)
        | VisitError::InPerson
        | VisitError::NotTheirs
        | VisitError::NotNow(_)
        | VisitError::NoMeeting => "In this state that cannot be done. Nothing was changed.".into(),
        VisitError::Busy => {
            "A mail about it is just being handed over. Nothing was changed; please try again soon.".into()
        }
        VisitError::Unknown | VisitError::Db(_) => return Err(error.into()),
    };
    Ok((Problem::from(error).status(), words.into_owned()))
}

fn version(form: &Sent<SignedIn>) -> Result<i32, VisitError> {
    // Without one the form is none of ours, or broken: as if it were of an older state.
    form.field("version").and_then(|text| text.parse().ok()).ok_or(VisitError::Version(0))
}

/// Puts what was done on record, commits, and leads back to the visit.
async fn close(
    app: &App,
    form: &Sent<SignedIn>,
    open: Open,
    action: Option<&'static str>,
    word: &str,
) -> Result<Response, Problem> {
    let Open { mut tx, visit, .. } = open;
    if let Some(action) = action {
        let detail = json!({"version": visit.version, "sequence": visit.sequence, "reason": visit.cancel_reason});
        form.by.audit(app, &mut tx, action, ("appointment", visit.id.0), detail).await?;
    }
    tx.commit().await?;
    let word = if action.is_some() { word } else { "same" };
    Ok(to(app, &format!("/staff/appointments/{}?done={word}", visit.id)))
}

/// Shows the visit again, with why nothing was changed.
async fn again(
    app: &App,
    form: &Sent<SignedIn>,
    id: AppointmentId,
    (status, words): (StatusCode, String),
) -> Result<Response, Refused> {
    Ok(page(app, &form.by, id, status, None, Some(&words)).await?)
}

async fn confirm(State(app): State<App>, Id(id): Id<AppointmentId>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let done = async {
        let mut open = visits::to_change(&app.ctx, form.by.org, id, Some(version(&form)?)).await?;
        let changed = open.confirm(AppointmentMail::make).await?;
        Ok((open, changed))
    };
    match done.await {
        Ok((open, changed)) => {
            Ok(close(&app, &form, open, changed.then_some("appointment.confirmed"), "confirmed").await?)
        }
        Err(error) => again(&app, &form, id, refusal(error)?).await,
    }
}

async fn cancel(State(app): State<App>, Id(id): Id<AppointmentId>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let reason = form.field("reason").filter(|reason| CANCEL_REASONS.contains(reason));
    let Some(reason) = reason else {
        let words = "Please choose why it is called off.".to_owned();
        return again(&app, &form, id, (StatusCode::UNPROCESSABLE_ENTITY, words)).await;
    };
    let done = async {
        let mut open = visits::to_change(&app.ctx, form.by.org, id, Some(version(&form)?)).await?;
        let changed = open.cancel(reason, AppointmentMail::make).await?;
        Ok((open, changed))
    };
    match done.await {
        Ok((open, changed)) => {
            Ok(close(&app, &form, open, changed.then_some("appointment.cancelled"), "cancelled").await?)
        }
        Err(error) => again(&app, &form, id, refusal(error)?).await,
    }
}

async fn move_(State(app): State<App>, Id(id): Id<AppointmentId>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let mut tx = form.by.begin(&app).await?;
    let visit = store::one(tx.conn(), id).await?.ok_or_else(|| Problem::from(VisitError::Unknown))?;
    tx.commit().await?;
    let zone: Zone = visit.zone.parse().unwrap_or(Zone::UTC);
    let (starts_at, ends_at) = match read_times(&form, zone) {
        Ok(times) => times,
        Err(WrongForm(words)) => return again(&app, &form, id, (StatusCode::UNPROCESSABLE_ENTITY, words)).await,
    };
    let doctor = form.field("doctor").and_then(|id| id.parse().ok());
    let to = Change { starts_at: Some(starts_at), ends_at: Some(ends_at), doctor, ..Change::default() };
    let done = async {
        let mut open = visits::to_change(&app.ctx, form.by.org, id, Some(version(&form)?)).await?;
        let changed = open.move_to(to, AppointmentMail::make).await?;
        Ok((open, changed))
    };
    match done.await {
        Ok((open, changed)) => Ok(close(&app, &form, open, changed.then_some("appointment.moved"), "moved").await?),
        Err(error) => again(&app, &form, id, refusal(error)?).await,
    }
}
