//! `/v1/exports`: files of rows, written in the background.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pulsecal_core::exports::{Column, CsvOptions, Delimiter, Filters, Format, Spec, States};
use pulsecal_core::ids::{ExportId, PersonId};
use pulsecal_core::store::exports as store;
use pulsecal_core::store::listing::Before;
use pulsecal_core::time::Zone;
use serde_json::{Value, json};

use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, DOCTOR, EXPORT};
use crate::contract::{Body, Operation, kinds};
use crate::exports::{self, Asked, ExportView, schema, view};
use crate::fields::{Fields, JsonBody};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// When to look again, in seconds.
const LOOK_AGAIN: &str = "2";
/// The orders of a list.
const ORDERS: [&str; 2] = ["-created", "created"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/exports", get(list).post(ask))
        .route("/exports/{id}", get(one).delete(cancel))
        .route("/exports/{id}/events", get(events))
        .route("/exports/{id}/download", get(download))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let new = json!({"format": "csv", "filters": {"doctor": DOCTOR}, "zone": "Europe/Berlin"});
    let new = Body::new("NewExport", new)
        .optional("report", kinds::one_of(&["appointments"]), "Rows of what.")
        .required("format", schema::format(), "The kind of file.")
        .optional("columns", schema::columns(), "Which columns, in which order.")
        .optional("filters", schema::filters(), "Which rows.")
        .optional(
            "zone",
            kinds::zone(),
            "The zone in which instants are shown; the organization's when nothing is said.",
        )
        .optional("csv", schema::csv(), "How a CSV file is written.");
    vec![
        Operation::new("GET", "/v1/exports", "Lists one's own exports")
            .query("sort", paging::sorts(&ORDERS, "By when they were asked for"))
            .lists::<ExportView>("A page of exports.", example()),
        Operation::new("POST", "/v1/exports", "Asks for an export")
            .detail("It is written in the background: look again after `Retry-After`, or listen to its events.")
            .body(new)
            .fails([Problem::too_many("3 exports of your organization are under way.", 10)])
            .answer::<ExportView>(
                202,
                "The export, which is on its way.",
                Some(example()),
                &["Location", "Retry-After"],
            ),
        Operation::new("GET", "/v1/exports/{id}", "Shows an export of one's own").answer::<ExportView>(
            200,
            "The export.",
            Some(example()),
            &["Retry-After"],
        ),
        Operation::new("DELETE", "/v1/exports/{id}", "Cancels an export")
            .detail("One that is over stays as it is.")
            .shows::<ExportView>("The export as it is now.", example()),
        Operation::new("GET", "/v1/exports/{id}/events", "Tells how an export is going")
            .detail("`progress` at each change and `end` when it is over, each with the export as it is then.")
            .fails([Problem::too_many("Too many are listening.", 5)])
            .file(200, "Server-sent events.", &["text/event-stream"], &[]),
        gives_file(Operation::new("GET", "/v1/exports/{id}/download", "Gives the file of an export")),
    ]
}

/// What the two routes have in common that give a file.
pub(super) fn gives_file(operation: Operation) -> Operation {
    const HEADERS: [&str; 4] = ["ETag", "Accept-Ranges", "Content-Disposition", "Repr-Digest"];
    let kinds = Format::ALL.map(Format::media_type);
    operation
        .takes("Range")
        .file(200, "The file.", &kinds, &HEADERS)
        .file(206, "The part of it that was asked for.", &kinds, &[&HEADERS[..], &["Content-Range"]].concat())
        .fails([Problem::conflict("The file is not ready yet."), Problem::no_such_range(1234)])
}

fn example() -> Value {
    json!({
        "id": EXPORT, "report": "appointments", "format": "csv", "columns": ["starts_at", "status"], "filters": {"doctor": DOCTOR},
        "zone": "Europe/Berlin", "csv": {"bom": false, "delimiter": "comma", "guard": true}, "state": "queued",
        "progress": {"phase": "queued", "rows_done": 0, "rows_estimated": null, "bytes": 0, "percent": null}, "as_of": null, "rows": null,
        "size": null, "sha256": null, "notes": [], "problem": null, "created_at": BEFORE, "started_at": null, "ended_at": null,
        "expires_at": null, "download": null,
    })
}

async fn ask(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let owner = by.owner();
    let asked = read(body.fields()?)?;
    let (tx, export) = exports::ask(&app, &owner, asked).await?;
    let location = format!("/v1/exports/{}", export.id);
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, LOOK_AGAIN.to_owned())];
    by.close(tx, (StatusCode::ACCEPTED, headers, axum::Json(view(&app, export))).into_response()).await
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let owner = tenant.owner();
    let mut tx = tenant.begin(&app).await?;
    let rows = store::list(tx.conn(), owner.org, owner.person, way, wanted.after, wanted.rows).await?;
    tx.commit().await?;
    let place = |row: &store::Export| Before { at: row.created_at, id: row.id.0 };
    Ok(wanted.page(rows, place, |row| view(&app, row)).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<ExportId>) -> Result<Response, Problem> {
    let owner = tenant.owner();
    let export = exports::one(&app, &owner, id).await?;
    let over = export.is_over();
    let mut response = axum::Json(view(&app, export)).into_response();
    if !over {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(LOOK_AGAIN));
    }
    Ok(response)
}

async fn cancel(by: Writer, State(app): State<App>, Id(id): Id<ExportId>) -> Result<Response, Problem> {
    let owner = by.owner();
    let (tx, export) = exports::cancel(&app, &owner, id).await?;
    by.close(tx, axum::Json(view(&app, export)).into_response()).await
}

async fn events(tenant: Tenant, State(app): State<App>, Id(id): Id<ExportId>) -> Result<Response, Problem> {
    let owner = tenant.owner();
    exports::events(app, owner, id).await
}

async fn download(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<ExportId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = tenant.owner();
    exports::file(&app, &owner, id, &method, &headers).await
}

/// Reads what is asked for, and names all that is wrong with it.
fn read(mut fields: Fields) -> Result<Asked, Problem> {
    let report: Option<String> = fields.optional("report");
    if report.is_some_and(|report| report != "appointments") {
        fields.wrong("report", "must be appointments");
    }
    let format = fields.required::<String>("format").and_then(|name| parsed::<Format>(&mut fields, "format", &name));
    let columns = columns(&mut fields);
    let zone: Option<String> = fields.optional("zone");
    let zone = zone.and_then(|name| parsed::<Zone>(&mut fields, "zone", &name));
    let filters = filters(&mut fields);
    let csv = csv_options(&mut fields);
    fields.finish()?;
    let spec = Spec {
        format: format.ok_or_else(|| Problem::field("format", "is needed"))?,
        columns,
        filters,
        zone: zone.unwrap_or(Zone::UTC),
        csv,
    };
    Ok(Asked { spec, zone })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(fields: &mut Fields, name: &str, text: &str) -> Option<T> {
    text.parse().map_err(|error: T::Err| fields.wrong(name, error.to_string())).ok()
}

fn columns(fields: &mut Fields) -> Vec<Column> {
    let Some(names) = fields.optional::<Vec<String>>("columns") else { return Column::USUAL.to_vec() };
    let mut columns = Vec::new();
    for name in names.iter().take(100) {
        let Some(column) = parsed::<Column>(fields, "columns", name) else { continue };
        if columns.contains(&column) {
            fields.wrong("columns", format!("names {column} twice"));
        } else {
            columns.push(column);
        }
    }
    if names.is_empty() || names.len() > 100 {
        fields.wrong("columns", "must name 1 column at least, and each once");
    }
    columns
}

fn filters(fields: &mut Fields) -> Filters {
    let mut given = fields.object("filters");
    let filters = Filters {
        from: given.instant("from"),
        to: given.instant("to"),
        doctor: given.optional::<PersonId>("doctor"),
        patient: given.optional::<PersonId>("patient"),
        status: given.optional("status").unwrap_or_default(),
    };
    if filters.status.len() > schema::MOST_STATUSES {
        given.wrong("status", format!("must be {} at most", schema::MOST_STATUSES));
    }
    if filters.status.iter().any(|status| !States::ALL.contains(&status.as_str())) {
        given.wrong("status", format!("must be among {}", States::ALL.join(", ")));
    }
    if matches!((filters.from, filters.to), (Some(from), Some(to)) if from >= to) {
        given.wrong("to", "must be later than from");
    }
    fields.take_in("filters", given);
    filters
}

fn csv_options(fields: &mut Fields) -> CsvOptions {
    let mut given = fields.object("csv");
    let usual = CsvOptions::default();
    let delimiter = given.optional::<String>("delimiter");
    let options = CsvOptions {
        bom: given.optional("bom").unwrap_or(usual.bom),
        delimiter: delimiter.and_then(|name| parsed::<Delimiter>(&mut given, "delimiter", &name)).unwrap_or_default(),
        guard: given.optional("guard").unwrap_or(usual.guard),
    };
    fields.take_in("csv", given);
    options
}
