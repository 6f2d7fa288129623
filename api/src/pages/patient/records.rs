//! `/p/records`: what doctors and nurses wrote down about a patient, for the patient to read.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::ids::AttachmentId;
use pulsecal_core::store::Tx;
use pulsecal_core::store::attachments::{self, Attachment};
use pulsecal_core::store::records::{self, Order, Record, RecordFilter};
use serde_json::{Value, json};

use super::own;
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::params::Id;
use crate::problem::Problem;
use crate::routes::sent;

/// So many records are shown.
const MOST: i64 = 200;
/// So many files are looked through for them.
const MOST_FILES: i64 = 4_000;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/records", get(show)).route("/p/attachments/{id}", get(file))
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
    let files = attachments::of_patient(tx.conn(), person.org, person.person, MOST_FILES).await?;
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
                "files": files.iter().filter(|file| file.record == row.id && file.withdrawn_at.is_none()).map(of_file).collect::<Vec<Value>>(),
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

/// A file of a record, as a link.
fn of_file(file: &Attachment) -> Value {
    json!({"id": file.id, "name": file.file_name, "kib": file.bytes.max(1024) / 1024})
}

/// A file of one of the patient's own records.
async fn file(State(app): State<App>, person: SignedIn, Id(id): Id<AttachmentId>) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let row = attachments::one(tx.conn(), id).await?;
    let row = row.filter(|row| row.patient == person.person && row.withdrawn_at.is_none());
    let row = row.ok_or_else(|| Problem::not_found("There is no such file."))?;
    let content = attachments::content(tx.conn(), id).await?;
    person.saw(&app, tx, Some(("record_attachment", id.0)), [person.person]).await?;
    Ok(sent(&row, content))
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
