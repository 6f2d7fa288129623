//! What the contract says of visits.

use pulsecal_core::visits::{CANCEL_REASONS, KINDS, MODES, STATES, STATUSES, VisitError};
use serde_json::{Value, json};
use utoipa::openapi::Object;

use super::{MEETING_URL, ORDERS, PLACE, Shown};
use crate::contract::examples::{APPOINTMENT, BEFORE, DOCTOR, PATIENT};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::paging;
use crate::problem::Problem;

/// What the contract says of them.
pub(in crate::routes) fn contract() -> Vec<Operation> {
    let new = json!({
        "patient_id": PATIENT, "doctor_id": DOCTOR, "starts_at": "2026-12-01T09:00:00Z", "ends_at": "2026-12-01T09:30:00Z", "kind": "follow_up",
    });
    let new = Body::new("NewAppointment", new)
        .required("patient_id", kinds::id(), "An active patient of the organization.")
        .required("doctor_id", kinds::id(), "An active doctor of the organization.")
        .required(
            "starts_at",
            kinds::whole_minute(),
            "Its begin: a whole minute, five years ahead at most, or less where the organization says so.",
        )
        .required(
            "ends_at",
            kinds::whole_minute(),
            "Its end: after its begin, by 24 hours at most, or less where the organization says so.",
        )
        .optional("kind", kinds::one_of(&KINDS), "The kind of visit; `other` when nothing is said.")
        .set(
            "requested",
            kinds::flag(),
            "It is only asked for: its time is kept, and nobody is told until it is confirmed or declined.",
        );
    let to = json!({"starts_at": "2026-12-02T09:00:00Z", "ends_at": "2026-12-02T09:30:00Z"});
    let to = version(Body::new("AppointmentMove", to))
        .set("starts_at", kinds::whole_minute(), "Its new begin.")
        .set("ends_at", kinds::whole_minute(), "Its new end.")
        .set("doctor_id", kinds::id(), "Another doctor.");
    let cancel = version(Body::new("AppointmentCancel", json!({"reason": "patient"})));
    let cancel = cancel.optional("reason", kinds::one_of(&CANCEL_REASONS), "Why; `clinic` when nothing is said.");
    let confirm = version(Body::new("AppointmentConfirm", json!({"version": 1})));
    let mut all = vec![
        Operation::new("GET", "/v1/appointments", "Lists visits")
            .query("from", kinds::instant().about("Those that begin at this instant or later."))
            .query("to", kinds::instant().about("Those that begin before this instant."))
            .query("doctor", kinds::id().about("Of this doctor."))
            .query("patient", kinds::id().about("Of this patient."))
            .query("status", status().about("In this status."))
            .query("sort", paging::sorts(&ORDERS, "By their begin"))
            .lists::<Shown>("A page of visits, by their begin.", example()),
        Operation::new("POST", "/v1/appointments", "Books a visit")
            .detail("The patient is told, and reminded as the organization has it: a day and an hour before, where nothing else is set. At a time when it is closed the visit is booked all the same, and says so in `outside_hours`.")
            .body(place(new))
            .fails([Problem::from(VisitError::Taken)])
            .creates::<Shown>("The visit.", example()),
        Operation::new("GET", "/v1/appointments/{id}", "Shows a visit").shows_version::<Shown>("The visit.", example()),
        Operation::new("POST", "/v1/appointments/{id}/move", "Moves a visit")
            .detail("Gives it another time, place or doctor; the patient is told. The time that it has already changes nothing.")
            .if_match()
            .body(place(to))
            .fails([Problem::from(VisitError::Taken)])
            .shows_version::<Shown>("The visit as it is now.", example()),
        Operation::new("POST", "/v1/appointments/{id}/cancel", "Calls a visit off")
            .detail("The patient is told. Twice changes nothing.")
            .if_match()
            .body_or_none(cancel)
            .fails([Problem::from(VisitError::Past)])
            .shows_version::<Shown>("The visit as it is now.", example()),
        Operation::new("POST", "/v1/appointments/{id}/confirm", "Records that the patient will come")
            .detail("Twice changes nothing.")
            .if_match()
            .body_or_none(confirm)
            .fails([Problem::from(VisitError::Past)])
            .shows_version::<Shown>("The visit as it is now.", example()),
        step("/v1/appointments/{id}/check-in", "Checks the patient in", "From four hours before the visit; also who comes after all, once the visit was a no-show."),
        step("/v1/appointments/{id}/start", "Begins the visit", "After the patient was checked in."),
        step("/v1/appointments/{id}/complete", "Ends the visit", "After it was begun."),
        step("/v1/appointments/{id}/decline", "Declines a visit that was asked for", "The patient is told. What is agreed is cancelled instead."),
        step("/v1/appointments/{id}/no-show", "Records that nobody came", "From the begin of the visit on."),
    ];
    all.extend(super::session::contract());
    all
}

/// A step of the day of a visit.
fn step(path: &'static str, summary: &'static str, detail: &'static str) -> Operation {
    Operation::new("POST", path, summary)
        .detail(detail)
        .if_match()
        .body_or_none(version(Body::new("AppointmentStep", json!({"version": 1}))))
        .fails([Problem::from(VisitError::Past)])
        .shows_version::<Shown>("The visit as it is now. Twice changes nothing.", example())
}

fn version(body: Body) -> Body {
    body.optional(
        "version",
        kinds::number(i32::MIN.into()..=i32::MAX.into()),
        "The version that is to be changed; as `If-Match`.",
    )
}

/// What is said about the place, when booking and when moving.
fn place(body: Body) -> Body {
    body.set(
        "zone",
        kinds::zone(),
        "The zone its times are said in; the patient's, or the organization's, when nothing is said.",
    )
    .set("mode", mode(), "`in_person` when nothing is said.")
    .optional("place", kinds::text(PLACE), "Where.")
    .optional(
        "meeting_url",
        kinds::like("^https://", MEETING_URL, "https://meet.example.org/4711"),
        "Where, if it is virtual.",
    )
}

/// A status.
pub(super) fn status() -> Object {
    kinds::one_of(&STATUSES)
}

/// A state.
pub(super) fn state() -> Object {
    kinds::one_of(&STATES)
}

/// Where it takes place.
pub(super) fn mode() -> Object {
    kinds::one_of(&MODES)
}

fn example() -> Value {
    json!({
        "id": APPOINTMENT, "patient_id": PATIENT, "doctor_id": DOCTOR, "starts_at": "2026-12-01T09:00:00Z", "ends_at": "2026-12-01T09:30:00Z",
        "zone": "Europe/Berlin", "local": "2026-12-01T10:00:00+01:00", "status": "booked", "state": "confirmed", "kind": "follow_up", "mode": "in_person",
        "place": "Room 2", "meeting_url": null, "sequence": 0, "confirmed_by_patient_at": null, "move_asked_at": null, "outside_hours": false,
        "cancel_reason": null, "cancelled_at": null, "checked_in_at": null, "started_at": null, "completed_at": null, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}
