//! Jobs: a list with filters, one job with all its attempts, retry and cancel.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::Queue;
use pulsecal_core::operate;
use pulsecal_core::store::console::{self, JobFilter, JobLine};
use pulsecal_core::store::control::Cancelled;
use pulsecal_core::store::listing::JOB_STATES;
use serde_json::{Value, json};

use super::{back, note, shown, shown_if, span};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::{Ops, Sent};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// Jobs on a page.
const PAGE: usize = 50;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/ops/jobs", get(list))
        .route("/ops/jobs/{id}", get(show))
        .route("/ops/jobs/{id}/{verb}", post(act))
}

async fn list(State(app): State<App>, by: Ops, mut params: Params) -> Result<Response, Problem> {
    let queues = Queue::ALL.map(Queue::as_str);
    let mut wanted = JobFilter {
        state: params.one_of("state", &JOB_STATES).map(str::to_owned),
        kind: params.text("kind"),
        queue: params.one_of("queue", &queues).map(str::to_owned),
        before: params.parsed::<JobId>("before"),
    };
    params.finish()?;
    wanted.kind = wanted.kind.map(|kind| kind.chars().take(100).collect());
    let mut tx = by.begin(&app).await?;
    let mut rows = console::jobs(tx.conn(), &wanted, 1 + i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
    tx.commit().await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let address = |before: Option<String>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            [("state", &wanted.state), ("kind", &wanted.kind), ("queue", &wanted.queue), ("before", &before)]
        {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{}/ops/jobs?{}", app.base_path, query.finish())
    };
    let mut kinds: Vec<&str> = app.registry.kinds().iter().map(|kind| kind.name).collect();
    kinds.sort_unstable();
    let view = json!({
        "at": "/ops/jobs",
        "states": JOB_STATES,
        "queues": queues,
        "kinds": kinds,
        "state": wanted.state,
        "kind": wanted.kind,
        "queue": wanted.queue,
        "jobs": rows.iter().map(line).collect::<Vec<_>>(),
        "first": wanted.before.map(|_| address(None)),
        "more": rows.last().filter(|_| more).map(|last| address(Some(last.id.to_string()))),
    });
    desk::page(&app, Some(&by.0), StatusCode::OK, "ops_jobs", view)
}

fn line(job: &JobLine) -> Value {
    json!({
        "id": job.id,
        "kind": job.kind,
        "queue": job.queue,
        "state": job.state,
        "tone": tone(&job.state),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "run_at": shown(job.run_at),
        "ended_at": shown_if(job.ended_at),
        "error": job.last_error,
        "args": job.args.to_string(),
    })
}

/// The colour of a state.
fn tone(state: &str) -> &'static str {
    match state {
        "done" => "good",
        "dead" | "lost" => "bad",
        "expired" | "cancelled" | "retry" => "mid",
        _ => "",
    }
}

async fn show(State(app): State<App>, by: Ops, Id(id): Id<JobId>, mut params: Params) -> Result<Response, Problem> {
    let did = params.text("did");
    params.finish()?;
    let mut tx = by.begin(&app).await?;
    let found = console::job(tx.conn(), id).await?;
    let now = tx.now();
    tx.commit().await?;
    let (job, tries) = found.ok_or_else(|| Problem::not_found("There is no such job, or it was too long ago."))?;
    let tries: Vec<Value> = tries
        .iter()
        .map(|attempt| {
            let took = attempt.started_at.map(|from| (attempt.ended_at.unwrap_or(now) - from).as_seconds_f64());
            json!({
                "attempt": attempt.attempt,
                "worker": attempt.worker,
                "started_at": shown_if(attempt.started_at),
                "took": took.map(|seconds| if seconds < 60.0 { format!("{seconds:.2} s") } else { span(seconds) }),
                "outcome": attempt.outcome,
                "tone": tone(&attempt.outcome),
                "error": attempt.error,
            })
        })
        .collect();
    let live = matches!(job.state.as_str(), "scheduled" | "ready" | "running");
    let view = json!({
        "at": "/ops/jobs",
        "note": note(did.as_deref()),
        "job": line(&job),
        "tries": tries,
        "dead": job.state == "dead",
        "live": live,
    });
    desk::page(&app, Some(&by.0), StatusCode::OK, "ops_job", view)
}

async fn act(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    form: Sent<Ops>,
) -> Result<Response, Problem> {
    let nothing = || Problem::not_found("There is nothing at this address.");
    let by = &form.by;
    let job: JobId = id.parse().map_err(|_| nothing())?;
    let mut tx = by.begin(&app).await?;
    let did = match verb.as_str() {
        "retry" => match operate::retry(&mut tx, by.0.actor(), job).await? {
            Some(_) => "retried",
            None => "not_dead",
        },
        "cancel" => match operate::cancel(&mut tx, by.0.actor(), job).await? {
            Cancelled::Ended => "cancelled",
            Cancelled::Told => "told",
            Cancelled::ToldBefore => "told_before",
            Cancelled::NotLive => "not_live",
        },
        _ => return Err(nothing()),
    };
    tx.commit().await?;
    Ok(back(&app, &format!("/ops/jobs/{job}"), did))
}
