//! Samples of medical records in the test of traces.

use pulsecal_tests::http::{Answer, Http};
use serde_json::json;
use uuid::Uuid;

/// A request to this route of medical records, which leaves its trace.
pub async fn record(doctor: &Http, patient: Uuid, route: &str, method: &str) -> Answer {
    let records = "/v1/medical-records";
    if (method, route) == ("GET", records) {
        return doctor.get(&format!("{records}?patient={patient}")).await;
    }
    let new = json!({"patient_id": patient, "kind": "note", "title": "Slept well"});
    let written = doctor.post(records, &new).await;
    if route == records {
        return written;
    }
    let path = route.replace("{id}", written.expect_status(201).json()["id"].as_str().expect("an id"));
    match method {
        "GET" => doctor.get(&path).await,
        "PATCH" => doctor.patch(&path, &json!({"title": "Slept badly"})).await,
        _ => doctor.post(&path, &json!({"reason": "Another patient's."})).await,
    }
}
