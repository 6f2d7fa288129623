//! `/v1/medical-records/{id}/attachments` and `/v1/record-attachments`: files that belong to a record.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pulsecal_core::attachments::{MOST_BYTES, MOST_PER_RECORD, MediaType, wrong_name};
use pulsecal_core::ids::{AttachmentId, PersonId, RecordId};
use pulsecal_core::records::REASON;
use pulsecal_core::store::attachments::{self, Attachment};
use pulsecal_core::store::records;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::missing;
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::JsonBody;
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::records::noted;
use crate::routes::created;

/// A file, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordAttachment)]
pub(super) struct Shown {
    id: AttachmentId,
    record_id: RecordId,
    author_id: PersonId,
    file_name: String,
    #[schema(schema_with = super::contract::media_type)]
    media_type: String,
    bytes: i32,
    /// In hex.
    sha256: String,
    added_at: DateTime<Utc>,
    withdrawn_at: Option<DateTime<Utc>>,
    /// Why it was marked as entered in error.
    withdrawn_reason: Option<String>,
}

impl From<Attachment> for Shown {
    fn from(row: Attachment) -> Self {
        Self {
            id: row.id,
            record_id: row.record,
            author_id: row.author,
            file_name: row.file_name,
            media_type: row.media_type,
            bytes: row.bytes,
            sha256: row.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            added_at: row.added_at,
            withdrawn_at: row.withdrawn_at,
            withdrawn_reason: row.withdrawn_reason,
        }
    }
}

/// A file that is one of the sorts that records have. What is in it is looked at after it is known who sends it.
pub(super) struct File {
    kind: MediaType,
    content: Bytes,
}

/// 415, with what may be sent.
pub(super) fn no_file() -> Problem {
    let kinds = MediaType::ALL.map(MediaType::as_str).join(", ");
    Problem::wrong_media_type(format!("Send the file as the body, with its own `Content-Type`: {kinds}."))
}

impl<S: Send + Sync> FromRequest<S> for File {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = given.and_then(MediaType::of).ok_or_else(no_file)?;
        match Bytes::from_request(request, state).await {
            Ok(content) => Ok(Self { kind, content }),
            Err(rejection) => Err(match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MOST_BYTES),
                _ => Problem::unreadable("The file broke off."),
            }),
        }
    }
}

fn unknown() -> Problem {
    Problem::not_found("There is no such attachment.")
}

/// 409: nobody reads it any more.
pub(super) fn withdrawn() -> Problem {
    Problem::conflict("The attachment was entered in error, and is not read any more.")
}

/// 409: there is no room.
pub(super) fn too_many() -> Problem {
    Problem::conflict(format!("A record has {MOST_PER_RECORD} attachments at most. Write another record."))
}

pub(super) async fn list(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<RecordId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    params.finish()?;
    let by = tenant.clinician();
    let mut tx = tenant.look(&app).await?;
    let record = records::one(tx.conn(), id).await?.ok_or_else(missing)?;
    let (mut tx, access) = by.admit(&app, tx, record.patient).await?;
    let rows = attachments::of_record(tx.conn(), id, wanted.after.map(AttachmentId), wanted.rows).await?;
    by.saw(&app, tx, Some(("medical_record", id.0)), record.patient, access).await?;
    Ok(wanted.page(rows, |row| row.id.0, Shown::from).into_response())
}

pub(super) async fn add(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<RecordId>,
    mut params: Params,
    file: File,
) -> Result<Response, Problem> {
    let name = params.text("name");
    match name.as_deref().map(wrong_name) {
        None => params.wrong("name", "is needed: the name of the file"),
        Some(Some(wrong)) => params.wrong("name", wrong),
        Some(None) => {}
    }
    let File { kind, content } = file;
    if !kind.fits(&content) {
        params.wrong("body", format!("is not {kind}, as its `Content-Type` says"));
    }
    params.finish()?;
    let file_name = name.ok_or_else(|| Problem::internal("a required parameter was missing and not recorded"))?;
    let mut tx = by.begin(&app).await?;
    // Locked, so that the bound holds for two at once.
    let record = records::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    let (mut tx, access) = by.clinician().admit(&app, tx, record.patient).await?;
    if record.state != "active" {
        return Err(Problem::conflict("The record was entered in error, and is not changed any more."));
    }
    if attachments::count(tx.conn(), id).await? >= MOST_PER_RECORD {
        return Err(too_many());
    }
    let row = Attachment {
        id: tx.new_id(),
        record: id,
        patient: record.patient,
        author: by.owner().person,
        file_name,
        media_type: kind.as_str().to_owned(),
        bytes: i32::try_from(content.len()).unwrap_or(i32::MAX),
        sha256: Sha256::digest(&content).to_vec(),
        added_at: tx.now(),
        withdrawn_at: None,
        withdrawn_reason: None,
    };
    attachments::insert(tx.conn(), by.org(), &row, &content).await?;
    let detail = noted(record.patient, access, json!({"record": id, "media_type": row.media_type, "bytes": row.bytes}));
    by.audit(&app, &mut tx, "attachment.added", "record_attachment", row.id.0, detail).await?;
    let location = format!("{}/v1/record-attachments/{}", app.base_path, row.id);
    by.close(tx, created(&location, 1, &Shown::from(row))).await
}

pub(super) async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<AttachmentId>) -> Result<Response, Problem> {
    let by = tenant.clinician();
    let mut tx = tenant.look(&app).await?;
    let row = attachments::one(tx.conn(), id).await?.ok_or_else(unknown)?;
    let (tx, access) = by.admit(&app, tx, row.patient).await?;
    by.saw(&app, tx, Some(("record_attachment", id.0)), row.patient, access).await?;
    Ok(axum::Json(Shown::from(row)).into_response())
}

pub(super) async fn content(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<AttachmentId>,
) -> Result<Response, Problem> {
    let by = tenant.clinician();
    let mut tx = tenant.look(&app).await?;
    let row = attachments::one(tx.conn(), id).await?.ok_or_else(unknown)?;
    let (mut tx, access) = by.admit(&app, tx, row.patient).await?;
    if row.withdrawn_at.is_some() {
        return Err(withdrawn());
    }
    let content = attachments::content(tx.conn(), id).await?;
    by.saw(&app, tx, Some(("record_attachment", id.0)), row.patient, access).await?;
    Ok(sent(&row, content))
}

/// The answer that holds a file: to be kept, never to be shown as a page of ours.
pub(crate) fn sent(row: &Attachment, content: Vec<u8>) -> Response {
    let plain: String = row.file_name.chars().map(|letter| if letter.is_ascii() { letter } else { '_' }).collect();
    let encoded = utf8_percent_encode(&row.file_name, NON_ALPHANUMERIC);
    let digest = STANDARD.encode(&row.sha256);
    let kind = if row.media_type == "text/plain" { "text/plain; charset=utf-8" } else { row.media_type.as_str() };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        // RFC 6266, 4.3, and RFC 8187.
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'".to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (axum::http::HeaderName::from_static("repr-digest"), format!("sha-256=:{digest}:")),
    ];
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            all.insert(name, value);
        }
    }
    (all, content).into_response()
}

/// Marks a file as entered in error. Twice changes nothing.
pub(super) async fn withdraw(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<AttachmentId>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let reason = fields.required::<String>("reason");
    fields.check_length("reason", reason.as_deref(), REASON);
    fields.finish()?;
    let reason = reason.ok_or_else(super::incomplete)?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let row = attachments::one(tx.conn(), id).await?.ok_or_else(unknown)?;
    let (mut tx, access) = by.clinician().admit(&app, tx, row.patient).await?;
    if attachments::withdraw(tx.conn(), id, by.owner().person, &reason, now).await? {
        let detail = noted(row.patient, access, json!({"record": row.record}));
        by.audit(&app, &mut tx, "attachment.withdrawn", "record_attachment", id.0, detail).await?;
    }
    let row = attachments::one(tx.conn(), id).await?.ok_or_else(unknown)?;
    by.close(tx, axum::Json(Shown::from(row)).into_response()).await
}
