//! `/v1/jobs`: the work that an organization's changes have caused.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::ids::JobId;
use pulsecal_core::store::listing::{self, JOB_STATES, OrgJob};
use uuid::Uuid;

use crate::access::Tenant;
use crate::app::App;
use crate::paging::{self, Wanted};
use crate::params::Params;
use crate::problem::Problem;

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/jobs", get(list))
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
