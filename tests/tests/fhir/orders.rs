//! Orders and appointments.

use chrono_tz::Tz;
use pulsecal_core::fhir::{AppointmentRecord, AppointmentStatus, Effect, PrescriptionStatus, Record};
use serde_json::{Value, json};

use super::support::{order, prescription, problem, record, with};

#[test]
fn an_order_comes_with_medicine_status_and_plan() {
    let record = prescription(&with(
        &order(),
        &json!({"identifier": [{"system": "urn:rx", "value": "7"}], "dispenseRequest": {"numberOfRepeatsAllowed": 3}}),
    ));
    assert_eq!(
        (record.source_id.as_str(), record.medicine.as_str(), record.dosage_text.as_str()),
        ("m1", "Testozol 10 mg", "As told")
    );
    assert_eq!((record.status, record.refills, record.as_needed), (PrescriptionStatus::Active, Some(3), false));
    assert_eq!(record.authored_on.map(|day| day.to_string()).as_deref(), Some("2026-03-02"));
    assert!(record.timing(Tz::UTC).is_ok());
    assert!(!format!("{record:?}").contains("Testozol"));
    for code in ["active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"] {
        let status = prescription(&with(&order(), &json!({"status": code}))).status;
        assert_eq!((status.as_str(), status.takes_doses()), (code, code == "active"));
    }
}

#[test]
fn the_name_of_the_medicine_is_for_people() {
    let named = |concept: Value| prescription(&with(&order(), &json!({"medicationCodeableConcept": concept}))).medicine;
    assert_eq!(
        named(json!({"coding": [{"code": "1", "display": "One"}, {"display": "Two", "userSelected": true}]})),
        "Two"
    );
    assert_eq!(named(json!({"coding": [{"code": "1"}, {"code": "2", "display": "One"}]})), "One");
    for (concept, reason) in [
        (json!({"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "314076"}]}), "no name"),
        (json!({"text": "Testozol\r\nBcc: x@example.org"}), "control character"),
    ] {
        let problem = problem(&with(&order(), &json!({"medicationCodeableConcept": concept})));
        assert!(
            problem.path.starts_with("MedicationRequest.medicationCodeableConcept") && problem.reason.contains(reason)
        );
    }
}

#[test]
fn the_text_of_the_dosage_is_one_line() {
    let told =
        |instructions: Value| prescription(&with(&order(), &json!({"dosageInstruction": instructions}))).dosage_text;
    assert_eq!(
        told(json!([{"text": "one\r\n at  noon"}, {"patientInstruction": "with water"}])),
        "one at noon; with water"
    );
    assert_eq!(told(json!([{"doseAndRate": [{"doseQuantity": {"value": 1.5, "unit": "tablet"}}]}])), "1.5 tablet");
    assert_eq!(told(json!([{}])), "");
    assert_eq!(told(json!([{"text": "x".repeat(5000)}])).len(), 2000);
}

#[test]
fn only_orders_to_take_something_are_taken() {
    for (more, path) in [
        (json!({"intent": "proposal"}), "MedicationRequest.intent"),
        (json!({"intent": "plan"}), "MedicationRequest.intent"),
        (json!({"intent": null}), "MedicationRequest.intent"),
        (json!({"doNotPerform": true}), "MedicationRequest.doNotPerform"),
        (json!({"status": "activ"}), "MedicationRequest.status"),
        (json!({"status": null}), "MedicationRequest.status"),
        (json!({"subject": null}), "MedicationRequest.subject"),
        (json!({"medicationCodeableConcept": null}), "MedicationRequest.medicationCodeableConcept"),
        (json!({"medicationReference": {"reference": "#x"}}), "MedicationRequest"),
        (json!({"modifierExtension": [{}]}), "MedicationRequest.modifierExtension"),
        (json!({"authoredOn": "last week"}), "MedicationRequest.authoredOn"),
        (json!({"id": "no id at all"}), "MedicationRequest.id"),
        (json!({"id": null}), "MedicationRequest.id"),
    ] {
        let problem = problem(&with(&order(), &more));
        assert_eq!((problem.path.as_str(), problem.effect), (path, Effect::Skipped), "{more}");
    }
}

#[test]
fn other_releases_are_recognised() {
    for (more, path, release) in [
        (json!({"medication": {"concept": {"text": "x"}}}), "MedicationRequest.medication", "R5"),
        (
            json!({"requester": {"agent": {"reference": "Practitioner/d1"}}}),
            "MedicationRequest.requester.agent",
            "STU3",
        ),
        (json!({"context": {}}), "MedicationRequest.context", "STU3"),
    ] {
        let problem = problem(&with(&order(), &more));
        assert_eq!(problem.path, path);
        assert!(problem.reason.contains(release), "{}", problem.reason);
    }
    assert!(problem(&json!({"resourceType": "MedicationOrder", "id": "m"})).reason.contains("DSTU2"));
    assert!(problem(&with(&visit(), &json!({"subject": {}}))).reason.contains("R5"));
}

fn visit() -> Value {
    json!({
        "resourceType": "Appointment", "id": "a1", "status": "booked",
        "start": "2026-03-29T02:30:00+02:00", "end": "2026-03-29T03:00:00+02:00",
        "description": "Check\nup", "appointmentType": {"coding": [{"display": "Follow up"}]},
        "participant": [
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
            {"actor": {"reference": "Location/l1"}, "status": "accepted"},
            {"actor": {"reference": "Practitioner/gone"}, "status": "declined"},
            {"actor": {"reference": "Practitioner/d1"}, "status": "accepted"},
            {"actor": {"reference": "Practitioner/d2"}, "status": "accepted"}
        ]
    })
}

fn appointment(resource: &Value) -> AppointmentRecord {
    match record(resource).record {
        Record::Appointment(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_appointment_comes_with_instants_and_people() {
    let entry = record(&visit());
    assert_eq!(entry.notes.iter().map(|note| note.path.as_str()).collect::<Vec<_>>(), ["Appointment.participant[4]"]);
    let record = appointment(&visit());
    assert_eq!(
        (record.start.to_rfc3339(), record.end.to_rfc3339()),
        ("2026-03-29T00:30:00+00:00".into(), "2026-03-29T01:00:00+00:00".into())
    );
    assert_eq!((record.kind.as_deref(), record.description.as_deref()), (Some("Follow up"), Some("Check up")));
    assert_eq!(record.practitioner, Some(pulsecal_core::fhir::Link::Id("d1".parse().expect("an id"))));
    let lasting = appointment(&with(&visit(), &json!({"end": null, "minutesDuration": 45})));
    assert_eq!(lasting.end.to_rfc3339(), "2026-03-29T01:15:00+00:00");
    for code in [
        "proposed",
        "pending",
        "booked",
        "arrived",
        "fulfilled",
        "cancelled",
        "noshow",
        "entered-in-error",
        "checked-in",
        "waitlist",
    ] {
        assert_eq!(appointment(&with(&visit(), &json!({"status": code}))).status.as_str(), code);
    }
    assert_eq!(appointment(&visit()).status, AppointmentStatus::Booked);
}

#[test]
fn an_appointment_that_cannot_be_is_refused() {
    for (more, path) in [
        (json!({"end": "2026-03-29T02:30:00+02:00"}), "Appointment.end"),
        (json!({"end": "2026-03-28T03:00:00+02:00"}), "Appointment.end"),
        (json!({"end": null}), "Appointment.end"),
        (json!({"start": "2026-03-29T02:30:00"}), "Appointment.start"),
        (json!({"start": "2026-03-29"}), "Appointment.start"),
        (json!({"start": null}), "Appointment.start"),
        (json!({"status": "done"}), "Appointment.status"),
        (json!({"participant": []}), "Appointment.participant"),
        (json!({"participant": [{"actor": {"reference": "#p"}}]}), "Appointment.participant[0].actor.reference"),
        (
            json!({"participant": [{"actor": {"reference": "Patient/p1"}}, {"actor": {"reference": "Patient/p2"}}]}),
            "Appointment.participant[1]",
        ),
    ] {
        let problem = problem(&with(&visit(), &more));
        assert_eq!((problem.path.as_str(), problem.effect), (path, Effect::Skipped), "{more}");
    }
}
