//! `/v1/patients/{id}/break-glass`: reading the records of a patient whom one does not treat, with a reason, for a while.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use pulsecal_core::ids::{GlassId, PersonId};
use pulsecal_core::records::{self, wrong_reason};
use pulsecal_core::store::glass::Glass;
use pulsecal_core::store::people;
use pulsecal_jobs::GlassAlarmed;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::incomplete;
use crate::access::Writer;
use crate::app::App;
use crate::fields::JsonBody;
use crate::limits::{GLASS, refused};
use crate::params::Id;
use crate::problem::Problem;

/// A broken glass, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = BrokenGlass)]
pub(super) struct Shown {
    id: GlassId,
    patient_id: PersonId,
    person_id: PersonId,
    reason: String,
    broken_at: DateTime<Utc>,
    /// Until when the patient's records are open to them.
    ends_at: DateTime<Utc>,
}

impl From<Glass> for Shown {
    fn from(row: Glass) -> Self {
        Self {
            id: row.id,
            patient_id: row.patient,
            person_id: row.person,
            reason: row.reason,
            broken_at: row.broken_at,
            ends_at: row.ends_at,
        }
    }
}

pub(super) async fn break_glass(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let reason = fields.required::<String>("reason");
    if let Some(wrong) = reason.as_deref().and_then(wrong_reason) {
        fields.wrong("reason", wrong);
    }
    fields.finish()?;
    let reason = reason.ok_or_else(incomplete)?;
    let turn = app.limits.take(GLASS, &by.owner().person.to_string()).await;
    if !turn.allowed {
        return Err(refused(&turn));
    }
    let mut tx = by.begin(&app).await?;
    if people::role_of(tx.conn(), id).await?.as_deref() != Some("patient") {
        return Err(Problem::not_found("There is no such patient."));
    }
    let who = by.owner().person;
    let glass = records::break_glass(&mut tx, by.org(), who, id, &reason, GlassAlarmed::make).await?;
    let detail = json!({"patients": [id], "glass": glass.id, "ends_at": glass.ends_at});
    by.audit(&app, &mut tx, "glass.broken", "glass_break", glass.id.0, detail).await?;
    by.close(tx, (StatusCode::CREATED, Json(Shown::from(glass))).into_response()).await
}
