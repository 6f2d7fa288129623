//! `/v1/appointments/{id}/session`: the session of an online visit, and joining it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use pulsecal_core::ids::AppointmentId;
use pulsecal_core::store::organizations;
use pulsecal_core::store::visits::{self as store, Visit};
use pulsecal_core::visits::{self, Joins, Open, SESSION_STATES, VisitError, Window, session_state};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::APPOINTMENT;
use crate::contract::{Body, Operation, kinds};
use crate::fields::JsonBody;
use crate::params::Id;
use crate::problem::Problem;

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let mut joined = example();
    joined["url"] = json!("https://meet.example.org/5f0a3c1e9b7d4862a1c3e5f708192a3b");
    vec![
        Operation::new("GET", "/v1/appointments/{id}/session", "Shows the session of an online visit")
            .fails([Problem::from(VisitError::InPerson)])
            .shows::<Shown>("The session.", example()),
        Operation::new("POST", "/v1/appointments/{id}/session/join", "Joins an online visit, as its doctor")
            .detail("Gives the meeting's address, in its time only. When both have joined, the visit begins. Patients join by the link in their mail.")
            .body_or_none(Body::new("SessionJoin", json!({})))
            .fails([Problem::not_now("It may be joined from 08:45 on."), Problem::from(VisitError::NoMeeting)])
            .shows::<Joined>("The session, and where it takes place.", joined),
    ]
}

fn state() -> Object {
    kinds::one_of(&SESSION_STATES)
}

fn example() -> Value {
    json!({
        "appointment_id": APPOINTMENT, "state": "scheduled", "opens_at": "2026-12-01T08:45:00Z", "closes_at": "2026-12-01T10:00:00Z",
        "is_open": false, "patient_joined_at": null, "doctor_joined_at": null, "started_at": null, "ended_at": null,
    })
}

/// A session, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct Shown {
    appointment_id: AppointmentId,
    #[schema(schema_with = state)]
    state: &'static str,
    /// It may be joined from …
    opens_at: DateTime<Utc>,
    /// … until.
    closes_at: DateTime<Utc>,
    /// It may be joined now.
    is_open: bool,
    patient_joined_at: Option<DateTime<Utc>>,
    doctor_joined_at: Option<DateTime<Utc>>,
    /// When it really began …
    started_at: Option<DateTime<Utc>>,
    /// … and ended.
    ended_at: Option<DateTime<Utc>>,
}

/// A session that one has joined.
#[derive(Serialize, ToSchema)]
#[schema(as = JoinedSession)]
struct Joined {
    #[serde(flatten)]
    session: Shown,
    /// Where it takes place.
    url: String,
}

impl Shown {
    fn of(visit: &Visit, window: Window, now: DateTime<Utc>) -> Self {
        let state = session_state(visit);
        Self {
            appointment_id: visit.id,
            state,
            opens_at: window.opens_at,
            closes_at: window.closes_at,
            is_open: window.is_open(now) && ["scheduled", "in_progress"].contains(&state),
            patient_joined_at: visit.patient_joined_at,
            doctor_joined_at: visit.doctor_joined_at,
            started_at: visit.started_at,
            ended_at: visit.completed_at,
        }
    }
}

pub(super) async fn one(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let now = tx.now();
    let visit = store::one(tx.conn(), id).await?.ok_or(VisitError::Unknown)?;
    if visit.mode != "virtual" {
        return Err(VisitError::InPerson.into());
    }
    let rules = organizations::rules(tx.conn(), tenant.org()).await?.visits;
    tenant.saw(&app, tx, "appointment", id.0, visit.patient).await?;
    Ok(Json(Shown::of(&visit, Window::of(&visit, &rules), now)).into_response())
}

pub(super) async fn join(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut open = visits::to_change(&app.ctx, by.org(), id, None).await?;
    let (url, _) = open.join(Joins::Staff(by.owner().person)).await?;
    let Open { mut tx, visit, rules } = open;
    let now = tx.now();
    by.audit(&app, &mut tx, "session.joined", "appointment", id.0, json!({"version": visit.version})).await?;
    let session = Shown::of(&visit, Window::of(&visit, &rules.visits), now);
    by.close(tx, Json(Joined { session, url }).into_response()).await
}
