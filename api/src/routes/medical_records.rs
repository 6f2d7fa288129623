//! `/v1/medical-records`: what is known of a patient's health. Records are never deleted: what is wrong is withdrawn.

pub(crate) mod attachments;
mod contract;
mod glass;

pub(super) use contract::contract;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use pulsecal_core::attachments::MOST_BYTES;
use pulsecal_core::ids::{PersonId, RecordId};
use pulsecal_core::records::{DESCRIPTION, KINDS, REASON, SEVERITIES, STATES, TITLE, has_severity};
use pulsecal_core::store::listing::Before;
use pulsecal_core::store::people;
use pulsecal_core::store::records::{self, Order, Record, RecordFilter};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::records::noted;

/// What a list may be sorted by; `-` is newest first.
const ORDERS: [&str; 4] = ["recorded", "-recorded", "occurred", "-occurred"];

/// The earliest day that anything happened to anybody who is alive.
const EARLIEST: NaiveDate = NaiveDate::from_ymd_opt(1880, 1, 1).expect("a day");

/// The routes.
pub(super) fn router() -> Router<App> {
    let files = DefaultBodyLimit::max(MOST_BYTES);
    Router::new()
        .route("/medical-records", get(list).post(write))
        .route("/medical-records/{id}", get(one).patch(change))
        .route("/medical-records/{id}/withdraw", post(withdraw))
        .route("/medical-records/{id}/attachments", get(attachments::list).post(attachments::add).layer(files))
        .route("/record-attachments/{id}", get(attachments::one))
        .route("/record-attachments/{id}/content", get(attachments::content))
        .route("/record-attachments/{id}/withdraw", post(attachments::withdraw))
        .route("/patients/{id}/break-glass", post(glass::break_glass))
}

/// A record, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = MedicalRecord)]
struct Shown {
    id: RecordId,
    patient_id: PersonId,
    author_id: PersonId,
    #[schema(schema_with = contract::kind)]
    kind: String,
    #[schema(schema_with = contract::severity_or_null)]
    severity: Option<String>,
    title: String,
    description: String,
    /// The day that it happened.
    occurred_on: Option<NaiveDate>,
    recorded_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[schema(schema_with = contract::state)]
    state: String,
    withdrawn_at: Option<DateTime<Utc>>,
    /// Why it was withdrawn.
    withdrawn_reason: Option<String>,
    version: i32,
}

impl From<Record> for Shown {
    fn from(row: Record) -> Self {
        Self {
            id: row.id,
            patient_id: row.patient,
            author_id: row.author,
            kind: row.kind,
            severity: row.severity,
            title: row.title,
            description: row.description,
            occurred_on: row.occurred_on,
            recorded_at: row.recorded_at,
            updated_at: row.updated_at,
            state: row.state,
            withdrawn_at: row.withdrawn_at,
            withdrawn_reason: row.withdrawn_reason,
            version: row.version,
        }
    }
}

fn missing() -> Problem {
    Problem::not_found("There is no such medical record.")
}

fn incomplete() -> Problem {
    Problem::internal("a required field was missing and not recorded")
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let patient = params.parsed::<PersonId>("patient");
    let (kind, state) = (params.one_of("kind", &KINDS), params.one_of("state", &STATES));
    let order = match params.one_of("sort", &ORDERS) {
        Some("recorded") => Order::Recorded,
        Some("occurred") => Order::Occurred,
        Some("-occurred") => Order::NewestOccurred,
        _ => Order::NewestRecorded,
    };
    if patient.is_none() {
        params.wrong("patient", "is needed: records are read patient by patient");
    }
    params.finish()?;
    let (patient, by) = (patient.ok_or_else(incomplete)?, tenant.clinician());
    let mut tx = tenant.look(&app).await?;
    if people::role_of(tx.conn(), patient).await?.as_deref() != Some("patient") {
        return Err(Problem::not_found("There is no such patient."));
    }
    let (mut tx, access) = by.admit(&app, tx, patient).await?;
    let filter = RecordFilter { patient, kind, state };
    let rows = records::list(tx.conn(), tenant.org(), filter, order, wanted.after, wanted.rows).await?;
    by.saw(&app, tx, None, patient, access).await?;
    let place = |row: &Record| Before { at: sorts_at(row, order), id: row.id.0 };
    Ok(wanted.page(rows, place, Shown::from).into_response())
}

/// The instant that a record is sorted by.
fn sorts_at(row: &Record, order: Order) -> DateTime<Utc> {
    match order {
        Order::Recorded | Order::NewestRecorded => row.recorded_at,
        Order::Occurred | Order::NewestOccurred => row.sorts_on.and_time(NaiveTime::MIN).and_utc(),
    }
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<RecordId>) -> Result<Response, Problem> {
    let by = tenant.clinician();
    let mut tx = tenant.look(&app).await?;
    let row = records::one(tx.conn(), id).await?.ok_or_else(missing)?;
    let (tx, access) = by.admit(&app, tx, row.patient).await?;
    by.saw(&app, tx, Some(("medical_record", id.0)), row.patient, access).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

/// Reads the severity; which kind it is of is checked by [`check_severity`].
fn read_severity(fields: &mut Fields, given: Option<&String>) {
    if given.is_some_and(|given| !SEVERITIES.contains(&given.as_str())) {
        fields.wrong("severity", format!("must be one of {}", SEVERITIES.join(", ")));
    }
}

/// What is wrong with a severity for this kind; none: nothing.
fn check_severity(kind: &str, severity: Option<&str>) -> Option<String> {
    (severity.is_some() && !has_severity(kind)).then(|| {
        let with: Vec<&str> = KINDS.into_iter().filter(|kind| has_severity(kind)).collect();
        format!("a record of kind {kind} has none; {} have", with.join(", "))
    })
}

fn check_day(fields: &mut Fields, day: Option<NaiveDate>, now: DateTime<Utc>) {
    // Somewhere it is tomorrow already.
    let last = now.date_naive() + Days::new(1);
    if day.is_some_and(|day| !(EARLIEST..=last).contains(&day)) {
        fields.wrong("occurred_on", "must be a day from 1880 to today");
    }
}

async fn write(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let now = app.ctx.clock.now();
    let patient = fields.required::<PersonId>("patient_id");
    let kind = fields.required::<String>("kind");
    if kind.as_ref().is_some_and(|kind| !KINDS.contains(&kind.as_str())) {
        fields.wrong("kind", format!("must be one of {}", KINDS.join(", ")));
    }
    let severity = fields.optional::<String>("severity");
    read_severity(&mut fields, severity.as_ref());
    if let Some(wrong) = kind.as_deref().and_then(|kind| check_severity(kind, severity.as_deref())) {
        fields.wrong("severity", wrong);
    }
    let title = fields.required::<String>("title");
    fields.check_length("title", title.as_deref(), TITLE);
    let description = fields.optional::<String>("description").unwrap_or_default();
    fields.check_length("description", Some(description.as_str()).filter(|text| !text.is_empty()), DESCRIPTION);
    let occurred_on = fields.optional::<NaiveDate>("occurred_on");
    check_day(&mut fields, occurred_on, now);
    fields.finish()?;
    let (Some(patient), Some(kind), Some(title)) = (patient, kind, title) else { return Err(incomplete()) };
    let mut tx = by.begin(&app).await?;
    // Foreign keys see all organizations; this look-up sees this one only.
    if people::role_of(tx.conn(), patient).await?.as_deref() != Some("patient") {
        return Err(Problem::field("patient_id", "there is no such patient"));
    }
    let (mut tx, access) = by.clinician().admit(&app, tx, patient).await?;
    let now = tx.now();
    let row = Record {
        id: tx.new_id(),
        patient,
        author: by.owner().person,
        author_name: None,
        kind,
        severity,
        title,
        description,
        occurred_on,
        sorts_on: occurred_on.unwrap_or_else(|| now.date_naive()),
        recorded_at: now,
        updated_at: now,
        state: "active".to_owned(),
        withdrawn_at: None,
        withdrawn_reason: None,
        version: 1,
    };
    records::insert(tx.conn(), by.org(), &row, access.glass()).await?;
    let detail = noted(patient, access, json!({"kind": row.kind}));
    by.audit(&app, &mut tx, "record.written", "medical_record", row.id.0, detail).await?;
    let location = format!("{}/v1/medical-records/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<RecordId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let severity = fields.change::<String>("severity");
    read_severity(&mut fields, severity.as_ref().and_then(Option::as_ref));
    let title = fields.set::<String>("title");
    fields.check_length("title", title.as_deref(), TITLE);
    let description = fields.set::<String>("description");
    fields.check_length("description", description.as_deref().filter(|text| !text.is_empty()), DESCRIPTION);
    let occurred_on = fields.change::<NaiveDate>("occurred_on");
    check_day(&mut fields, occurred_on.flatten(), app.ctx.clock.now());
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let before = records::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    let (mut tx, access) = by.clinician().admit(&app, tx, before.patient).await?;
    check_version(version, before.version)?;
    if before.state != "active" {
        return Err(Problem::conflict("The record was entered in error, and is not changed any more."));
    }
    let mut row = before.clone();
    row.severity = severity.unwrap_or(row.severity);
    row.title = title.unwrap_or(row.title);
    row.description = description.unwrap_or(row.description);
    row.occurred_on = occurred_on.unwrap_or(row.occurred_on);
    if let Some(wrong) = check_severity(&row.kind, row.severity.as_deref()) {
        return Err(Problem::field("severity", wrong));
    }
    let changed = [
        ("severity", row.severity != before.severity),
        ("title", row.title != before.title),
        ("description", row.description != before.description),
        ("occurred_on", row.occurred_on != before.occurred_on),
    ];
    let changed: Vec<&str> = changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect();
    if !changed.is_empty() {
        row = records::update(tx.conn(), &row, now).await?.ok_or_else(missing)?;
        let detail = noted(row.patient, access, json!({"fields": changed, "version": row.version}));
        by.audit(&app, &mut tx, "record.changed", "medical_record", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

/// Marks a record as entered in error. Twice changes nothing.
async fn withdraw(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<RecordId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let reason = fields.required::<String>("reason");
    fields.check_length("reason", reason.as_deref(), REASON);
    fields.finish()?;
    let reason = reason.ok_or_else(incomplete)?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let row = records::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    let (mut tx, access) = by.clinician().admit(&app, tx, row.patient).await?;
    if row.state != "active" {
        return by.close(tx, versioned(row.version, &Shown::from(row))).await;
    }
    check_version(version, row.version)?;
    let row = records::withdraw(tx.conn(), id, by.owner().person, &reason, now).await?.ok_or_else(missing)?;
    let detail = noted(row.patient, access, json!({"version": row.version}));
    by.audit(&app, &mut tx, "record.withdrawn", "medical_record", id.0, detail).await?;
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
