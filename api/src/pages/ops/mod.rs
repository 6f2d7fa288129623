//! `/ops`: what operators see of the whole platform, and what they may do about it. Ids and numbers only: nothing of a patient.
//!
//! Each page works without a script and has a link to load it anew. Each action is a form of a signed-in operator, does the
//! same when it is sent twice, and leads back to a page that says what was done.

mod jobs;
mod overview;
mod schedules;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

pub(crate) use self::overview::SeenLately;
use crate::app::App;

/// The routes under `/ops`.
pub(super) fn router() -> Router<App> {
    overview::router().merge(jobs::router()).merge(schedules::router())
}

/// What the page says after an action, by the word that its address has: no text of an address is shown.
const NOTES: [(&str, &str); 14] = [
    ("retried", "The job will run again."),
    ("not_dead", "The job is not dead, or is live again already. Nothing was changed."),
    ("cancelled", "The job has ended as cancelled."),
    ("told", "The job runs, and is stopped within a second or two."),
    ("told_before", "The job runs, and was told to stop before."),
    ("not_live", "The job neither waits nor runs. Nothing was changed."),
    ("paused", "Paused. Within two seconds nothing more is claimed; what runs goes on."),
    ("resumed", "It goes on."),
    ("as_before", "It was so before. Nothing was changed."),
    ("run", "Its job is in the ledger."),
    ("already", "This press was obeyed before. Nothing was changed."),
    ("overlap", "Its job runs or waits already, and its rule is one at a time. Nothing was changed."),
    ("unreadable", "Its job's kind or args are not understood by this version. Nothing was changed."),
    ("unknown", "There is no such schedule."),
];

fn note(word: Option<&str>) -> Option<&'static str> {
    NOTES.iter().find(|(known, _)| Some(*known) == word).map(|(_, sentence)| *sentence)
}

/// Back to a page, which says what was done.
fn back(app: &App, to: &str, did: &str) -> Response {
    let to = format!("{}{to}?did={did}", app.base_path);
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn shown_if(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(shown)
}

/// A length of time in one or two units.
fn span(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let whole = seconds.clamp(0.0, 1e12) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}
