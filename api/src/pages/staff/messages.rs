//! `/staff/messages`: what was sent to patients, what was not, and why.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::listing::{self, Before, MESSAGE_STATES, MessageLine, Way};
use pulsecal_core::store::pages::patients::names;
use pulsecal_core::time::Zone;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{home_zone, moment};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::paging::Cursor;
use crate::params::Params;
use crate::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

pub(super) fn router() -> Router<App> {
    Router::new().route("/staff/messages", get(list))
}

async fn list(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let state = params.one_of("state", &MESSAGE_STATES);
    let before = params.text("before").and_then(|text| {
        let place = Before::read(&text);
        if place.is_none() {
            params.wrong("before", "must be the address of an older page");
        }
        place
    });
    params.finish()?;
    let mut tx = person.look(&app).await?;
    let most = 1 + i64::try_from(PAGE).unwrap_or(i64::MAX);
    let mut rows = listing::messages(tx.conn(), person.org, state, None, Way::Down, before, most).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let ids: Vec<Uuid> = rows.iter().map(|row| row.patient_id.0).collect();
    let names: HashMap<PersonId, String> = names(tx.conn(), person.org, &ids).await?.into_iter().collect();
    let home = home_zone(&mut tx, &person).await?;
    person.saw(&app, tx, None, rows.iter().map(|row| row.patient_id)).await?;
    let address = |before: Option<String>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("state", state.map(str::to_owned)), ("before", before)] {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        format!("{}/staff/messages?{}", app.base_path, query.finish())
    };
    let older = rows.last().filter(|_| more).map(|last| Before { at: last.created_at, id: last.id.0 }.write());
    let line = |row: &MessageLine| {
        let mut line = message_view(row, home);
        line["patient_id"] = json!(row.patient_id);
        line["patient"] = json!(names.get(&row.patient_id));
        line
    };
    let view = json!({
        "at": "/staff/messages",
        "states": MESSAGE_STATES,
        "state": state,
        "messages": rows.iter().map(line).collect::<Vec<Value>>(),
        "zone": home.name(),
        "first": before.map(|_| address(None)),
        "more": older.map(|older| address(Some(older))),
    });
    desk::page(&app, Some(&person), StatusCode::OK, "staff_messages", view)
}

/// A message, as pages show it.
pub(super) fn message_view(row: &MessageLine, home: Zone) -> Value {
    let tone = match row.state.as_str() {
        "sent" => "good",
        "failed" => "bad",
        "uncertain" | "suppressed" => "mid",
        _ => "",
    };
    json!({
        "kind": row.kind.replace('_', " "),
        "occasion": row.occurrence.rsplit('/').next().unwrap_or_default().replace('_', " "),
        "state": row.state,
        "tone": tone,
        "reason": row.reason,
        "at": moment(home, row.settled_at.or(row.sending_at).unwrap_or(row.created_at)),
    })
}
