//! `/staff`: what the people of a clinic see of its patients, visits and mail, and what they do about visits. Each page works
//! without a script; times are said in the clinic's zone, a visit's in its own.

mod agenda;
mod messages;
mod patient;
mod patients;
mod visit;

pub(super) use self::patient::{dose_word, medicine_view};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use pulsecal_core::store::organizations;
use pulsecal_core::store::pages::visits::VisitLine;
use pulsecal_core::store::{DbError, Tx};
use pulsecal_core::time::Zone;
use pulsecal_core::tokens::TokenScope;
use pulsecal_core::visits::{is_off, is_open};
use serde_json::{Value, json};

use super::desk;
use super::session::SignedIn;
use crate::app::App;
use crate::problem::Problem;

/// So many doctors are offered to choose from.
const DOCTORS: i64 = 200;

/// The routes under `/staff`, but for the exports.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/staff", get(home))
        .merge(agenda::router())
        .merge(patients::router())
        .merge(patient::router())
        .merge(visit::router())
        .merge(messages::router())
}

/// Where a day begins: the agenda, for whom it is for.
async fn home(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    if person.may(TokenScope::AppointmentsRead) {
        return Ok(to(&app, "/staff/agenda"));
    }
    desk::page(&app, Some(&person), StatusCode::OK, "staff", json!({"at": "/staff"}))
}

/// To another page.
fn to(app: &App, path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}{path}", app.base_path))]).into_response()
}

/// The zone of their clinic.
pub(super) async fn home_zone(tx: &mut Tx, person: &SignedIn) -> Result<Zone, DbError> {
    Ok(organizations::zone(tx.conn(), person.org).await?.parse().unwrap_or(Zone::UTC))
}

/// As in "Thu 26 Nov 2026, 09:30".
pub(super) fn moment(zone: Zone, at: DateTime<Utc>) -> String {
    zone.local(at).format("%a %-d %b %Y, %H:%M").to_string()
}

/// A visit, as pages show it.
pub(super) fn visit_view(line: &VisitLine, now: DateTime<Utc>) -> Value {
    let zone = line.zone.parse().unwrap_or(Zone::UTC);
    let open = is_open(&line.status);
    let (word, tone) = match line.status.as_str() {
        status if is_off(status) => (status, "bad"),
        "noshow" => ("did not come", "bad"),
        "booked" if line.confirmed => ("confirmed", "good"),
        "proposed" | "pending" | "waitlist" => ("asked for", "mid"),
        other => (other, ""),
    };
    json!({
        "id": line.id,
        "patient_id": line.patient,
        "patient": line.patient_name,
        "doctor": line.doctor_name,
        "day": zone.local(line.starts_at).format("%a %-d %b %Y").to_string(),
        "from": zone.local(line.starts_at).format("%H:%M").to_string(),
        "to": zone.local(line.ends_at).format("%H:%M").to_string(),
        "zone": line.zone,
        "status": word,
        "tone": tone,
        "kind": line.kind.replace('_', " "),
        "online": line.mode == "virtual",
        "place": line.place,
        "move_asked": line.move_asked && open,
        "now": open && line.starts_at <= now && line.ends_at > now,
        "ahead": open && line.starts_at > now,
    })
}
