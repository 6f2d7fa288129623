//! `/p/records`: what doctors and nurses wrote down about a patient, for the patient to read.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::store::Tx;
use pulsecal_core::store::records::{self, Order, Record, RecordFilter};
use serde_json::{Value, json};

use super::own;
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::problem::Problem;

/// So many records are shown.
const MOST: i64 = 200;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/records", get(show))
}

/// The patient's own records in a state, or in any, newest first.
pub(super) async fn of_own(
    tx: &mut Tx,
    person: &SignedIn,
    state: Option<&str>,
    most: i64,
) -> Result<Vec<Record>, Problem> {
    let filter = RecordFilter { patient: person.person, kind: None, state };
    Ok(records::list(tx.conn(), person.org, filter, Order::NewestOccurred, None, most).await?)
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let (_, zone) = own(&mut tx, &person).await?;
    // Those that were entered in error are not theirs to be worried by; the file has them.
    let rows = of_own(&mut tx, &person, Some("active"), MOST + 1).await?;
    person.saw(&app, tx, None, [person.person]).await?;
    let shown = rows.iter().take(usize::try_from(MOST).unwrap_or(usize::MAX));
    let lines: Vec<Value> = shown
        .map(|row| {
            json!({
                "day": row.sorts_on.format("%-d %B %Y").to_string(),
                "kind": kind_word(&row.kind),
                "severity": row.severity,
                "title": row.title,
                "description": row.description,
                "author": row.author_name,
                "written": zone.local(row.recorded_at).format("%-d %B %Y").to_string(),
            })
        })
        .collect();
    let more = rows.len() > lines.len();
    desk::page(
        &app,
        Some(&person),
        StatusCode::OK,
        "patient_records",
        json!({"at": "/p/records", "records": lines, "more": more}),
    )
}

/// A kind of record, for people.
fn kind_word(kind: &str) -> &str {
    match kind {
        "lab_result" => "lab result",
        other => other,
    }
}

/// A record, for the file of all that is held of a patient.
pub(super) fn of_record(row: &Record) -> Value {
    json!({
        "kind": row.kind,
        "severity": row.severity,
        "title": row.title,
        "description": row.description,
        "occurred_on": row.occurred_on,
        "recorded_at": row.recorded_at,
        "author": row.author_name,
        "state": row.state,
        "withdrawn_at": row.withdrawn_at,
        "withdrawn_reason": row.withdrawn_reason,
    })
}
