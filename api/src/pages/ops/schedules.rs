//! Schedules: last and next slot, pause, resume, run now.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::operate::{self, RunNow};
use pulsecal_core::store::ops;
use serde_json::{Value, json};

use super::{back, note, shown_if};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::{Ops, Sent};
use crate::params::Params;
use crate::problem::Problem;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new().route("/ops/schedules", get(list)).route("/ops/schedules/{name}/{verb}", post(act))
}

async fn list(State(app): State<App>, by: Ops, mut params: Params) -> Result<Response, Problem> {
    let did = params.text("did");
    params.finish()?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let rows = ops::schedules(tx.conn()).await?;
    tx.commit().await?;
    let schedules: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "cron": row.cron,
                "zone": row.zone,
                "job": row.job,
                "enabled": row.enabled,
                "overlap": row.overlap,
                "misfire": row.misfire,
                "next_slot": shown_if(row.next_slot),
                "late": row.enabled && row.next_slot.is_some_and(|next| (now - next).num_seconds() > 60),
                "last_slot": shown_if(row.last_slot),
                "last_decision": row.last_decision,
                "last_reason": row.last_reason,
                "last_job": row.last_job,
                "last_state": row.last_state,
            })
        })
        .collect();
    let view = json!({"at": "/ops/schedules", "note": note(did.as_deref()), "schedules": schedules, "press": now.to_rfc3339()});
    desk::page(&app, Some(&by.0), StatusCode::OK, "ops_schedules", view)
}

async fn act(
    State(app): State<App>,
    Path((name, verb)): Path<(String, String)>,
    form: Sent<Ops>,
) -> Result<Response, Problem> {
    let by = &form.by;
    let mut tx = by.begin(&app).await?;
    let did = match verb.as_str() {
        "pause" | "resume" => match operate::set_enabled(&mut tx, by.0.actor(), &name, verb == "resume").await? {
            None => "unknown",
            Some(false) => "as_before",
            Some(true) if verb == "resume" => "resumed",
            Some(true) => "paused",
        },
        "run" => {
            let press = form.field("press").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            let press = press.map_or_else(|| tx.now(), |at| at.with_timezone(&Utc));
            match operate::run_now(&mut tx, by.0.actor(), &app.registry, &name, press).await? {
                RunNow::Enqueued(_) => "run",
                RunNow::Already => "already",
                RunNow::Overlap => "overlap",
                RunNow::Unknown => "unknown",
                RunNow::Unreadable => "unreadable",
            }
        }
        _ => return Err(Problem::not_found("There is nothing at this address.")),
    };
    // What did nothing has nothing to commit.
    if !matches!(did, "already" | "overlap" | "unreadable") {
        tx.commit().await?;
    }
    Ok(back(&app, "/ops/schedules", did))
}
