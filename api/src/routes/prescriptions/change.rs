//! What may change of a prescription, and refills of it.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use pulsecal_core::ids::PrescriptionId;
use pulsecal_core::store::{people, prescriptions};
use serde_json::json;

use super::{INSTRUCTIONS, MOST_QUANTITY, MOST_REFILLS, Shown, missing};
use crate::access::Writer;
use crate::app::App;
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::params::Id;
use crate::problem::Problem;
use crate::routes::versioned;

/// What is said about handing a medicine out; none: stays as it is.
pub(super) struct Supply {
    pub(super) instructions: Option<Option<String>>,
    pub(super) quantity: Option<Option<i32>>,
    pub(super) refills_allowed: Option<i32>,
}

impl Supply {
    pub(super) fn read(fields: &mut Fields) -> Self {
        let instructions = fields.change::<String>("instructions");
        fields.check_length("instructions", instructions.iter().flatten().next().map(String::as_str), INSTRUCTIONS);
        let quantity = fields.change::<i32>("quantity");
        if quantity.flatten().is_some_and(|quantity| !(1..=MOST_QUANTITY).contains(&quantity)) {
            fields.wrong("quantity", format!("must be 1 to {MOST_QUANTITY}"));
        }
        let refills_allowed = fields.set::<i32>("refills_allowed");
        if refills_allowed.is_some_and(|refills| !(0..=MOST_REFILLS).contains(&refills)) {
            fields.wrong("refills_allowed", format!("must be 0 to {MOST_REFILLS}"));
        }
        Self { instructions, quantity, refills_allowed }
    }
}

/// 409: it is not taken any more.
pub(super) fn not_active(status: &str) -> Problem {
    Problem::conflict(format!("The prescription is {}, so this cannot be done.", status.replace('_', " ")))
}

/// 409: no refill is left.
pub(super) fn no_more(allowed: i32) -> Problem {
    Problem::conflict(format!("All {allowed} refills were handed out. Write another prescription, or allow more."))
}

pub(super) async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PrescriptionId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let supply = Supply::read(&mut fields);
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut row = prescriptions::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    if !["active", "on_hold"].contains(&row.status.as_str()) {
        return Err(not_active(&row.status));
    }
    let before = (row.instructions.clone(), row.quantity, row.refills_allowed);
    row.instructions = supply.instructions.unwrap_or(row.instructions);
    row.quantity = supply.quantity.unwrap_or(row.quantity);
    row.refills_allowed = supply.refills_allowed.unwrap_or(row.refills_allowed);
    if row.refills_allowed < row.refills_used {
        let message = format!("must not be less than {}: so often it was handed out again", row.refills_used);
        return Err(Problem::field("refills_allowed", message));
    }
    let changed = [
        ("instructions", row.instructions != before.0),
        ("quantity", row.quantity != before.1),
        ("refills_allowed", row.refills_allowed != before.2),
    ];
    let changed: Vec<&str> = changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect();
    if !changed.is_empty() {
        prescriptions::save(tx.conn(), &mut row, now).await?;
        let detail = json!({"fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "prescription.changed", "prescription", id.0, detail).await?;
    }
    let mut identifiers = people::identifiers(tx.conn(), by.org(), "prescription", &[id.0]).await?;
    by.close(tx, versioned(row.version, &Shown::of(row, &mut identifiers))).await
}

/// Puts a refill on record. Each request is one, so whoever may send it twice gives it a key.
pub(super) async fn refill(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PrescriptionId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    // Locked: of two at once the second sees what the first has left.
    let mut row = prescriptions::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    if row.status != "active" {
        return Err(not_active(&row.status));
    }
    if row.refills_used >= row.refills_allowed {
        return Err(no_more(row.refills_allowed));
    }
    row.refills_used += 1;
    row.refilled_at = Some(now);
    prescriptions::save(tx.conn(), &mut row, now).await?;
    let detail = json!({"used": row.refills_used, "allowed": row.refills_allowed, "version": row.version});
    by.audit(&app, &mut tx, "prescription.refilled", "prescription", id.0, detail).await?;
    let mut identifiers = people::identifiers(tx.conn(), by.org(), "prescription", &[id.0]).await?;
    by.close(tx, versioned(row.version, &Shown::of(row, &mut identifiers))).await
}
