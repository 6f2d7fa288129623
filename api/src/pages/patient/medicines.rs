//! `/p/medicines`: what a patient takes, and the doses of this week.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};
use pulsecal_core::links::DoseLink;
use pulsecal_core::store::pages::medicines::{DoseLine, doses, of_patient};
use pulsecal_core::store::pages::visits::Span;
use pulsecal_core::time::{Zone, resolve};
use serde_json::{Value, json};

use super::{links_until, own};
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::pages::staff::{dose_word, medicine_view};
use crate::problem::Problem;

/// So many medicines, and so many doses of a week, are shown.
const MEDICINES: i64 = 100;
const DOSES: i64 = 500;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/medicines", get(show))
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let now = tx.now();
    let (_, zone) = own(&mut tx, &person).await?;
    let today = zone.local(now).date();
    let monday = today - Days::new(today.weekday().num_days_from_monday().into());
    let midnight = |day: NaiveDate| resolve(zone, day.and_time(NaiveTime::MIN));
    let week = Span { from: midnight(monday), to: midnight(monday + Days::new(7)) };
    let medicines = of_patient(tx.conn(), person.org, person.person, now, MEDICINES).await?;
    let doses = doses(tx.conn(), person.org, person.person, week, DOSES).await?;
    person.saw(&app, tx, None, [person.person]).await?;
    let mut days: Vec<Value> = Vec::with_capacity(7);
    for day in monday.iter_days().take(7) {
        let of_day = doses.iter().filter(|dose| zone.local(dose.due_at).date() == day);
        let lines: Vec<Value> = of_day.map(|dose| line(&app, &person, dose, zone, now)).collect();
        if !lines.is_empty() {
            let name = day.format("%A, %-d %B").to_string();
            days.push(json!({"name": name, "today": day == today, "doses": lines}));
        }
    }
    let view = json!({
        "at": "/p/medicines",
        "medicines": medicines.iter().map(|row| medicine_view(row, zone)).collect::<Vec<_>>(),
        "days": days,
        "zone": zone.name(),
    });
    desk::page(&app, Some(&person), StatusCode::OK, "patient_medicines", view)
}

fn line(app: &App, person: &SignedIn, dose: &DoseLine, zone: Zone, now: DateTime<Utc>) -> Value {
    let (word, tone) = dose_word(&dose.state);
    let link = DoseLink { org: person.org, dose: dose.id };
    let page = || format!("{}/p/d/{}", app.base_path, app.ctx.links.dose_token(link, links_until(now)));
    json!({
        "at": zone.local(dose.due_at).format("%H:%M").to_string(),
        "name": dose.medicine,
        "dosage": dose.dosage,
        "state": word,
        "tone": tone,
        // Whether it can still be answered, that page says.
        "page": (dose.due_at <= now).then(page),
    })
}
