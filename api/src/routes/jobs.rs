//! `/v1/jobs`: the work that an organization's changes have caused.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::ids::JobId;
use pulsecal_core::store::listing::{self, JOB_STATES, OrgJob};
use serde_json::json;
use uuid::Uuid;

use crate::access::Tenant;
use crate::app::App;
use crate::contract::examples::{BEFORE, JOB};
use crate::contract::{Kind, Operation, kinds};
use crate::paging::{self, Wanted};
use crate::params::Params;
use crate::problem::Problem;

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/jobs", get(list))
}

/// What the contract says of it.
pub(super) fn contract() -> Vec<Operation> {
    let example = json!({
        "id": JOB, "kind": "materialise_doses", "queue": "planning", "state": "done", "attempt": 1, "max_attempts": 8, "enqueued_at": BEFORE,
        "run_at": BEFORE, "started_at": BEFORE, "ended_at": BEFORE, "last_error": null,
    });
    vec![
        Operation::new("GET", "/v1/jobs", "Lists the work that the organization's changes have caused")
            .query("state", kinds::one_of(&JOB_STATES).about("In this state."))
            .lists::<OrgJob>("A page of jobs, newest first.", example),
    ]
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let state = params.one_of("state", &JOB_STATES);
    params.finish()?;
    let mut tx = tenant.begin(&app).await?;
    let before = wanted.after.map(JobId);
    let rows = listing::jobs(tx.conn(), tenant.org(), state, before, wanted.rows).await?;
    tx.commit().await?;
    Ok(wanted.page(rows, |row: &OrgJob| row.id.0, |row| row).into_response())
}
