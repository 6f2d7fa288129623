//! `/staff/patients/{id}`: one patient, with visits, medicines and their reminders, and what was sent; and booking a visit.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::doses::Timing;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::listing::{self, Way};
use pulsecal_core::store::pages::medicines::{self, MedicineLine};
use pulsecal_core::store::pages::visits::{ahead, past};
use pulsecal_core::store::people::{self, Patient};
use pulsecal_core::time::Zone;
use pulsecal_core::tokens::TokenScope;
use pulsecal_core::visits::{self, Booking, KINDS, Open};
use pulsecal_jobs::AppointmentMail;
use serde_json::{Value, json};

use super::messages::message_view;
use super::visit::{WrongForm, read_times, refusal};
use super::{DOCTORS, home_zone, moment, to, visit_view};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::{Refused, Sent, SignedIn};
use crate::params::Id;
use crate::problem::Problem;

/// So many visits ahead, visits that are over, medicines and messages are shown.
const AHEAD: i64 = 20;
const PAST: i64 = 5;
const MEDICINES: i64 = 50;
const MESSAGES: i64 = 15;

pub(super) fn router() -> Router<App> {
    Router::new().route("/staff/patients/{id}", get(show)).route("/staff/patients/{id}/appointments", post(book))
}

async fn show(State(app): State<App>, person: SignedIn, Id(id): Id<PersonId>) -> Result<Response, Problem> {
    page(&app, &person, id, StatusCode::OK, None).await
}

async fn page(
    app: &App,
    person: &SignedIn,
    id: PersonId,
    status: StatusCode,
    wrong: Option<&str>,
) -> Result<Response, Problem> {
    let mut tx = person.look(app).await?;
    let now = tx.now();
    let patient = people::patient(tx.conn(), id).await?;
    let patient = patient.ok_or_else(|| Problem::not_found("There is no such patient."))?;
    let home = home_zone(&mut tx, person).await?;
    let zone = patient.zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(home);
    let (mut next, mut over, mut doctors) = (Vec::new(), Vec::new(), Vec::new());
    if person.may(TokenScope::AppointmentsRead) {
        next = ahead(tx.conn(), person.org, id, now, AHEAD).await?;
        over = past(tx.conn(), person.org, id, now, PAST).await?;
    }
    if person.may(TokenScope::AppointmentsWrite) {
        doctors = people::doctors(tx.conn(), DOCTORS).await?;
    }
    let may_see_medicines = person.may(TokenScope::PrescriptionsRead) && person.may(TokenScope::RemindersRead);
    let medicines = match may_see_medicines {
        true => medicines::of_patient(tx.conn(), person.org, id, now, MEDICINES).await?,
        false => Vec::new(),
    };
    let messages = match person.may(TokenScope::MessagesRead) {
        true => listing::messages(tx.conn(), person.org, None, Some(id), Way::Down, None, MESSAGES).await?,
        false => Vec::new(),
    };
    person.saw(app, tx, Some(("person", id.0)), [id]).await?;
    let view = json!({
        "at": "/staff/patients",
        "patient": patient_view(&patient, zone, now),
        "wrong": wrong,
        "may_see_accesses": person.may(TokenScope::AuditRead),
        "may_see_visits": person.may(TokenScope::AppointmentsRead),
        "ahead": next.iter().map(|row| visit_view(row, now)).collect::<Vec<_>>(),
        "past": over.iter().map(|row| visit_view(row, now)).collect::<Vec<_>>(),
        "may_book": person.may(TokenScope::AppointmentsWrite) && patient.active && !patient.deceased,
        "doctors": doctors.iter().map(|(id, name)| json!({"id": id, "name": name, "own": *id == person.person})).collect::<Vec<_>>(),
        "kinds": KINDS.map(|kind| json!({"name": kind, "label": kind.replace('_', " ")})),
        "tomorrow": home.local(now).date().succ_opt().map(|day| day.to_string()),
        "may_see_medicines": may_see_medicines,
        "medicines": medicines.iter().map(|row| medicine_view(row, zone)).collect::<Vec<_>>(),
        "may_see_messages": person.may(TokenScope::MessagesRead),
        "messages": messages.iter().map(|row| message_view(row, home)).collect::<Vec<_>>(),
        "zone": home.name(),
    });
    desk::page(app, Some(person), status, "staff_patient", view)
}

fn patient_view(patient: &Patient, zone: Zone, now: DateTime<Utc>) -> Value {
    let privacy = match patient.privacy_level {
        0 => "that there is news",
        1 => "when and where",
        2 => "the doctor as well",
        _ => "medicines by name",
    };
    json!({
        "id": patient.id,
        "name": format!("{} {}", patient.given_name, patient.family_name),
        "born": patient.birth_date.map(|day| day.format("%-d %B %Y").to_string()),
        "age": patient.birth_date.and_then(|day| zone.local(now).date().years_since(day)),
        "email": patient.email,
        "verified": patient.email_verified_at.is_some(),
        "phone": patient.phone,
        "zone": zone.name(),
        "local": zone.local(now).format("%H:%M").to_string(),
        "language": patient.locale,
        "privacy": privacy,
        "state": if patient.deceased { Some("deceased") } else if patient.active { None } else { Some("inactive") },
    })
}

/// A medicine, as pages of staff and of the patient show it.
pub(in crate::pages) fn medicine_view(row: &MedicineLine, zone: Zone) -> Value {
    let timing = row.timing.clone().and_then(|timing| serde_json::from_value::<Timing>(timing).ok());
    let zone = row.zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(zone);
    let (word, tone) = dose_word(row.last_state.as_deref().unwrap_or_default());
    json!({
        "name": row.medicine,
        "dosage": row.dosage,
        "status": row.status.replace('_', " "),
        "in_force": row.status == "active",
        "timing": timing.map(|timing| timing.to_string()),
        "reminded": row.reminder.is_some() && row.on && row.status == "active",
        "next": row.next_at.map(|at| moment(zone, at)),
        "last": row.last_at.map(|at| moment(zone, at)),
        "last_state": word,
        "last_tone": tone,
        "zone": zone.name(),
    })
}

/// What became of a dose, in a word, and its colour.
pub(in crate::pages) fn dose_word(state: &str) -> (&str, &'static str) {
    match state {
        "planned" | "due" => ("to come", ""),
        "reminded" => ("not answered", "mid"),
        "snoozed" => ("put off", "mid"),
        "taken" => ("taken", "good"),
        "missed" => ("missed", "bad"),
        "uncertain" => ("mail uncertain", "mid"),
        other => (other, ""),
    }
}

async fn book(State(app): State<App>, Id(id): Id<PersonId>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let person = &form.by;
    let mut tx = person.begin(&app).await?;
    let home = home_zone(&mut tx, person).await?;
    tx.commit().await?;
    let booking = match read(&form, id, home) {
        Ok(booking) => booking,
        Err(WrongForm(words)) => {
            return Ok(page(&app, person, id, StatusCode::UNPROCESSABLE_ENTITY, Some(&words)).await?);
        }
    };
    match visits::book(&app.ctx, person.org, booking, AppointmentMail::make).await {
        Ok(Open { mut tx, visit, .. }) => {
            let detail =
                json!({"patient": visit.patient, "doctor": visit.doctor, "outside_hours": visit.outside_hours});
            person.audit(&app, &mut tx, "appointment.booked", ("appointment", visit.id.0), detail).await?;
            tx.commit().await?;
            Ok(to(&app, &format!("/staff/appointments/{}?done=booked", visit.id)))
        }
        Err(error) => {
            let (status, words) = refusal(error)?;
            Ok(page(&app, person, id, status, Some(&words)).await?)
        }
    }
}

/// What the form asks for.
fn read(form: &Sent<SignedIn>, patient: PersonId, home: Zone) -> Result<Booking, WrongForm> {
    let text = |name: &str| form.field(name).map(str::trim).filter(|text| !text.is_empty());
    let (starts_at, ends_at) = read_times(form, home)?;
    let doctor = text("doctor").and_then(|id| id.parse().ok()).ok_or(WrongForm::of("Please choose a doctor."))?;
    let kind = text("kind").unwrap_or("other");
    if !KINDS.contains(&kind) {
        return Err(WrongForm::of("Please choose what the visit is for."));
    }
    let place = text("place").map(str::to_owned);
    if place.as_ref().is_some_and(|place| place.chars().count() > 300) {
        return Err(WrongForm::of("The place is too long: 300 characters at most."));
    }
    Ok(Booking {
        patient,
        doctor,
        starts_at,
        ends_at,
        zone: None,
        kind: kind.to_owned(),
        mode: if text("online").is_some() { "virtual" } else { "in_person" }.to_owned(),
        place,
        meeting_url: None,
        requested: false,
    })
}
