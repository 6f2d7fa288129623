//! `/v1/messages`: what was sent, what was not, and why.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::listing::{self, Before, MESSAGE_STATES};
use serde_json::json;

use crate::access::Tenant;
use crate::app::App;
use crate::contract::examples::{BEFORE, DOSE, JOB, MESSAGE, PATIENT};
use crate::contract::{Kind, Operation, kinds};
use crate::paging::{self, Wanted};
use crate::params::Params;
use crate::problem::Problem;

/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["-created", "created"];

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/messages", get(list))
}

/// What the contract says of it.
pub(super) fn contract() -> Vec<Operation> {
    let example = json!({
        "id": MESSAGE, "kind": "medication_reminder", "subject_id": DOSE, "occurrence": "first", "patient_id": PATIENT, "channel": "email",
        "message_id": "<4711@clinic.example.org>", "state": "sent", "category": "required", "privacy_level": 1, "reason": null, "job_id": JOB,
        "created_at": BEFORE, "sending_at": BEFORE, "settled_at": BEFORE,
    });
    vec![
        Operation::new("GET", "/v1/messages", "Lists what was sent, what was not, and why")
            .query("state", kinds::one_of(&MESSAGE_STATES).about("In this state."))
            .query("patient", kinds::id().about("To this patient."))
            .query("sort", paging::sorts(&ORDERS, "By when they went on record"))
            .lists::<listing::MessageLine>("A page of messages.", example),
    ]
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let state = params.one_of("state", &MESSAGE_STATES);
    let patient = params.parsed::<PersonId>("patient");
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let rows = listing::messages(tx.conn(), tenant.org(), state, patient, way, wanted.after, wanted.rows).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient_id)).await?;
    let place = |row: &listing::MessageLine| Before { at: row.created_at, id: row.id.0 };
    Ok(wanted.page(rows, place, |row| row).into_response())
}
