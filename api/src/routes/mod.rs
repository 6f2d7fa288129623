//! The JSON API under `/v1`: one file for each resource.

mod accesses;
mod appointments;
mod audit_entries;
mod chat;
mod contacts;
mod exports;
pub(crate) mod files;
mod insurances;
mod jobs;
mod join_requests;
mod medical_records;
mod members;
mod messages;
mod occurrences;
mod organization;
mod patients;
mod payments;
mod prescriptions;
mod reminders;
mod timing;

pub(crate) use medical_records::attachments::sent;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use pulsecal_core::fhir::{IdentifierFilter, SystemFilter};
use pulsecal_core::ledger::NewJob;
use pulsecal_core::store::people::IdentifierWanted;
use pulsecal_core::store::{Tx, reminders as store};
use pulsecal_jobs::MaterialiseDoses;
use serde::Serialize;

use crate::access::Writer;
use crate::app::App;
use crate::contract::Operation;
use crate::problem::Problem;

/// The resources.
pub(crate) fn v1() -> Router<App> {
    Router::new()
        .merge(patients::router())
        .merge(accesses::router())
        .merge(contacts::router())
        .merge(insurances::router())
        .merge(payments::router())
        .merge(medical_records::router())
        .merge(prescriptions::router())
        .merge(reminders::router())
        .merge(occurrences::router())
        .merge(organization::router())
        .merge(members::router())
        .merge(join_requests::router())
        .merge(appointments::router())
        .merge(chat::router())
        .merge(messages::router())
        .merge(exports::router())
        .merge(audit_entries::router())
        .merge(jobs::router())
}

/// What the contract says of them.
pub(crate) fn contract() -> Vec<Operation> {
    let parts = [
        patients::contract(),
        accesses::contract(),
        contacts::contract(),
        insurances::contract(),
        payments::contract(),
        medical_records::contract(),
        prescriptions::contract(),
        reminders::contract(),
        occurrences::contract(),
        organization::contract(),
        members::contract(),
        join_requests::contract(),
        appointments::contract(),
        chat::contract(),
        messages::contract(),
        exports::contract(),
        files::contract(),
        audit_entries::contract(),
        jobs::contract(),
    ];
    parts.into_iter().flatten().collect()
}

/// An answer with the version of what it shows, for `If-Match`.
fn versioned<T: Serialize>(version: i32, shown: &T) -> Response {
    (etag(version), Json(shown)).into_response()
}

fn etag(version: i32) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

/// The answer to a write that made something: where it is, and what it is.
fn created<T: Serialize>(location: &str, version: i32, shown: &T) -> Response {
    let mut response = (axum::http::StatusCode::CREATED, versioned(version, shown)).into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Has the planner look at what this transaction changed, as soon as it has committed.
async fn plan_soon(tx: &mut Tx, by: &Writer) -> Result<(), Problem> {
    let planning = NewJob::of(&MaterialiseDoses {})?;
    Ok(store::plan_soon(tx, by.org(), planning).await?)
}

/// From when on the planner is to look: a little in the past, so that a worker whose clock is behind looks too.
fn plan_at(tx: &Tx) -> chrono::DateTime<chrono::Utc> {
    tx.now() - chrono::TimeDelta::minutes(1)
}

/// An identifier filter, as the store takes it.
fn identifier(filter: &IdentifierFilter) -> IdentifierWanted<'_> {
    IdentifierWanted {
        system: match &filter.system {
            SystemFilter::Any => None,
            SystemFilter::None => Some(""),
            SystemFilter::Is(system) => Some(system),
        },
        value: filter.value.as_deref(),
    }
}
