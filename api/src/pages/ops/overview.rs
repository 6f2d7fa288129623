//! The overview: queues, processes, backups; pausing a queue.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::ledger::Queue;
use pulsecal_core::operate;
use pulsecal_core::store::backups::{self, BackupRow};
use pulsecal_core::store::{alarms, console, control, ops};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{back, note, shown, shown_if, span};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::{Ops, Sent};
use crate::params::Params;
use crate::problem::Problem;

/// What was read is shown to all who ask within this time: reading it goes through all live jobs.
const FRESH: Duration = Duration::from_secs(2);

/// So many runs of the backup are shown.
const BACKUPS: i64 = 10;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new().route("/ops", get(show)).route("/ops/queues/{queue}/{verb}", post(act))
}

/// The overview as it was read last. One request reads, the others wait for it.
#[derive(Debug, Default)]
pub(crate) struct SeenLately(Mutex<Option<(Instant, Arc<Value>)>>);

async fn show(State(app): State<App>, by: Ops, mut params: Params) -> Result<Response, Problem> {
    let did = params.text("did");
    params.finish()?;
    let mut view = (*read(&app, &by, did.is_none()).await?).clone();
    view["at"] = json!("/ops");
    view["note"] = json!(note(did.as_deref()));
    desk::page(&app, Some(&by.0), StatusCode::OK, "ops", view)
}

async fn read(app: &App, by: &Ops, lately: bool) -> Result<Arc<Value>, Problem> {
    let mut seen = app.seen_lately.0.lock().await;
    if let Some((_, view)) = seen.as_ref().filter(|(at, _)| lately && at.elapsed() < FRESH) {
        return Ok(view.clone());
    }
    let mut tx = by.begin(app).await?;
    let now = tx.now();
    let live = console::queues(tx.conn()).await?;
    let paused = control::paused(tx.conn()).await?;
    let rates = ops::rates(tx.conn()).await?;
    let processes = ops::processes(tx.conn()).await?;
    let runs = backups::newest(tx.conn(), BACKUPS).await?;
    let raised = alarms::raised(tx.conn()).await?;
    let proven = backups::newest_proven(tx.conn()).await?;
    tx.commit().await?;
    let queues: Vec<Value> = Queue::ALL
        .iter()
        .map(|queue| {
            let name = queue.as_str();
            let found = live.iter().find(|line| line.queue == name);
            let rate = rates.iter().find(|line| line.queue == name);
            json!({
                "name": name,
                "paused": paused.iter().any(|paused| paused == name),
                "ready": found.map_or(0, |line| line.ready),
                "scheduled": found.map_or(0, |line| line.scheduled),
                "running": found.map_or(0, |line| line.running),
                "oldest": found.filter(|line| line.ready > 0).map(|line| span(line.oldest_seconds)),
                "done": rate.map_or(0, |line| line.done),
                "other": rate.map_or(0, |line| line.other),
            })
        })
        .collect();
    let processes: Vec<Value> = processes
        .iter()
        .map(|line| {
            let silent = (now - line.beat_at).as_seconds_f64();
            json!({
                "kind": line.kind,
                "id": line.id,
                "host": line.host,
                "pid": line.pid,
                "queues": line.queues.trim_matches(['{', '}']).to_lowercase(),
                "since": shown(line.started_at),
                "beat": span(silent),
                "silent": silent > 6.0,
                "stopping": line.stopping,
                "running": line.running,
            })
        })
        .collect();
    let view = Arc::new(json!({
        "queues": queues,
        "processes": processes,
        "backups": runs.iter().map(|run| backup(run, now)).collect::<Vec<_>>(),
        "last_drill": runs.iter().filter_map(|run| run.drilled_at).max().map(|at| span((now - at).as_seconds_f64())),
        "last_proven": proven.map(|at| span((now - at).as_seconds_f64())),
        "alarms": raised
            .iter()
            .map(|(alarm, since)| json!({"name": alarm.as_str(), "says": alarm.says(), "since": shown(*since)}))
            .collect::<Vec<_>>(),
        "now": shown(now),
    }));
    *seen = Some((Instant::now(), view.clone()));
    Ok(view)
}

fn backup(run: &BackupRow, now: DateTime<Utc>) -> Value {
    let age = (now - run.started_at).as_seconds_f64();
    json!({
        "started_at": shown(run.started_at),
        "age": span(age),
        "state": run.state,
        "tone": match run.state.as_str() { "succeeded" => "good", "failed" => "bad", _ => "" },
        "problem": run.problem.as_deref().or(run.drill_problem.as_deref()),
        "mebibytes": run.bytes.map(|bytes| format!("{} MiB", (bytes + 1_048_575) / 1_048_576)),
        "verified_at": shown_if(run.verified_at),
        "drilled_at": shown_if(run.drilled_at),
        "drill_took": run.drill_seconds.map(span),
    })
}

async fn act(
    State(app): State<App>,
    Path((queue, verb)): Path<(String, String)>,
    form: Sent<Ops>,
) -> Result<Response, Problem> {
    let nothing = || Problem::not_found("There is nothing at this address.");
    let by = &form.by;
    let queue: Queue = queue.parse().map_err(|_| nothing())?;
    let pause = match verb.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(nothing()),
    };
    let mut tx = by.begin(&app).await?;
    let changed = operate::set_paused(&mut tx, by.0.actor(), queue, pause).await?;
    tx.commit().await?;
    let did = match (changed, pause) {
        (false, _) => "as_before",
        (true, true) => "paused",
        (true, false) => "resumed",
    };
    Ok(back(&app, "/ops", did))
}
