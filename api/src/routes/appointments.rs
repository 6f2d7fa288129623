//! `/v1/appointments`: visits are booked, moved, confirmed and cancelled. Each of these is one transaction, with its audit entry
//! and the mail that it causes.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use pulsecal_core::ids::{AppointmentId, PersonId};
use pulsecal_core::store::visits::{self as store, Visit, VisitFilter};
use pulsecal_core::time::Zone;
use pulsecal_core::visits::{
    self, Booking, CANCEL_REASONS, Change, KINDS, MODES, Open, STATUSES, VisitError, state_of,
};
use pulsecal_jobs::AppointmentMail;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, if_match};
use crate::paging::{self, StartsAfter, Wanted};
use crate::params::{Id, Params, WRONG_YEAR, is_in_years};
use crate::problem::Problem;

mod contract;
mod session;
mod steps;

pub(super) use contract::contract;

/// Visits are booked so far ahead at most.
const FARTHEST: TimeDelta = TimeDelta::days(5 * 366);

/// The longest place and address of a meeting, in characters.
const PLACE: usize = 300;
const MEETING_URL: usize = 1000;

/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["starts_at", "-starts_at"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/appointments", get(list).post(book))
        .route("/appointments/{id}", get(one))
        .route("/appointments/{id}/move", post(move_))
        .route("/appointments/{id}/cancel", post(cancel))
        .route("/appointments/{id}/confirm", post(confirm))
        .route("/appointments/{id}/check-in", post(steps::check_in))
        .route("/appointments/{id}/start", post(steps::start))
        .route("/appointments/{id}/complete", post(steps::complete))
        .route("/appointments/{id}/decline", post(steps::decline))
        .route("/appointments/{id}/no-show", post(steps::no_show))
        .route("/appointments/{id}/session", get(session::one))
        .route("/appointments/{id}/session/join", post(session::join))
}

/// A visit, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Appointment)]
struct Shown {
    id: AppointmentId,
    patient_id: PersonId,
    doctor_id: Option<PersonId>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// The zone its times are said in …
    zone: String,
    /// … and its begin as clocks show it there.
    #[schema(format = DateTime)]
    local: Option<String>,
    #[schema(schema_with = contract::status)]
    status: String,
    /// The state as a clinic names it. One that was moved is confirmed, for its new time.
    #[schema(schema_with = contract::state)]
    state: &'static str,
    kind: String,
    #[schema(schema_with = contract::mode)]
    mode: String,
    place: Option<String>,
    meeting_url: Option<String>,
    sequence: i32,
    confirmed_by_patient_at: Option<DateTime<Utc>>,
    move_asked_at: Option<DateTime<Utc>>,
    /// The clinic is closed then: it was booked or moved so by staff.
    outside_hours: bool,
    cancel_reason: Option<String>,
    cancelled_at: Option<DateTime<Utc>>,
    checked_in_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Visit> for Shown {
    fn from(v: Visit) -> Self {
        let zone = v.zone.parse::<Zone>().ok();
        Self {
            state: state_of(&v),
            id: v.id,
            patient_id: v.patient,
            doctor_id: v.doctor,
            starts_at: v.starts_at,
            ends_at: v.ends_at,
            local: zone.map(|zone| v.starts_at.with_timezone(&zone.tz()).to_rfc3339()),
            zone: v.zone,
            status: v.status,
            kind: v.kind,
            mode: v.mode,
            place: v.place,
            meeting_url: v.meeting_url,
            sequence: v.sequence,
            confirmed_by_patient_at: v.confirmed_by_patient_at,
            move_asked_at: v.move_asked_at,
            outside_hours: v.outside_hours,
            cancel_reason: v.cancel_reason,
            cancelled_at: v.cancelled_at,
            checked_in_at: v.checked_in_at,
            started_at: v.started_at,
            completed_at: v.completed_at,
            created_at: v.created_at,
            updated_at: v.updated_at,
            version: v.version,
        }
    }
}

/// What stands in the way, in words.
impl From<VisitError> for Problem {
    fn from(error: VisitError) -> Self {
        match error {
            VisitError::Unknown => Self::not_found("There is no such appointment."),
            VisitError::NoPatient => Self::field("patient_id", "there is no such active patient"),
            VisitError::NoDoctor => Self::field("doctor_id", "there is no such active doctor"),
            VisitError::Taken => {
                Self::conflict("The doctor is already booked at that time. Nothing was changed; choose another time.")
            }
            VisitError::Version(now) => {
                Self::conflict(format!("The appointment was changed meanwhile and is at version {now}; read it again."))
            }
            VisitError::Status(status) => {
                Self::conflict(format!("The appointment is {status}, so that cannot be done."))
            }
            VisitError::Order { state, first } => {
                Self::conflict(format!("The appointment is {}: {first}", state.replace('_', " ")))
            }
            VisitError::InPerson => Self::conflict("The appointment is in person: it has no session online."),
            VisitError::NotTheirs => {
                Self::not_now("The appointment is with another doctor, and only its doctor joins it.")
            }
            VisitError::NotNow(window) => {
                let [opens, closes] =
                    [window.opens_at, window.closes_at].map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
                Self::not_now(format!("It may be joined from {opens} until {closes}."))
            }
            VisitError::NoMeeting => Self::conflict(
                "Nobody said where it takes place: give the appointment a meeting_url, or the organization a meeting_url_template.",
            ),
            VisitError::Early(0) => Self::conflict("The appointment has not begun yet."),
            VisitError::Early(hours) => Self::conflict(format!("That is too early: {hours} hours before it at most.")),
            VisitError::Past => Self::conflict("That time is over."),
            VisitError::Length(most) => {
                Self::field("ends_at", format!("must be after starts_at, by {most} minutes at most"))
            }
            VisitError::Far(most) => Self::field("starts_at", format!("must be {most} days ahead at most")),
            VisitError::Busy => Self::unavailable(
                "A mail about this appointment is being handed to the mail server. Nothing was changed; please try again in a moment.",
                2,
            ),
            VisitError::Db(error) => Self::from(error),
        }
    }
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<StartsAfter> = paging::wanted(&mut params);
    let filter = VisitFilter {
        from: params.instant("from"),
        to: params.instant("to"),
        doctor: params.parsed("doctor"),
        patient: params.parsed("patient"),
        status: params.one_of("status", &STATUSES),
    };
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let after = wanted.after.map(|place| (place.0.at, place.0.id));
    let rows = store::list(tx.conn(), tenant.org(), filter, way, after, wanted.rows).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient)).await?;
    Ok(wanted.page(rows, |row| StartsAfter::of(row.starts_at, row.id.0), Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<AppointmentId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = store::one(tx.conn(), id).await?.ok_or(VisitError::Unknown)?;
    tenant.saw(&app, tx, "appointment", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

fn one_of(fields: &mut Fields, name: &str, given: Option<&str>, words: &[&str]) {
    if given.is_some_and(|given| !words.contains(&given)) {
        fields.wrong(name, format!("must be one of {}", words.join(", ")));
    }
}

/// What is said about time and place, when booking and when moving.
struct Said {
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
    doctor: Option<PersonId>,
    zone: Option<Zone>,
    mode: Option<String>,
    place: Option<Option<String>>,
    meeting_url: Option<Option<String>>,
}

impl Said {
    fn read(fields: &mut Fields, now: DateTime<Utc>) -> Self {
        let said = Self {
            starts_at: fields.set("starts_at"),
            ends_at: fields.set("ends_at"),
            doctor: fields.set("doctor_id"),
            zone: fields.set("zone"),
            mode: fields.set("mode"),
            place: fields.change("place"),
            meeting_url: fields.change("meeting_url"),
        };
        for (name, at) in [("starts_at", said.starts_at), ("ends_at", said.ends_at)] {
            if at.is_some_and(|at| at.second() != 0 || at.nanosecond() != 0) {
                fields.wrong(name, "must be a whole minute");
            } else if at.is_some_and(|at| !is_in_years(at)) {
                fields.wrong(name, WRONG_YEAR);
            } else if at.is_some_and(|at| at > now + FARTHEST) {
                fields.wrong(name, "is too far ahead: five years at most");
            }
        }
        one_of(fields, "mode", said.mode.as_deref(), &MODES);
        fields.check_length("place", said.place.iter().flatten().next().map(String::as_str), PLACE);
        if let Some(Some(url)) = &said.meeting_url {
            let fine = url::Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.username().is_empty());
            if !fine || url.len() > MEETING_URL {
                fields.wrong("meeting_url", format!("must be an https address of {MEETING_URL} characters at most"));
            }
        }
        if said.mode.as_deref() == Some("in_person") && matches!(said.meeting_url, Some(Some(_))) {
            fields.wrong("meeting_url", "has a meaning only when the mode is virtual");
        }
        said
    }
}

async fn book(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let patient = fields.required::<PersonId>("patient_id");
    let kind = fields.optional::<String>("kind");
    one_of(&mut fields, "kind", kind.as_deref(), &KINDS);
    let requested = fields.set::<bool>("requested").unwrap_or(false);
    let said = Said::read(&mut fields, app.ctx.clock.now());
    for (name, missing) in [
        ("doctor_id", said.doctor.is_none()),
        ("starts_at", said.starts_at.is_none()),
        ("ends_at", said.ends_at.is_none()),
    ] {
        if missing && !fields.is_wrong(name) {
            fields.wrong(name, "is needed");
        }
    }
    let mode = said.mode.unwrap_or_else(|| "in_person".to_owned());
    if mode == "in_person" && matches!(said.meeting_url, Some(Some(_))) && !fields.is_wrong("meeting_url") {
        fields.wrong("meeting_url", "has a meaning only when the mode is virtual");
    }
    fields.finish()?;
    let (Some(patient), Some(doctor), Some(starts_at), Some(ends_at)) =
        (patient, said.doctor, said.starts_at, said.ends_at)
    else {
        return Err(Problem::internal("a required field was missing and not recorded"));
    };
    let booking = Booking {
        patient,
        doctor,
        starts_at,
        ends_at,
        zone: said.zone,
        kind: kind.unwrap_or_else(|| "other".to_owned()),
        mode,
        place: said.place.flatten(),
        meeting_url: said.meeting_url.flatten(),
        requested,
    };
    let Open { mut tx, visit, .. } = visits::book(&app.ctx, by.org(), booking, AppointmentMail::make).await?;
    let detail = json!({"patient": visit.patient, "doctor": visit.doctor, "outside_hours": visit.outside_hours});
    by.audit(&app, &mut tx, "appointment.booked", "appointment", visit.id.0, detail).await?;
    let location = format!("{}/v1/appointments/{}", app.base_path, visit.id);
    by.close(tx, created(&location, visit.version, &Shown::from(visit))).await
}

/// Opens a visit for a change of the version that the request means, by `version` in its body or by `If-Match`.
async fn open(
    app: &App,
    by: &Writer,
    id: AppointmentId,
    headers: &HeaderMap,
    said: Option<i32>,
) -> Result<Open, Problem> {
    let header = if_match(headers)?;
    match visits::to_change(&app.ctx, by.org(), id, said.or(header)).await {
        Err(VisitError::Version(now)) if said.is_none() => Err(Problem::version_mismatch(now)),
        other => Ok(other?),
    }
}

/// Adds the audit entry of what was done, commits, and shows the visit as it is now.
async fn close(app: &App, by: &Writer, open: Open, done: Option<&'static str>) -> Result<Response, Problem> {
    let Open { mut tx, visit, .. } = open;
    if let Some(action) = done {
        let detail = json!({"version": visit.version, "sequence": visit.sequence, "reason": visit.cancel_reason});
        by.audit(app, &mut tx, action, "appointment", visit.id.0, detail).await?;
    }
    by.close(tx, versioned(visit.version, &Shown::from(visit))).await
}

/// Gives a visit another time, place or doctor. The time that it has already changes nothing.
async fn move_(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let version = fields.optional::<i32>("version");
    let said = Said::read(&mut fields, app.ctx.clock.now());
    fields.finish()?;
    let to = Change {
        starts_at: said.starts_at,
        ends_at: said.ends_at,
        doctor: said.doctor,
        zone: said.zone,
        mode: said.mode,
        place: said.place,
        meeting_url: said.meeting_url,
    };
    let mut open = open(&app, &by, id, &headers, version).await?;
    let moved = open.move_to(to, AppointmentMail::make).await?;
    close(&app, &by, open, moved.then_some("appointment.moved")).await
}

/// Calls a visit off. Twice changes nothing.
async fn cancel(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut fields = JsonBody::fields_or_none(body)?;
    let version = fields.optional::<i32>("version");
    let reason = fields.optional::<String>("reason").unwrap_or_else(|| "clinic".to_owned());
    one_of(&mut fields, "reason", Some(&reason), &CANCEL_REASONS);
    fields.finish()?;
    let mut open = open(&app, &by, id, &headers, version).await?;
    let cancelled = open.cancel(&reason, AppointmentMail::make).await?;
    close(&app, &by, open, cancelled.then_some("appointment.cancelled")).await
}

/// Records that the patient said they will come. Twice changes nothing.
async fn confirm(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut fields = JsonBody::fields_or_none(body)?;
    let version = fields.optional::<i32>("version");
    fields.finish()?;
    let mut open = open(&app, &by, id, &headers, version).await?;
    let confirmed = open.confirm(AppointmentMail::make).await?;
    close(&app, &by, open, confirmed.then_some("appointment.confirmed")).await
}
