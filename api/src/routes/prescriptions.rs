//! `/v1/prescriptions`: what a patient is to take.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::doses::Timing;
use pulsecal_core::fhir::IdentifierFilter;
use pulsecal_core::ids::{PersonId, PrescriptionId};
use pulsecal_core::store::people::{self, IdentifierRow};
use pulsecal_core::store::prescriptions::{self, Prescription, PrescriptionFilter};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::patients::{Identifier, identifiers_of};
use super::{created, identifier, plan_at, plan_soon, timing, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/prescriptions", get(list).post(write))
        .route("/prescriptions/{id}", get(one))
        .route("/prescriptions/{id}/stop", post(stop))
}

/// A prescription, as it is shown.
#[derive(Serialize)]
struct Shown {
    id: PrescriptionId,
    identifiers: Vec<Identifier>,
    patient_id: PersonId,
    prescriber_id: Option<PersonId>,
    medicine: String,
    dosage: String,
    timing: Option<Value>,
    status: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl Shown {
    fn of(row: Prescription, identifiers: &mut Vec<IdentifierRow>) -> Self {
        Self {
            identifiers: identifiers_of(identifiers, row.id.0),
            id: row.id,
            patient_id: row.patient,
            prescriber_id: row.prescriber,
            medicine: row.medicine,
            dosage: row.dosage,
            timing: row.timing,
            status: row.status,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

fn missing() -> Problem {
    Problem::not_found("There is no such prescription.")
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let patient = params.parsed::<PersonId>("patient");
    let by_identifier = params.parsed::<IdentifierFilter>("identifier");
    let status = params.one_of("status", &prescriptions::STATUSES);
    params.finish()?;
    let filter = PrescriptionFilter { patient, identifier: by_identifier.as_ref().map(identifier), status };
    let mut tx = tenant.look(&app).await?;
    let after = wanted.after.map(PrescriptionId);
    let rows = prescriptions::list(tx.conn(), tenant.org(), filter, after, wanted.rows).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    let mut identifiers = people::identifiers(tx.conn(), tenant.org(), "prescription", &ids).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient)).await?;
    let show = |row| Shown::of(row, &mut identifiers);
    Ok(wanted.page(rows, |row| row.id.0, show).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<PrescriptionId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = prescriptions::one(tx.conn(), id).await?.ok_or_else(missing)?;
    let mut identifiers = people::identifiers(tx.conn(), tenant.org(), "prescription", &[id.0]).await?;
    tenant.saw(&app, tx, "prescription", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::of(row, &mut identifiers)))
}

/// A prescription that is to be written.
struct NewPrescription {
    patient: PersonId,
    prescriber: Option<PersonId>,
    medicine: String,
    dosage: String,
    timing: Option<Timing>,
}

impl NewPrescription {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let patient = fields.required("patient_id");
        let prescriber = fields.optional("prescriber_id");
        let medicine = fields.required::<String>("medicine");
        fields.check_length("medicine", medicine.as_deref(), 500);
        let dosage = fields.optional::<String>("dosage");
        fields.check_length("dosage", dosage.as_deref().filter(|text| !text.is_empty()), 500);
        let timing = fields.optional::<Timing>("timing");
        if let Some(timing) = &timing {
            timing::check(&mut fields, timing);
        }
        fields.finish()?;
        let (Some(patient), Some(medicine)) = (patient, medicine) else {
            return Err(Problem::internal("a required field was missing and not recorded"));
        };
        Ok(Self { patient, prescriber, medicine, dosage: dosage.unwrap_or_default(), timing })
    }
}

async fn write(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let new = NewPrescription::read(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    // Foreign keys see all organizations; these look-ups see this one only.
    if people::role_of(tx.conn(), new.patient).await?.as_deref() != Some("patient") {
        return Err(Problem::field("patient_id", "there is no such patient"));
    }
    if let Some(prescriber) = new.prescriber {
        let role = people::role_of(tx.conn(), prescriber).await?;
        if !matches!(role.as_deref(), Some("doctor" | "nurse")) {
            return Err(Problem::field("prescriber_id", "there is no such doctor or nurse"));
        }
    }
    let row = Prescription {
        id: tx.new_id(),
        patient: new.patient,
        prescriber: new.prescriber,
        medicine: new.medicine,
        dosage: new.dosage,
        timing: new.timing.map(serde_json::to_value).transpose()?,
        status: "active".to_owned(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    prescriptions::insert(tx.conn(), by.org(), &row).await?;
    let detail = json!({"patient": row.patient, "prescriber": row.prescriber});
    by.audit(&app, &mut tx, "prescription.written", "prescription", row.id.0, detail).await?;
    let location = format!("{}/v1/prescriptions/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::of(row, &mut Vec::new()))).await
}

/// Stops a prescription: its coming doses go, and no message about it leaves any more. Stopping twice changes nothing.
async fn stop(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PrescriptionId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut row = prescriptions::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    match row.status.as_str() {
        "stopped" => {}
        "completed" => {
            return Err(Problem::conflict("The prescription is completed already."));
        }
        _ => {
            let at = plan_at(&tx);
            let before = std::mem::replace(&mut row.status, "stopped".to_owned());
            row.version = prescriptions::stop(tx.conn(), id, at, now).await?;
            row.updated_at = now;
            let detail = json!({"before": before, "version": row.version});
            by.audit(&app, &mut tx, "prescription.stopped", "prescription", id.0, detail).await?;
            plan_soon(&mut tx, &by).await?;
        }
    }
    let mut identifiers = people::identifiers(tx.conn(), by.org(), "prescription", &[id.0]).await?;
    by.close(tx, versioned(row.version, &Shown::of(row, &mut identifiers))).await
}
