//! Who saw what is a patient's: `/p/accesses` for the patient, `/staff/patients/{id}/accesses` for who may look at the trail.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::audit::accesses::{Access, During, accesses};
use pulsecal_core::store::listing::Before;
use pulsecal_core::store::people;
use serde_json::{Value, json};

use super::desk;
use super::session::SignedIn;
use super::staff::{home_zone, moment};
use crate::app::App;
use crate::paging::Cursor;
use crate::params::{Id, Params};
use crate::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/accesses", get(own)).route("/staff/patients/{id}/accesses", get(of_patient))
}

async fn own(State(app): State<App>, person: SignedIn, params: Params) -> Result<Response, Problem> {
    page(&app, &person, person.person, params, "/p/accesses").await
}

async fn of_patient(
    State(app): State<App>,
    person: SignedIn,
    Id(id): Id<PersonId>,
    params: Params,
) -> Result<Response, Problem> {
    page(&app, &person, id, params, "/staff/patients").await
}

async fn page(
    app: &App,
    person: &SignedIn,
    of: PersonId,
    mut params: Params,
    at: &'static str,
) -> Result<Response, Problem> {
    let before = params.text("before").and_then(|text| {
        let place = Before::read(&text);
        if place.is_none() {
            params.wrong("before", "must be the address of an older page");
        }
        place
    });
    params.finish()?;
    let mut tx = person.look(app).await?;
    let patient = people::patient(tx.conn(), of).await?;
    let patient = patient.ok_or_else(|| Problem::not_found("There is no such patient."))?;
    let home = home_zone(&mut tx, person).await?;
    let zone =
        patient.zone.as_deref().filter(|_| of == person.person).and_then(|zone| zone.parse().ok()).unwrap_or(home);
    let most = i32::try_from(PAGE + 1).unwrap_or(i32::MAX);
    let mut rows = accesses(tx.conn(), person.org, of, During::default(), before, most).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    person.saw(app, tx, Some(("person", of.0)), [of]).await?;
    let line = |row: &Access| {
        json!({
            "at": moment(zone, row.at),
            "who": who(row, of == person.person && row.person_id == Some(of)),
            "role": (row.by == "person").then_some(&row.role),
            "did": did(&row.action),
            "glass": row.glass,
        })
    };
    let here = match at {
        "/p/accesses" => format!("{}/p/accesses", app.base_path),
        _ => format!("{}/staff/patients/{of}/accesses", app.base_path),
    };
    let older = rows.last().filter(|_| more).map(|last| Before { at: last.at, id: last.id }.write());
    let view = json!({
        "at": at,
        "own": of == person.person,
        "patient": format!("{} {}", patient.given_name, patient.family_name),
        "rows": rows.iter().map(line).collect::<Vec<Value>>(),
        "zone": zone.name(),
        "first": before.map(|_| &here),
        "more": older.map(|older| format!("{here}?before={older}")),
    });
    desk::page(app, Some(person), StatusCode::OK, "accesses", view)
}

fn who(row: &Access, self_: bool) -> String {
    match (&row.name, row.by.as_str()) {
        _ if self_ => "you".to_owned(),
        (Some(name), _) => name.clone(),
        (None, "patient_link") => "whoever held the link in a mail to the patient".to_owned(),
        (None, "job" | "schedule") => "PulseCal, by itself".to_owned(),
        (None, "operator") => "an operator of the platform".to_owned(),
        (None, _) => "somebody who is no longer here".to_owned(),
    }
}

/// What somebody did, in words.
fn did(action: &str) -> String {
    let words = match action {
        "patient.list" => "saw the name in a list of patients",
        "patient.read" => "looked at the patient's page",
        "patient.changed" => "changed the contact data or settings",
        "patient.fetched" => "downloaded the patient's data",
        "prescription.list" | "prescription.read" => "looked at prescriptions",
        "reminder.list" | "reminder.read" | "dose.list" | "dose.read" => "looked at reminders and doses",
        "dose.taken" => "put on record that a dose was taken",
        "dose.skipped" => "put on record that a dose was skipped",
        "appointment.list" | "appointment.read" => "looked at visits",
        "record.list" | "record.read" => "looked at medical records",
        "record.written" => "wrote a medical record",
        "record.changed" => "changed a medical record",
        "record.withdrawn" => "marked a medical record as entered in error",
        "attachment.list" | "attachment.read" | "attachment.fetched" => "looked at files of medical records",
        "attachment.added" => "added a file to a medical record",
        "attachment.withdrawn" => "marked a file of a medical record as entered in error",
        "glass.broken" => "broke the glass to read medical records",
        "message.list" => "looked at what was sent",
        "access.list" => "looked at who saw what",
        "patient.invited" => "invited you to an account",
        "insurance.list" | "insurance.read" => "looked at insurance policies",
        "insurance.added" => "added an insurance policy",
        "insurance.changed" => "changed an insurance policy",
        "insurance.ended" => "ended an insurance policy",
        "payment.list" | "payment.read" | "payment.refunds_read" => "looked at payments",
        "payment.asked" => "asked for a payment",
        "payment.changed" | "payment.processed" => "changed a payment",
        "payment.completed" => "put on record that a payment was made",
        "payment.failed" => "put on record that a payment was not made",
        "payment.cancelled" => "cancelled a payment",
        "payment.refunded" => "gave back a payment",
        "contact.list" | "contact.read" => "looked at emergency contacts",
        "contact.added" => "added an emergency contact",
        "contact.changed" => "changed an emergency contact",
        "contact.removed" => "removed an emergency contact",
        "contact.consent_given" => "put the consent of an emergency contact on record",
        "contact.consent_withdrawn" => "put on record that an emergency contact withdrew consent",
        other => return other.replace(['.', '_'], " "),
    };
    words.to_owned()
}
