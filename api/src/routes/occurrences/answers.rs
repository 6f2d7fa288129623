//! Doses that staff give in the house: taken or skipped, by the rules of the patient's own link.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use pulsecal_core::doses::answer::{self, Answered};
use pulsecal_core::ids::{OccurrenceId, PersonId, ReminderId};
use pulsecal_core::mail::DoseAnswer;
use pulsecal_core::store::reminders;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Stored, stored_example};
use crate::access::Writer;
use crate::app::App;
use crate::contract::Operation;
use crate::contract::examples::{PATIENT, REMINDER};
use crate::fields::JsonBody;
use crate::params::Id;
use crate::problem::Problem;

/// So long before it is due a dose may be given.
const EARLY: TimeDelta = TimeDelta::hours(1);

/// A dose after it was answered.
#[derive(Serialize, ToSchema)]
#[schema(as = AnsweredDose)]
struct Given {
    reminder_id: ReminderId,
    patient_id: PersonId,
    dose: Stored,
}

/// What the contract says of them.
pub(super) fn operations() -> [Operation; 2] {
    [
        ("taken", "/v1/occurrences/{id}/taken", "Records that a dose was taken"),
        ("skipped", "/v1/occurrences/{id}/skipped", "Records that a dose was skipped"),
    ]
    .map(|(state, path, does)| {
        let mut dose = stored_example();
        dose["state"] = json!(state);
        dose["settled_at"] = json!("2026-12-01T07:04:00Z");
        let example = json!({"reminder_id": REMINDER, "patient_id": PATIENT, "dose": dose});
        Operation::new("POST", path, does)
            .detail("From an hour before it is due until the next dose or a day later, as patients answer. The same twice changes nothing; the other corrects it. No reminder of it leaves any more.")
            .fails([not_in_force(), too_early(), too_late()])
            .shows::<Given>("The dose as it is now.", example)
    })
}

fn not_in_force() -> Problem {
    Problem::conflict(
        "This dose is not to be given: its reminder is off, its prescription has ended, or the patient is not active.",
    )
}

fn too_early() -> Problem {
    Problem::conflict("This dose is not due yet: it can be recorded from an hour before.")
}

fn too_late() -> Problem {
    Problem::conflict("The time to record this dose is over: it ends with the next dose, or a day after it was due.")
}

pub(super) async fn taken(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<OccurrenceId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    record(by, app, id, DoseAnswer::Taken, body).await
}

pub(super) async fn skipped(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<OccurrenceId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    record(by, app, id, DoseAnswer::Skip, body).await
}

async fn record(
    by: Writer,
    app: App,
    id: OccurrenceId,
    said: DoseAnswer,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let missing = || Problem::not_found("There is no such dose.");
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let (about, dose) = reminders::stored(tx.conn(), id).await?.ok_or_else(missing)?;
    if !about.in_force {
        return Err(not_in_force());
    }
    if now < dose.due_at - EARLY {
        return Err(too_early());
    }
    match answer::record(tx.conn(), id, said, now).await? {
        Answered::Recorded { before, .. } => {
            let detail = json!({"before": before, "patients": [about.patient]});
            by.audit(&app, &mut tx, answer::action(said), "dose_occurrence", id.0, detail).await?;
        }
        Answered::Already => {}
        Answered::TooLate | Answered::TooManySnoozes => return Err(too_late()),
        Answered::Unknown => return Err(missing()),
    }
    let (about, dose) = reminders::stored(tx.conn(), id).await?.ok_or_else(missing)?;
    let given = Given { reminder_id: about.reminder, patient_id: about.patient, dose: dose.into() };
    by.close(tx, Json(given).into_response()).await
}
