//! What the contract says of medical records.

use pulsecal_core::attachments::{FILE_NAME, MediaType};
use pulsecal_core::records::{DESCRIPTION, KINDS, REASON, SEVERITIES, SHORTEST_REASON, STATES, TITLE};
use serde_json::{Value, json};
use utoipa::openapi::Object;

use super::{ORDERS, Shown, attachments, glass};
use crate::contract::examples::{ATTACHMENT, BEFORE, DOCTOR, GLASS, PATIENT, RECORD};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::problem::Problem;

/// Whom one treats, in a few words.
const WHO: &str = "For doctors and nurses who treat the patient: a visit with them within the last year or the next 90 days, a prescription or \
    a record by them within the last year; for nurses also whoever has a visit at the clinic within a day of now. Others break the glass first.";

pub(super) fn kind() -> Object {
    kinds::one_of(&KINDS)
}

pub(super) fn state() -> Object {
    kinds::one_of(&STATES)
}

pub(super) fn severity_or_null() -> Object {
    kinds::one_of(&SEVERITIES).or_null()
}

pub(super) fn media_type() -> Object {
    kinds::one_of(&MediaType::ALL.map(MediaType::as_str))
}

/// What the contract says of them.
pub(in crate::routes) fn contract() -> Vec<Operation> {
    let new = Body::new(
        "NewMedicalRecord",
        json!({"patient_id": PATIENT, "kind": "allergy", "severity": "high", "title": "Penicillin", "description": "Rash within an hour.", "occurred_on": "2019-05-02"}),
    )
    .required("patient_id", kinds::id(), "Whose; a patient of the organization.")
    .required("kind", kind(), "What it is.")
    .optional("severity", kinds::one_of(&SEVERITIES), "How grave; allergies, conditions, lab results and images have one.")
    .required("title", kinds::text(TITLE), "In a few words.")
    .optional("description", kinds::text_or_empty(DESCRIPTION), "More of it.")
    .optional("occurred_on", kinds::day(), "The day that it happened, if that is known.");
    let change = Body::new("MedicalRecordChange", json!({"severity": "moderate"}))
        .optional("severity", kinds::one_of(&SEVERITIES), "How grave; null: not said.")
        .set("title", kinds::text(TITLE), "In a few words.")
        .set("description", kinds::text_or_empty(DESCRIPTION), "More of it.")
        .optional("occurred_on", kinds::day(), "The day that it happened; null: not known.");
    let withdraw = Body::new("MedicalRecordWithdrawal", json!({"reason": "Another patient's result."})).required(
        "reason",
        kinds::text(REASON),
        "Why.",
    );
    let mut reason = kinds::text(REASON);
    reason.min_length = Some(SHORTEST_REASON);
    let break_glass = Body::new("GlassBreaking", json!({"reason": "Emergency, the patient is unconscious."})).required(
        "reason",
        reason,
        "Why; it stays on record.",
    );
    let closed = || [Problem::not_treating()];
    let error = || Problem::conflict("The record was entered in error, and is not changed any more.");
    vec![
        Operation::new("POST", "/v1/patients/{id}/break-glass", "Opens the medical records of a patient whom one does not treat")
            .detail("For 4 hours, to whoever asks and nobody else. Operators and the clinic's administrators are told by mail, and the patient sees it.")
            .body(break_glass)
            .answer::<glass::Shown>(201, "The broken glass.", Some(broken()), &[]),
        Operation::new("GET", "/v1/medical-records", "Lists the medical records of a patient")
            .detail(WHO)
            .query("patient", kinds::id().about("Of this patient; it is needed."))
            .query("kind", kind().about("Of this kind."))
            .query("state", state().about("In this state."))
            .query("sort", kinds::one_of(&ORDERS).about("By when they were written or happened; `-`: newest first. `-recorded` when nothing is said."))
            .fails(closed())
            .lists::<Shown>("A page of records.", example()),
        Operation::new("POST", "/v1/medical-records", "Writes a medical record")
            .detail(WHO)
            .body(new)
            .fails(closed())
            .creates::<Shown>("The record.", example()),
        Operation::new("GET", "/v1/medical-records/{id}", "Shows a medical record")
            .fails(closed())
            .shows_version::<Shown>("The record.", example()),
        Operation::new("PATCH", "/v1/medical-records/{id}", "Changes a medical record")
            .if_match()
            .body(change)
            .fails(closed())
            .fails([error()])
            .shows_version::<Shown>("The record as it is now.", example()),
        Operation::new("POST", "/v1/medical-records/{id}/withdraw", "Marks a medical record as entered in error")
            .detail("It stays on record, with the reason. Twice changes nothing.")
            .if_match()
            .body(withdraw)
            .fails(closed())
            .shows_version::<Shown>("The record as it is now.", example()),
        Operation::new("GET", "/v1/medical-records/{id}/attachments", "Lists the attachments of a medical record")
            .fails(closed())
            .lists::<attachments::Shown>("A page of attachments, oldest first.", attached()),
        Operation::new("POST", "/v1/medical-records/{id}/attachments", "Adds an attachment to a medical record")
            .detail("The body is the file, of 10 MiB at most. A file that is not what its `Content-Type` says is refused.")
            .query("name", kinds::line(FILE_NAME).about("The name of the file; it is needed."))
            .upload(MediaType::ALL.map(MediaType::as_str))
            .fails(closed())
            .fails([error(), attachments::no_file(), attachments::too_many()])
            .creates::<attachments::Shown>("The attachment.", attached()),
        Operation::new("GET", "/v1/record-attachments/{id}", "Shows an attachment")
            .fails(closed())
            .shows::<attachments::Shown>("The attachment.", attached()),
        Operation::new("GET", "/v1/record-attachments/{id}/content", "Gives the file of an attachment")
            .fails(closed())
            .fails([attachments::withdrawn()])
            .file(200, "The file.", &MediaType::ALL.map(MediaType::as_str), &["Content-Disposition", "Repr-Digest"]),
        Operation::new("POST", "/v1/record-attachments/{id}/withdraw", "Marks an attachment as entered in error")
            .detail("It stays on record, with the reason, and nobody reads it any more. Twice changes nothing.")
            .body(Body::new("AttachmentWithdrawal", json!({"reason": "Another patient's scan."})).required(
                "reason",
                kinds::text(REASON),
                "Why.",
            ))
            .fails(closed())
            .shows::<attachments::Shown>("The attachment as it is now.", attached()),
    ]
}

fn attached() -> Value {
    json!({
        "id": ATTACHMENT, "record_id": RECORD, "author_id": DOCTOR, "file_name": "thorax.png", "media_type": "image/png", "bytes": 48211,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "added_at": BEFORE, "withdrawn_at": null,
        "withdrawn_reason": null,
    })
}

fn example() -> Value {
    json!({
        "id": RECORD, "patient_id": PATIENT, "author_id": DOCTOR, "kind": "allergy", "severity": "high", "title": "Penicillin",
        "description": "Rash within an hour.", "occurred_on": "2019-05-02", "recorded_at": BEFORE, "updated_at": BEFORE, "state": "active",
        "withdrawn_at": null, "withdrawn_reason": null, "version": 1,
    })
}

fn broken() -> Value {
    json!({
        "id": GLASS, "patient_id": PATIENT, "person_id": DOCTOR, "reason": "Emergency, the patient is unconscious.", "broken_at": BEFORE,
        "ends_at": "2026-11-20T14:15:30.123456Z",
    })
}
