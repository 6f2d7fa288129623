//! `/v1/patients/{id}/accesses`: who saw what is a patient's, out of the audit trail.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::audit::accesses::{Access, During, accesses};
use pulsecal_core::store::listing::Before;
use pulsecal_core::store::people;
use serde_json::json;

use crate::access::Tenant;
use crate::app::App;
use crate::contract::examples::{BEFORE, DOCTOR, MESSAGE};
use crate::contract::{Kind, Operation, kinds};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/patients/{id}/accesses", get(list))
}

/// What the contract says of it.
pub(super) fn contract() -> Vec<Operation> {
    let example = json!({
        "id": MESSAGE, "at": BEFORE, "by": "person", "person_id": DOCTOR, "name": "Dr Miriam Sommer", "role": "doctor", "action": "patient.read", "glass": false,
    });
    vec![
        Operation::new("GET", "/v1/patients/{id}/accesses", "Lists who saw or changed what is a patient's")
            .detail("Looks at anything that shows the patient, lists among them, and changes of the patient, of medical records, contacts, insurance policies and payments, and doses that staff gave. What was done to a visit or a prescription is on record under that.")
            .query("from", kinds::instant().about("From this instant on."))
            .query("to", kinds::instant().about("Until before this instant."))
            .lists::<Access>("A page of accesses, newest first.", example),
    ]
}

async fn list(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let during = During { from: params.instant("from"), to: params.instant("to") };
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    if people::patient(tx.conn(), id).await?.is_none() {
        return Err(Problem::not_found("There is no such patient."));
    }
    let most = i32::try_from(wanted.rows).unwrap_or(i32::MAX);
    let rows = accesses(tx.conn(), tenant.org(), id, during, wanted.after, most).await?;
    tenant.saw(&app, tx, "person", id.0, id).await?;
    Ok(wanted.page(rows, |row| Before { at: row.at, id: row.id }, |row| row).into_response())
}
