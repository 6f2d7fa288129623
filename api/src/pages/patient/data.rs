//! `/p/data`: what the clinic holds of a patient, and all of it as a file (GDPR, articles 15 and 20).

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::store::attachments::{self, Attachment};
use pulsecal_core::store::contacts::{self, Contact};
use pulsecal_core::store::insurances::{self, Insurance};
use pulsecal_core::store::listing::{self, Way};
use pulsecal_core::store::pages::medicines::{MedicineLine, of_patient};
use pulsecal_core::store::pages::visits::{VisitLine, ahead, past};
use pulsecal_core::store::people::Patient;
use serde_json::{Value, json};

use super::own;
use super::payments::{self, of_payment};
use super::records::{of_own, of_record};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::problem::Problem;

/// So many rows of each sort the file holds; it says so if there are more.
const MOST: i64 = 10_000;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/data", get(show)).route("/p/data/file", get(file))
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let (patient, zone) = own(&mut tx, &person).await?;
    person.saw(&app, tx, Some(("person", person.person.0)), [person.person]).await?;
    let privacy = match patient.privacy_level {
        0 => "Mail says that there is news, and nothing else.",
        1 => "Mail says when and where, and not what for.",
        2 => "Mail names the doctor as well.",
        _ => "Mail names your medicines.",
    };
    let view = json!({
        "at": "/p/data",
        "name": format!("{} {}", patient.given_name, patient.family_name),
        "born": patient.birth_date.map(|day| day.format("%-d %B %Y").to_string()),
        "email": patient.email,
        "verified": patient.email_verified_at.is_some(),
        "phone": patient.phone,
        "zone": zone.name(),
        "own_zone": patient.zone.is_some(),
        "language": patient.locale,
        "privacy": privacy,
    });
    desk::page(&app, Some(&person), StatusCode::OK, "patient_data", view)
}

async fn file(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let now = tx.now();
    let (org, id) = (person.org, person.person);
    let (patient, zone) = own(&mut tx, &person).await?;
    let mut visits = past(tx.conn(), org, id, now, MOST).await?;
    visits.reverse();
    visits.extend(ahead(tx.conn(), org, id, now, MOST).await?);
    let medicines = of_patient(tx.conn(), org, id, now, MOST).await?;
    let records = of_own(&mut tx, &person, None, MOST).await?;
    let files = attachments::of_patient(tx.conn(), org, id, MOST).await?;
    let contacts = contacts::held_of_patient(tx.conn(), id, MOST).await?;
    let policies = insurances::of_patient(tx.conn(), org, id, MOST).await?;
    let payments = payments::of_own(&mut tx, &person, MOST).await?;
    let messages = listing::messages(tx.conn(), org, None, Some(id), Way::Down, None, MOST).await?;
    person.saw(&app, tx, Some(("person", id.0)), [id]).await?;
    let full = usize::try_from(MOST).unwrap_or(usize::MAX);
    let complete = [
        visits.len(),
        medicines.len(),
        records.len(),
        files.len(),
        policies.len(),
        payments.len(),
        contacts.len(),
        messages.len(),
    ]
    .iter()
    .all(|rows| *rows < full);
    let document = json!({
        "clinic": person.organization,
        "made_at": now,
        "complete": complete,
        "person": of_person(&patient, zone.name()),
        "appointments": visits.iter().map(of_visit).collect::<Vec<Value>>(),
        "medicines": medicines.iter().map(of_medicine).collect::<Vec<Value>>(),
        "medical_records": records.iter().map(of_record).collect::<Vec<Value>>(),
        "attachments": files.iter().map(of_file).collect::<Vec<Value>>(),
        "insurances": policies.iter().map(of_policy).collect::<Vec<Value>>(),
        "payments": payments.iter().map(of_payment).collect::<Vec<Value>>(),
        "emergency_contacts": contacts.iter().map(of_contact).collect::<Vec<Value>>(),
        "messages": messages.iter().map(|row| json!({
            "kind": row.kind, "state": row.state, "channel": row.channel, "created_at": row.created_at, "settled_at": row.settled_at,
        })).collect::<Vec<Value>>(),
    });
    let text = serde_json::to_string_pretty(&document).map_err(|error| Problem::internal(&error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.json\""),
    ];
    Ok((headers, text).into_response())
}

fn of_person(patient: &Patient, zone: &str) -> Value {
    json!({
        "given_name": patient.given_name,
        "family_name": patient.family_name,
        "birth_date": patient.birth_date,
        "email": patient.email,
        "email_verified_at": patient.email_verified_at,
        "phone": patient.phone,
        "zone": zone,
        "language": patient.locale,
        "privacy_level": patient.privacy_level,
        "medicine_opt_in_at": patient.medicine_opt_in_at,
        "created_at": patient.created_at,
    })
}

fn of_visit(visit: &VisitLine) -> Value {
    json!({
        "starts_at": visit.starts_at,
        "ends_at": visit.ends_at,
        "zone": visit.zone,
        "doctor": visit.doctor_name,
        "status": visit.status,
        "kind": visit.kind,
        "mode": visit.mode,
        "place": visit.place,
    })
}

fn of_medicine(row: &MedicineLine) -> Value {
    json!({
        "medicine": row.medicine,
        "dosage": row.dosage,
        "status": row.status,
        "timing": row.timing,
        "reminders_on": row.on,
        "next_dose": row.next_at,
        "last_dose": row.last_at,
        "last_dose_state": row.last_state,
    })
}

/// The file itself is fetched at `/p/records`.
fn of_file(row: &Attachment) -> Value {
    json!({
        "file_name": row.file_name,
        "media_type": row.media_type,
        "bytes": row.bytes,
        "added_at": row.added_at,
        "withdrawn_at": row.withdrawn_at,
        "withdrawn_reason": row.withdrawn_reason,
    })
}

fn of_policy(row: &Insurance) -> Value {
    json!({
        "kind": row.kind,
        "provider": row.provider,
        "policy_number": row.policy_number,
        "group_number": row.group_number,
        "subscriber_name": row.subscriber_name,
        "relationship": row.relationship,
        "effective_on": row.effective_on,
        "expires_on": row.expires_on,
        "currency": row.currency,
        "copay": row.copay,
        "deductible": row.deductible,
        "ended_at": row.ended_at,
    })
}

fn of_contact(row: &Contact) -> Value {
    json!({
        "name": row.name,
        "relationship": row.relationship,
        "phone": row.phone,
        "email": row.email,
        "primary": row.primary,
        "may_decide": row.may_decide,
        "may_contact": row.may_contact,
        "consent_given_by": row.consent_given_by,
        "consent_given_at": row.consent_given_at,
        "consent_withdrawn_at": row.consent_withdrawn_at,
        "removed_at": row.removed_at,
    })
}
