//! Registering a patient.

use axum::extract::State;
use axum::response::Response;
use pulsecal_core::store::organizations;
use pulsecal_core::store::people::{self, Patient};
use serde_json::json;

use super::{Change, NAME, Shown, details, example};
use crate::access::Writer;
use crate::app::App;
use crate::contract::examples::PATIENT;
use crate::contract::{Body, Operation, kinds};
use crate::fields::JsonBody;
use crate::problem::Problem;
use crate::routes::created;

/// What the contract says of it.
pub(super) fn operation() -> Operation {
    let example_of_new = json!({
        "given_name": "Amina", "family_name": "Castellan", "birth_date": "1961-04-12", "email": "amina.castellan@example.org",
    });
    let new = details(Body::new("NewPatient", example_of_new))
        .required("given_name", kinds::line(NAME), "Given name.")
        .required("family_name", kinds::line(NAME), "Family name.")
        .set("duplicate_ok", kinds::flag(), "It is another person than the one of the same names and birth date.");
    Operation::new("POST", "/v1/patients", "Registers a patient")
        .detail("Nobody is registered twice by mistake: where somebody of the same names and birth date is there, the answer names them.")
        .body(new)
        .fails([there_already(PATIENT)])
        .creates::<Shown>("The patient.", example())
}

fn there_already(id: impl std::fmt::Display) -> Problem {
    Problem::conflict(format!(
        "A patient of these names and this birth date is registered: {id}. For another person of the same name send \"duplicate_ok\": true."
    ))
}

pub(super) async fn register(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    for name in ["given_name", "family_name"] {
        if fields.given(name).is_none() {
            fields.wrong(name, "is needed");
        }
    }
    let duplicate_ok = fields.set::<bool>("duplicate_ok").unwrap_or(false);
    let change = Change::of_new(fields, app.ctx.clock.now())?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut row = Patient {
        id: tx.new_id(),
        given_name: String::new(),
        family_name: String::new(),
        birth_date: None,
        email: None,
        email_verified_at: None,
        phone: None,
        zone: None,
        locale: None,
        privacy_level: 0,
        medicine_opt_in_at: None,
        active: true,
        deceased: false,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    change.apply(&mut row, now)?;
    // Whoever adds to an organization holds its row: of two at once, the second sees the first.
    organizations::lock(tx.conn(), by.org()).await?;
    if !duplicate_ok && let Some(known) = people::namesake(tx.conn(), by.org(), &row).await? {
        return Err(there_already(known));
    }
    people::register(tx.conn(), by.org(), &row).await?;
    let detail = json!({"privacy_level": row.privacy_level, "duplicate_ok": duplicate_ok});
    by.audit(&app, &mut tx, "patient.registered", "person", row.id.0, detail).await?;
    let location = format!("{}/v1/patients/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::of(row, &mut Vec::new()))).await
}
