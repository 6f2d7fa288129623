//! `/staff/patients`: finding a patient by name.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::pages::patients::{PatientLine, by_name};
use serde_json::{Value, json};

use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::params::Params;
use crate::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;
/// So many words of a name are looked at; more make no name.
const WORDS: usize = 6;

pub(super) fn router() -> Router<App> {
    Router::new().route("/staff/patients", get(list))
}

async fn list(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let name = params.text("name").unwrap_or_default();
    let after = params.parsed::<PersonId>("after");
    params.finish()?;
    let words: Vec<String> = name.split_whitespace().take(WORDS).map(str::to_owned).collect();
    let mut tx = person.look(&app).await?;
    let mut rows = by_name(tx.conn(), person.org, &words, after, 1 + i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    person.saw(&app, tx, None, rows.iter().map(|row| row.id)).await?;
    let address = |after: Option<PersonId>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", &name);
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        format!("{}/staff/patients?{}", app.base_path, query.finish())
    };
    let view = json!({
        "at": "/staff/patients",
        "name": name,
        "patients": rows.iter().map(line).collect::<Vec<Value>>(),
        "first": after.map(|_| address(None)),
        "more": rows.last().filter(|_| more).map(|last| address(Some(last.id))),
    });
    desk::page(&app, Some(&person), StatusCode::OK, "staff_patients", view)
}

fn line(row: &PatientLine) -> Value {
    json!({
        "id": row.id,
        "name": format!("{}, {}", row.family_name, row.given_name),
        "born": row.birth_date.map(|day| day.format("%-d %b %Y").to_string()),
        "state": if row.deceased { Some("deceased") } else if row.active { None } else { Some("inactive") },
    })
}
