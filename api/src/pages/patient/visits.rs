//! `/p`: a patient's visits, those to come and the last ones.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::links::VisitLink;
use pulsecal_core::store::pages::visits::{VisitLine, ahead, past};
use serde_json::{Value, json};

use super::links_until;
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::pages::staff::visit_view;
use crate::problem::Problem;

/// So many visits ahead, and so many that are over, are shown.
const AHEAD: i64 = 50;
const PAST: i64 = 20;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p", get(show))
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let now = tx.now();
    let next = ahead(tx.conn(), person.org, person.person, now, AHEAD).await?;
    let over = past(tx.conn(), person.org, person.person, now, PAST).await?;
    person.saw(&app, tx, None, [person.person]).await?;
    let line = |row: &VisitLine| {
        let mut view = visit_view(row, now);
        let link = VisitLink { org: person.org, visit: row.id };
        view["page"] = json!(format!("{}/p/a/{}", app.base_path, app.ctx.links.visit_token(link, links_until(now))));
        view
    };
    let view = json!({
        "at": "/p",
        "ahead": next.iter().map(line).collect::<Vec<Value>>(),
        "past": over.iter().map(line).collect::<Vec<Value>>(),
    });
    desk::page(&app, Some(&person), StatusCode::OK, "patient_visits", view)
}
