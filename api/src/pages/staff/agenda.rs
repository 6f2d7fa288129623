//! `/staff/agenda`: the visits of one day.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::{NaiveDate, NaiveTime};
use pulsecal_core::ids::PersonId;
use pulsecal_core::store::audit::Role;
use pulsecal_core::store::pages::visits::{Span, agenda};
use pulsecal_core::store::people;
use pulsecal_core::time::resolve;
use serde_json::{Value, json};

use super::{DOCTORS, home_zone, visit_view};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::params::{Params, WRONG_YEAR, is_in_years};
use crate::problem::Problem;

/// A day shows so many visits; a doctor's day has fewer.
const MOST: i64 = 300;

pub(super) fn router() -> Router<App> {
    Router::new().route("/staff/agenda", get(show))
}

async fn show(State(app): State<App>, person: SignedIn, mut params: Params) -> Result<Response, Problem> {
    let day = params.parsed::<NaiveDate>("day");
    if day.is_some_and(|day| !is_in_years(day.and_time(NaiveTime::MIN).and_utc())) {
        params.wrong("day", WRONG_YEAR);
    }
    // A doctor begins with their own visits; "all" is what the others begin with.
    let (own, said) = ((person.role == Role::Doctor).then_some(person.person), params.text("doctor"));
    let doctor = match said.as_deref() {
        None => own,
        Some("all") => None,
        Some(id) => {
            let id = id.parse::<PersonId>();
            id.map_err(|_| params.wrong("doctor", "must be a doctor's id, or \"all\"")).ok()
        }
    };
    params.finish()?;
    let mut tx = person.look(&app).await?;
    let home = home_zone(&mut tx, &person).await?;
    let now = tx.now();
    let today = home.local(now).date();
    let day = day.unwrap_or(today);
    let after = day.succ_opt().ok_or_else(|| Problem::field("day", WRONG_YEAR))?;
    let midnight = |day: NaiveDate| resolve(home, day.and_time(NaiveTime::MIN));
    let span = Span { from: midnight(day), to: midnight(after) };
    let rows = agenda(tx.conn(), person.org, span, doctor, MOST).await?;
    let doctors = people::doctors(tx.conn(), DOCTORS).await?;
    person.saw(&app, tx, None, rows.iter().map(|row| row.patient)).await?;
    let chosen = doctor.map_or_else(|| "all".to_owned(), |id| id.to_string());
    let address = |day: NaiveDate| format!("{}/staff/agenda?day={day}&doctor={chosen}", app.base_path);
    let view = json!({
        "at": "/staff/agenda",
        "day": day.to_string(),
        "title": day.format("%A, %-d %B %Y").to_string(),
        "is_today": day == today,
        "today": address(today),
        "before": day.pred_opt().map(address),
        "after": address(after),
        "zone": home.name(),
        "visits": rows.iter().map(|row| visit_view(row, now)).collect::<Vec<_>>(),
        "most": (rows.len() >= usize::try_from(MOST).unwrap_or(usize::MAX)).then_some(MOST),
        "doctors": doctors.iter().map(|(id, name)| json!({"id": id, "name": name, "chosen": Some(*id) == doctor})).collect::<Vec<Value>>(),
        "of_all": doctor.is_none(),
    });
    desk::page(&app, Some(&person), StatusCode::OK, "staff_agenda", view)
}
