//! `/staff/exports`: asking for files, watching them grow, fetching them. Works without scripts; with them it is live.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use pulsecal_core::exports::{Column, CsvOptions, Delimiter, Filters, Format, Spec, States};
use pulsecal_core::ids::{ExportId, PersonId};
use pulsecal_core::links::ExportLink;
use pulsecal_core::store::exports::{self as store, Export};
use pulsecal_core::store::listing::Way;
use pulsecal_core::store::{organizations, people};
use pulsecal_core::time::{Zone, resolve};
use pulsecal_core::tokens::TokenScope;
use serde_json::{Value, json};

use super::desk;
use super::session::{Refused, Sent, SignedIn};
use crate::app::App;
use crate::exports::{self, Asked};
use crate::params::Id;
use crate::problem::Problem;

/// The page shows so many of the newest exports, and offers so many doctors.
const SHOWN: i64 = 30;
const DOCTORS: i64 = 200;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/staff/exports", get(show).post(ask))
        .route("/staff/exports/{id}/cancel", post(cancel))
        .route("/staff/exports/{id}/events", get(events))
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    page(&app, &person, StatusCode::OK, None).await
}

async fn events(State(app): State<App>, person: SignedIn, Id(id): Id<ExportId>) -> Result<Response, Problem> {
    exports::events(app, person.owner(), id).await
}

async fn cancel(State(app): State<App>, Id(id): Id<ExportId>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let (tx, _) = exports::cancel(&app, &form.by.owner(), id).await?;
    tx.commit().await?;
    Ok(back(&app))
}

async fn ask(State(app): State<App>, form: Sent<SignedIn>) -> Result<Response, Refused> {
    let owner = form.by.owner();
    let mut tx = form.by.begin(&app).await?;
    let home = organizations::zone(tx.conn(), owner.org).await?.parse().unwrap_or(Zone::UTC);
    tx.commit().await?;
    let asked = match read(&form, home) {
        Ok(spec) => exports::ask(&app, &owner, Asked { spec, zone: Some(home) }).await,
        Err(words) => Err(Problem::field("form", words)),
    };
    match asked {
        Ok((tx, _)) => {
            tx.commit().await?;
            Ok(back(&app))
        }
        Err(problem) if problem.status().is_client_error() => {
            let words = problem.detail().trim_start_matches("form: ").to_owned();
            Ok(page(&app, &form.by, problem.status(), Some(&words)).await?)
        }
        Err(problem) => Err(problem.into()),
    }
}

fn back(app: &App) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}/staff/exports", app.base_path))]).into_response()
}

/// What the form asks for, or what is wrong with it.
fn read(form: &Sent<SignedIn>, home: Zone) -> Result<Spec, String> {
    let field = |name: &str| form.field(name).map(str::trim).filter(|text| !text.is_empty());
    let day = |name: &str, words: &str| {
        let parse =
            |text: &str| text.parse::<NaiveDate>().map_err(|_| format!("{words} must be a day, as in 2026-11-25."));
        field(name).map(parse).transpose()
    };
    let (from, last) = (day("from", "The first day")?, day("to", "The last day")?);
    if matches!((from, last), (Some(from), Some(last)) if from > last) {
        return Err("The last day is before the first.".to_owned());
    }
    let midnight = |day: NaiveDate| resolve(home, day.and_time(chrono::NaiveTime::MIN));
    let status = field("status").map(str::to_owned);
    if status.as_ref().is_some_and(|status| !States::ALL.contains(&status.as_str())) {
        return Err("There is no such status.".to_owned());
    }
    let columns: Vec<Column> = Column::ALL
        .iter()
        .copied()
        .filter(|column| form.values("column").any(|name| name == column.as_str()))
        .collect();
    if columns.is_empty() {
        return Err("Choose one column at least.".to_owned());
    }
    let doctor = field("doctor").map(str::parse::<PersonId>).transpose().map_err(|_| "There is no such doctor.")?;
    Ok(Spec {
        format: field("format").unwrap_or("csv").parse::<Format>().map_err(|error| format!("The format {error}."))?,
        columns,
        filters: Filters {
            from: from.map(midnight),
            to: last.and_then(|day| day.succ_opt()).map(midnight),
            doctor,
            patient: None,
            status: status.into_iter().collect(),
        },
        zone: home,
        csv: CsvOptions {
            bom: field("excel").is_some(),
            delimiter: field("delimiter").unwrap_or("comma").parse::<Delimiter>().map_err(|error| error.to_string())?,
            guard: true,
        },
    })
}

async fn page(app: &App, person: &SignedIn, status: StatusCode, wrong: Option<&str>) -> Result<Response, Problem> {
    let owner = person.owner();
    let mut tx = person.begin(app).await?;
    let rows = store::list(tx.conn(), owner.org, owner.person, Way::Down, None, SHOWN).await?;
    let home: Zone = organizations::zone(tx.conn(), owner.org).await?.parse().unwrap_or(Zone::UTC);
    let doctors = people::doctors(tx.conn(), DOCTORS).await?;
    tx.commit().await?;
    let now = app.ctx.clock.now();
    let lines: Vec<Value> = rows.into_iter().map(|export| line(app, export, home, now)).collect();
    let columns: Vec<Value> = Column::ALL
        .iter()
        .map(|column| json!({"name": column.as_str(), "label": column.as_str().replace('_', " "), "usual": Column::USUAL.contains(column)}))
        .collect();
    let view = json!({
        "at": "/staff/exports",
        "exports": lines,
        "live": lines.iter().any(|line| line["under_way"] == true),
        "columns": columns,
        "statuses": States::ALL,
        "doctors": doctors.iter().map(|(id, name)| json!({"id": id, "name": name})).collect::<Vec<_>>(),
        "zone": home.name(),
        "wrong": wrong,
        "may_ask": person.may(TokenScope::ExportsWrite),
        "script": desk::asset_url(app, "exports.js"),
    });
    desk::page(app, Some(person), status, "staff_exports", view)
}

/// An export, as the list shows it.
fn line(app: &App, export: Export, home: Zone, now: DateTime<Utc>) -> Value {
    let local = |at: DateTime<Utc>| home.local(at).format("%Y-%m-%d %H:%M").to_string();
    let under_way = !export.is_over();
    let link = ExportLink { org: export.org, export: export.id };
    let until = (now + chrono::TimeDelta::minutes(10)).min(export.expires_at.unwrap_or(now));
    let ready = export.state == "succeeded" && export.expires_at.is_some_and(|end| end > now);
    let shown = exports::view(app, export.clone());
    json!({
        "id": export.id,
        "format": export.spec.format.as_str().to_uppercase(),
        "state": export.state,
        "under_way": under_way,
        "asked": local(export.created_at),
        "span": span(&export.spec.filters, home),
        "percent": shown.progress.percent,
        "rows_done": export.rows_done,
        "rows_estimated": export.rows_estimated,
        "size": size(export.bytes),
        "problem": export.problem,
        "notes": export.notes,
        "until": export.expires_at.map(local),
        "file": ready.then(|| format!("{}/files/e/{}", app.base_path, app.ctx.links.export_token(link, until))),
    })
}

fn span(filters: &Filters, home: Zone) -> String {
    let day = |at: DateTime<Utc>| home.local(at).format("%Y-%m-%d").to_string();
    let last = filters.to.map(|to| day(to - chrono::TimeDelta::seconds(1)));
    match (filters.from.map(day), last) {
        (None, None) => "all days".to_owned(),
        (Some(from), None) => format!("from {from}"),
        (None, Some(to)) => format!("until {to}"),
        (Some(from), Some(to)) => format!("{from} to {to}"),
    }
}

fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}
