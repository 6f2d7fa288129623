//! What the contract says of payments.

use pulsecal_core::money::MOST_AMOUNT;
use pulsecal_core::payments::{KINDS, METHODS, MOST_REASON, MOST_REFERENCE, PaymentError, STATES};
use serde_json::{Value, json};
use utoipa::openapi::Object;

use super::{Given, ORDERS, Shown};
use crate::contract::examples::{APPOINTMENT, BEFORE, DOCTOR, PATIENT, PAYMENT, REFUND};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::problem::Problem;

pub(super) fn kind() -> Object {
    kinds::one_of(&KINDS)
}

pub(super) fn method() -> Object {
    kinds::one_of(&METHODS)
}

pub(super) fn state() -> Object {
    kinds::one_of(&STATES)
}

/// The routes.
pub(in crate::routes) fn contract() -> Vec<Operation> {
    let amount = || kinds::number(1..=MOST_AMOUNT);
    let share = || kinds::number(0..=MOST_AMOUNT);
    let new = json!({"patient_id": PATIENT, "appointment_id": APPOINTMENT, "kind": "consultation", "method": "card", "amount": 4500});
    let new = Body::new("NewPayment", new)
        .required("patient_id", kinds::id(), "Who pays; a patient of the organization.")
        .optional("appointment_id", kinds::id(), "For which visit of theirs.")
        .required("kind", kind(), "What it is for.")
        .required("method", method(), "How it is paid.")
        .required("amount", amount(), "All of it, in the smallest unit of the organization's currency.")
        .optional("insurance_id", kinds::id(), "The policy that pays a share.")
        .set("covered", share(), "What the policy pays of it; 0 when nothing is said.")
        .optional("due_on", kinds::day(), "Until when it is to be paid.");
    let change = Body::new("PaymentChange", json!({"due_on": "2026-12-31"}))
        .set("kind", kind(), "What it is for.")
        .set("method", method(), "How it is paid.")
        .set("amount", amount(), "All of it.")
        .optional("insurance_id", kinds::id(), "The policy that pays a share; null: none.")
        .set("covered", share(), "What the policy pays of it.")
        .optional("due_on", kinds::day(), "Until when it is to be paid; null: not said.");
    let complete = Body::new("PaymentCompletion", json!({"reference": "TX-20261120-17"})).optional(
        "reference",
        kinds::line(MOST_REFERENCE),
        "What the bank or the terminal calls it.",
    );
    let fail = Body::new("PaymentFailure", json!({"reason": "The card was refused."})).required(
        "reason",
        kinds::text(MOST_REASON),
        "Why.",
    );
    let refund = Body::new("NewRefund", json!({"amount": 1500, "reason": "Half of the time was used."}))
        .optional("amount", amount(), "How much; all that is left of it when nothing is said.")
        .required("reason", kinds::text(MOST_REASON), "Why.");
    let none = |name| Body::new(name, json!({}));
    let state_of = |state: &str| [Problem::from(PaymentError::State(state.into()))];
    let step = |path, summary, detail| Operation::new("POST", path, summary).detail(detail);
    vec![
        Operation::new("GET", "/v1/payments", "Lists payments")
            .query("patient", kinds::id().about("Of this patient."))
            .query("appointment", kinds::id().about("For this visit."))
            .query("state", state().about("In this state."))
            .query("from", kinds::instant().about("Made at this instant or later."))
            .query("to", kinds::instant().about("Made before this instant."))
            .query("sort", kinds::one_of(&ORDERS).about("By when they were made, or until when they are to be paid; `-`: latest first. `-created` when nothing is said."))
            .lists::<Shown>("A page of payments.", example()),
        Operation::new("POST", "/v1/payments", "Asks for a payment").body(new).creates::<Shown>("The payment.", example()),
        Operation::new("GET", "/v1/payments/{id}", "Shows a payment").shows_version::<Shown>("The payment.", example()),
        Operation::new("PATCH", "/v1/payments/{id}", "Changes a payment that is pending")
            .detail("A field that is left out stays as it is.")
            .if_match()
            .body(change)
            .fails(state_of("completed"))
            .shows_version::<Shown>("The payment as it is now.", example()),
        step("/v1/payments/{id}/process", "Has the bank or terminal take a payment", "Twice changes nothing.")
            .body_or_none(none("PaymentProcessing"))
            .fails(state_of("completed"))
            .shows_version::<Shown>("The payment as it is now.", example()),
        step("/v1/payments/{id}/complete", "Puts on record that it is paid", "The patient gets a receipt by mail. Twice changes nothing.")
            .body_or_none(complete)
            .fails(state_of("cancelled"))
            .shows_version::<Shown>("The payment as it is now.", example()),
        step("/v1/payments/{id}/fail", "Puts on record that it was not paid", "It may be taken anew. Twice changes nothing.")
            .body(fail)
            .fails(state_of("completed"))
            .shows_version::<Shown>("The payment as it is now.", example()),
        step("/v1/payments/{id}/cancel", "Does not ask for it any more", "Twice changes nothing.")
            .body_or_none(none("PaymentCancellation"))
            .fails(state_of("completed"))
            .shows_version::<Shown>("The payment as it is now.", example()),
        step("/v1/payments/{id}/refund", "Gives back all or a part of what was paid", "The patient is told by mail. Together refunds are never more than what was paid.")
            .body(refund)
            .fails(state_of("pending"))
            .fails([Problem::from(PaymentError::TooMany)])
            .answer::<Given>(201, "The refund.", Some(given()), &[]),
        Operation::new("GET", "/v1/payments/{id}/refunds", "Lists what was given back")
            .lists::<Given>("A page of refunds, oldest first.", given()),
    ]
}

fn example() -> Value {
    json!({
        "id": PAYMENT, "patient_id": PATIENT, "appointment_id": APPOINTMENT, "insurance_id": null, "kind": "consultation", "method": "card",
        "currency": "EUR", "amount": 4500, "covered": 0, "refunded": 0, "due_on": null, "state": "completed", "reference": "TX-20261120-17",
        "failed_reason": null, "completed_at": BEFORE, "created_at": BEFORE, "updated_at": BEFORE, "version": 2,
    })
}

fn given() -> Value {
    json!({"id": REFUND, "payment_id": PAYMENT, "amount": 1500, "reason": "Half of the time was used.", "refunded_by": DOCTOR, "refunded_at": BEFORE})
}
