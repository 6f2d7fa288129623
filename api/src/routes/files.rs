//! `/files/e/…`: files behind signed links. The link alone opens nothing: whoever brings it must be who it was made for.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::links::LinkError;

use crate::access::Tenant;
use crate::app::App;
use crate::contract::Operation;
use crate::exports::{self, Owner};
use crate::pages::session::{Refused, SignedIn};
use crate::problem::Problem;

/// The route.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/files/e/{token}", get(export))
}

/// What the contract says of it.
pub(super) fn contract() -> Vec<Operation> {
    let link =
        Operation::new("GET", "/files/e/{token}", "Gives the file of an export, by the link that was made for it")
            .detail("The link alone opens nothing: whoever brings it must be who it was made for.")
            .file(303, "Sign in first.", &[], &["Location"])
            .fails([Problem::link_unknown(), Problem::link_expired()]);
    vec![super::exports::gives_file(link)]
}

async fn export(
    Either(owner): Either,
    State(app): State<App>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let link = app.ctx.links.read_export(&token, app.ctx.clock.now()).map_err(|error: LinkError| match error {
        LinkError::Forged => Problem::link_unknown(),
        LinkError::Expired => Problem::link_expired(),
    })?;
    if link.org != owner.org {
        return Err(Problem::link_unknown().into());
    }
    Ok(exports::file(&app, &owner, link.export, &method, &headers).await?)
}

/// Somebody who brings a token, or is signed in at the pages.
struct Either(Owner);

impl FromRequestParts<App> for Either {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(Tenant::from_request_parts(parts, app).await?.owner()));
        }
        let person = SignedIn::from_request_parts(parts, app).await?;
        Ok(Self(person.owner()))
    }
}
