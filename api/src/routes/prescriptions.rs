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
use utoipa::ToSchema;
use utoipa::openapi::Object;
use uuid::Uuid;

use super::patients::{Identifier, identifiers_of};
use super::{created, identifier, plan_at, plan_soon, timing, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, DOCTOR, PATIENT, PRESCRIPTION};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, LONGEST, Params};
use crate::problem::Problem;

/// The longest medicine and dosage, in characters.
const LENGTH: usize = 500;

mod change;

/// The longest instructions, in characters.
const INSTRUCTIONS: usize = 1000;
/// The most that is handed out at a time.
const MOST_QUANTITY: i32 = 100_000;
/// A medicine is handed out again no more often.
const MOST_REFILLS: i32 = 99;
/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["created", "-created"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/prescriptions", get(list).post(write))
        .route("/prescriptions/{id}", get(one).patch(change::change))
        .route("/prescriptions/{id}/refill", post(change::refill))
        .route("/prescriptions/{id}/stop", post(stop))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let new = json!({
        "patient_id": PATIENT, "prescriber_id": DOCTOR, "medicine": "Examplomycin 250 mg", "dosage": "1 tablet", "timing": timing::example(),
    });
    let new = Body::new("NewPrescription", new)
        .required("patient_id", kinds::id(), "Whose; a patient of the organization.")
        .optional("prescriber_id", kinds::id(), "A doctor or nurse of the organization.")
        .required("medicine", kinds::text(LENGTH), "The medicine.")
        .optional("dosage", kinds::text_or_empty(LENGTH), "How it is taken, in words.")
        .optional("instructions", kinds::text(INSTRUCTIONS), "What the patient is told about taking it.")
        .optional(
            "quantity",
            kinds::number(1..=MOST_QUANTITY.into()),
            "How much is handed out at a time, in units of the medicine.",
        )
        .set(
            "refills_allowed",
            kinds::number(0..=MOST_REFILLS.into()),
            "How often it may be handed out again; 0 when nothing is said.",
        )
        .other("timing", timing::or_null(), false);
    let change = Body::new("PrescriptionChange", json!({"instructions": "With a meal.", "refills_allowed": 3}))
        .optional("instructions", kinds::text(INSTRUCTIONS), "What the patient is told about taking it; null: nothing.")
        .optional(
            "quantity",
            kinds::number(1..=MOST_QUANTITY.into()),
            "How much is handed out at a time; null: not said.",
        )
        .set(
            "refills_allowed",
            kinds::number(0..=MOST_REFILLS.into()),
            "How often it may be handed out again, not less than it was.",
        );
    let identifier = kinds::like("^.+$", LONGEST, "https://clinic.example.org/rx|0815");
    vec![
        Operation::new("GET", "/v1/prescriptions", "Lists prescriptions")
            .query("patient", kinds::id().about("Of this patient."))
            .query("identifier", identifier.about("`system|value`, `|value`, `value` or `system|`."))
            .query("status", status().about("In this status."))
            .query("sort", paging::sorts(&ORDERS, "By when they were written"))
            .lists::<Shown>("A page of prescriptions.", example()),
        Operation::new("POST", "/v1/prescriptions", "Writes a prescription")
            .body(new)
            .schema("Timing", timing::schema())
            .creates::<Shown>("The prescription.", example()),
        Operation::new("GET", "/v1/prescriptions/{id}", "Shows a prescription")
            .shows_version::<Shown>("The prescription.", example()),
        Operation::new("PATCH", "/v1/prescriptions/{id}", "Changes what is said about a prescription")
            .detail("Not the medicine, its dosage or timing: stop it, and write another one. A field that is left out stays as it is.")
            .if_match()
            .body(change)
            .fails([change::not_active("stopped")])
            .shows_version::<Shown>("The prescription as it is now.", example()),
        Operation::new("POST", "/v1/prescriptions/{id}/refill", "Puts on record that the medicine was handed out again")
            .detail("Each request is one: whoever may send it twice gives it an `Idempotency-Key`.")
            .if_match()
            .body_or_none(Body::new("Refill", json!({})))
            .fails([change::no_more(3)])
            .shows_version::<Shown>("The prescription as it is now.", example()),
        Operation::new("POST", "/v1/prescriptions/{id}/stop", "Stops a prescription")
            .detail("Its coming doses go, and no message about it leaves any more. Stopping twice changes nothing.")
            .if_match()
            .fails([Problem::conflict("The prescription is completed already.")])
            .shows_version::<Shown>("The prescription as it is now.", example()),
    ]
}

fn example() -> Value {
    json!({
        "id": PRESCRIPTION, "identifiers": [], "patient_id": PATIENT, "prescriber_id": DOCTOR, "medicine": "Examplomycin 250 mg",
        "dosage": "1 tablet", "timing": timing::example(), "status": "active", "instructions": "With a meal.", "quantity": 30, "refills_allowed": 3, "refills_left": 2,
        "refilled_at": BEFORE, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

fn status() -> Object {
    kinds::one_of(&prescriptions::STATUSES)
}

/// A prescription, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Prescription)]
struct Shown {
    id: PrescriptionId,
    identifiers: Vec<Identifier>,
    patient_id: PersonId,
    prescriber_id: Option<PersonId>,
    medicine: String,
    dosage: String,
    #[schema(schema_with = timing::or_null)]
    timing: Option<Value>,
    #[schema(schema_with = status)]
    status: String,
    /// What the patient is told about taking it.
    instructions: Option<String>,
    /// How much is handed out at a time.
    quantity: Option<i32>,
    refills_allowed: i32,
    /// How often it may still be handed out again.
    refills_left: i32,
    /// When it last was.
    refilled_at: Option<DateTime<Utc>>,
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
            instructions: row.instructions,
            quantity: row.quantity,
            refills_allowed: row.refills_allowed,
            refills_left: row.refills_allowed - row.refills_used,
            refilled_at: row.refilled_at,
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
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let filter = PrescriptionFilter { patient, identifier: by_identifier.as_ref().map(identifier), status };
    let mut tx = tenant.look(&app).await?;
    let after = wanted.after.map(PrescriptionId);
    let rows = prescriptions::list(tx.conn(), tenant.org(), filter, way, after, wanted.rows).await?;
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
    supply: change::Supply,
}

impl NewPrescription {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let patient = fields.required("patient_id");
        let prescriber = fields.optional("prescriber_id");
        let medicine = fields.required::<String>("medicine");
        fields.check_length("medicine", medicine.as_deref(), LENGTH);
        let dosage = fields.optional::<String>("dosage");
        fields.check_length("dosage", dosage.as_deref().filter(|text| !text.is_empty()), LENGTH);
        let supply = change::Supply::read(&mut fields);
        timing::check_whole(&mut fields);
        let timing = fields.optional::<Timing>("timing");
        if let Some(timing) = &timing {
            timing::check(&mut fields, timing);
        }
        fields.finish()?;
        let (Some(patient), Some(medicine)) = (patient, medicine) else {
            return Err(Problem::internal("a required field was missing and not recorded"));
        };
        Ok(Self { patient, prescriber, medicine, dosage: dosage.unwrap_or_default(), timing, supply })
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
        instructions: new.supply.instructions.flatten(),
        quantity: new.supply.quantity.flatten(),
        refills_allowed: new.supply.refills_allowed.unwrap_or_default(),
        refills_used: 0,
        refilled_at: None,
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
