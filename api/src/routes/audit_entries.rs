//! `/v1/audit-entries`: the organization's own trail, for its administrators. Whoever reads it leaves an entry too.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::audit::trail::{self, TrailFilter, TrailLine};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::Tenant;
use crate::app::App;
use crate::contract::examples::{BEFORE, DOCTOR, JOB, MESSAGE, PATIENT};
use crate::contract::{Kind, Operation, kinds};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// So many days are looked through at a time, at most …
const MOST_DAYS: i64 = 92;
/// … and when nothing is said.
const USUAL_DAYS: i64 = 7;
/// How it ended.
const OUTCOMES: [&str; 3] = ["success", "refused", "failed"];
/// The longest name of an action, in characters.
const ACTION: usize = 60;
/// The orders of a list.
const ORDERS: [&str; 2] = ["-at", "at"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new().route("/audit-entries", get(list)).route("/audit-entries/{id}", get(one))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let action = kinds::like(r"^[a-z_]+(\.[a-z_]+)+$", ACTION, "patient.read");
    vec![
        Operation::new("GET", "/v1/audit-entries", "Lists the organization's audit trail")
            .detail("Ids and names of what was done, never what somebody wrote. Of 92 days at most; the last seven when nothing is said.")
            .query("from", kinds::instant().about("From this instant on."))
            .query("to", kinds::instant().about("Until before this instant."))
            .query("action", action.about("Of this action."))
            .query("actor", kinds::id().about("By this person."))
            .query("subject", kinds::id().about("Done to this."))
            .query("outcome", kinds::one_of(&OUTCOMES).about("That ended so."))
            .query("sort", paging::sorts(&ORDERS, "By time"))
            .lists::<Shown>("A page of entries.", example()),
        Operation::new("GET", "/v1/audit-entries/{id}", "Shows an entry of the audit trail")
            .shows::<Shown>("The entry.", example()),
    ]
}

fn example() -> Value {
    json!({
        "id": MESSAGE, "at": BEFORE, "actor_kind": "person", "actor_id": DOCTOR, "role": "doctor", "request_id": JOB, "action": "patient.read",
        "subject_type": "person", "subject_id": PATIENT, "outcome": "success", "detail": {"patients": [PATIENT]}, "seq": 4711,
    })
}

/// An entry, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Shown {
    id: Uuid,
    at: DateTime<Utc>,
    /// person, patient_link, account, token, job, schedule or operator.
    actor_kind: String,
    actor_id: Option<Uuid>,
    role: Option<String>,
    request_id: Option<Uuid>,
    action: String,
    subject_type: String,
    subject_id: Uuid,
    outcome: String,
    /// Ids, numbers and names of fields.
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    /// Its number in the chain of the organization; null: it is sealed within a moment.
    seq: Option<i64>,
}

impl From<TrailLine> for Shown {
    fn from(row: TrailLine) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor,
            role: row.role,
            request_id: row.request,
            action: row.action,
            subject_type: row.subject_type,
            subject_id: row.subject,
            outcome: row.outcome,
            detail: row.detail,
            seq: row.seq,
        }
    }
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let (from, to) = (params.instant("from"), params.instant("to"));
    let action = params.text("action");
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = |action: &str| action.contains('.') && action.split('.').all(word);
    if action.as_deref().is_some_and(|action| action.len() > ACTION || !named(action)) {
        params.wrong("action", "must be the name of an action, as in patient.read");
    }
    let (actor, subject) = (params.parsed::<PersonId>("actor"), params.parsed::<Uuid>("subject"));
    let outcome = params.one_of("outcome", &OUTCOMES);
    let (_, way) = paging::sort(&mut params, &ORDERS);
    let to = to.unwrap_or_else(|| app.ctx.clock.now() + TimeDelta::minutes(1));
    let from = from.unwrap_or(to - TimeDelta::days(USUAL_DAYS));
    if to - from > TimeDelta::days(MOST_DAYS) {
        params.wrong("from", format!("must be {MOST_DAYS} days before to at most"));
    }
    params.finish()?;
    let filter = TrailFilter { from, to, action: action.as_deref(), actor, subject, outcome };
    let mut tx = tenant.look(&app).await?;
    let rows = trail::list(tx.conn(), tenant.org(), filter, way, wanted.after, wanted.rows).await?;
    tenant.saw_list(&app, tx, []).await?;
    Ok(wanted.page(rows, |row| row.id, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<Uuid>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = trail::one(tx.conn(), tenant.org(), id).await?;
    let row = row.ok_or_else(|| Problem::not_found("There is no such entry."))?;
    tenant.saw_thing(&app, tx, "audit_entry", id).await?;
    Ok(Json(Shown::from(row)).into_response())
}
