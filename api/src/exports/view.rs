//! An export, as its owner reads it.

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::exports::{Column, CsvOptions, Filters, Format};
use pulsecal_core::ids::ExportId;
use pulsecal_core::links::ExportLink;
use pulsecal_core::store::exports::Export;
use pulsecal_core::time::Zone;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::app::App;

/// A link to a file is good for so long; each look at the export gives a new one.
const LINK: TimeDelta = TimeDelta::minutes(10);

/// An export.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Export)]
pub(crate) struct ExportView {
    pub(crate) id: ExportId,
    report: &'static str,
    #[schema(schema_with = schema::format)]
    format: Format,
    #[schema(schema_with = schema::columns)]
    columns: Vec<Column>,
    #[schema(schema_with = schema::filters)]
    filters: Filters,
    #[schema(value_type = String)]
    zone: Zone,
    #[schema(schema_with = schema::csv)]
    csv: CsvOptions,
    pub(crate) state: String,
    pub(crate) progress: ProgressView,
    /// The moment that the rows show.
    as_of: Option<DateTime<Utc>>,
    /// Rows, bytes and SHA-256 of a file that is whole.
    rows: Option<i64>,
    size: Option<i64>,
    sha256: Option<String>,
    notes: Vec<String>,
    problem: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    download: Option<DownloadView>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExportProgress)]
pub(crate) struct ProgressView {
    phase: String,
    rows_done: i64,
    rows_estimated: Option<i64>,
    bytes: i64,
    /// 0 to 100; none while it is not known.
    pub(crate) percent: Option<i64>,
}

/// Where the file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExportDownload)]
struct DownloadView {
    url: String,
    expires_at: DateTime<Utc>,
}

/// What its owner sees of an export at this moment.
pub(crate) fn view(app: &App, export: Export) -> ExportView {
    let ready = export.state == "succeeded";
    let until = app.ctx.clock.now() + LINK;
    let until = export.expires_at.map_or(until, |end| until.min(end));
    let link = ExportLink { org: export.org, export: export.id };
    let estimated = export.rows_estimated;
    let percent = match estimated {
        _ if ready => Some(100),
        Some(0) => Some(99),
        Some(all) => Some((export.rows_done.saturating_mul(100) / all).clamp(0, 99)),
        None => None,
    };
    ExportView {
        id: export.id,
        report: "appointments",
        progress: ProgressView {
            phase: export.phase,
            rows_done: export.rows_done,
            rows_estimated: estimated,
            bytes: export.bytes,
            percent,
        },
        rows: ready.then_some(export.rows_done),
        size: ready.then_some(export.bytes),
        download: ready.then(|| DownloadView { url: app.ctx.links.export_file(link, until), expires_at: until }),
        format: export.spec.format,
        columns: export.spec.columns,
        filters: export.spec.filters,
        zone: export.spec.zone,
        csv: export.spec.csv,
        state: export.state,
        as_of: export.as_of,
        sha256: export.sha256,
        notes: export.notes,
        problem: export.problem,
        created_at: export.created_at,
        started_at: export.started_at,
        ended_at: export.ended_at,
        expires_at: export.expires_at,
    }
}
