//! `/files/e/…`: files behind signed links. The link alone opens nothing: whoever brings it must be who it was made for.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::links::LinkError;
use pulsecal_core::tokens::TokenScope;

use crate::access::Access;
use crate::app::App;
use crate::exports;
use crate::problem::Problem;

/// The route.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/files/e/{token}", get(export))
}

async fn export(
    access: Access,
    State(app): State<App>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = access.allow(TokenScope::ExportsRead)?.owner();
    let link = app.ctx.links.read_export(&token, app.ctx.clock.now()).map_err(|error| match error {
        LinkError::Forged => Problem::link_unknown(),
        LinkError::Expired => Problem::link_expired(),
    })?;
    if (link.org, link.owner) != (owner.org, owner.person) {
        return Err(Problem::link_unknown());
    }
    exports::file(&app, &owner, link.export, &method, &headers).await
}
