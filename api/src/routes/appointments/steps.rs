//! The steps of the day of a visit. Each twice changes nothing.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use pulsecal_core::ids::AppointmentId;
use pulsecal_core::visits::Open;
use pulsecal_jobs::AppointmentMail;

use super::{close, open};
use crate::access::Writer;
use crate::app::App;
use crate::fields::JsonBody;
use crate::params::Id;
use crate::problem::Problem;

/// The visit that is meant, opened: its body may name a version, and nothing else.
async fn opened(
    app: &App,
    by: &Writer,
    id: AppointmentId,
    headers: &HeaderMap,
    body: Option<JsonBody>,
) -> Result<Open, Problem> {
    let mut fields = JsonBody::fields_or_none(body)?;
    let version = fields.optional::<i32>("version");
    fields.finish()?;
    open(app, by, id, headers, version).await
}

pub(super) async fn check_in(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut open = opened(&app, &by, id, &headers, body).await?;
    let done = open.check_in().await?;
    close(&app, &by, open, done.then_some("appointment.checked_in")).await
}

pub(super) async fn start(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut open = opened(&app, &by, id, &headers, body).await?;
    let done = open.start().await?;
    close(&app, &by, open, done.then_some("appointment.started")).await
}

pub(super) async fn complete(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut open = opened(&app, &by, id, &headers, body).await?;
    let done = open.complete().await?;
    close(&app, &by, open, done.then_some("appointment.completed")).await
}

pub(super) async fn decline(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut open = opened(&app, &by, id, &headers, body).await?;
    let done = open.decline(AppointmentMail::make).await?;
    close(&app, &by, open, done.then_some("appointment.declined")).await
}

pub(super) async fn no_show(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AppointmentId>,
    headers: HeaderMap,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut open = opened(&app, &by, id, &headers, body).await?;
    let done = open.no_show().await?;
    close(&app, &by, open, done.then_some("appointment.no_show")).await
}
