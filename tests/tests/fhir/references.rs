//! How resources point to each other.

use pulsecal_core::fhir::{Effect, Identifier, Link, PrescriptionRecord, Problem, Record};
use serde_json::{Value, json};

use super::support::{Items, order, patient, prescription, problem, read_all, read_bytes, record, with};

fn id(text: &str) -> Link {
    Link::Id(text.parse().expect("an id"))
}

/// A Bundle of (fullUrl, resource).
fn read_urls(entries: &[(&str, Value)]) -> Items {
    let entries: Vec<Value> =
        entries.iter().map(|(url, resource)| json!({"fullUrl": url, "resource": resource})).collect();
    read_bytes(json!({"entry": entries, "type": "transaction", "resourceType": "Bundle"}).to_string())
}

fn orders(items: Items) -> Vec<Result<PrescriptionRecord, Problem>> {
    let order = |item: Result<pulsecal_core::fhir::Entry, Problem>| match item.map(|entry| entry.record) {
        Ok(Record::Prescription(record)) => Some(Ok(*record)),
        Ok(_) => None,
        Err(problem) => Some(Err(problem)),
    };
    items.into_iter().filter_map(order).collect()
}

#[test]
fn relative_absolute_and_versioned_references_lead_to_ids() {
    for reference in ["Patient/p1", "Patient/p1/_history/3", "https://a.example.org/fhir/Patient/p1"] {
        let record = prescription(&with(&order(), &json!({"subject": {"reference": reference}})));
        assert_eq!(record.patient, id("p1"), "{reference}");
    }
    for reference in [
        "p1",
        "Patient/",
        "Patient/p 1",
        "Group/g1",
        "Practitioner/d1",
        "#p1",
        "urn:uuid:4a1c",
        "Patient?name=Muster",
        "",
        "http://x/Patient",
    ] {
        let problem = problem(&with(&order(), &json!({"subject": {"reference": reference}})));
        assert_eq!(problem.path, "MedicationRequest.subject.reference", "{reference}");
        assert!(!problem.reason.contains("Muster"));
    }
}

#[test]
fn urns_lead_to_entries_wherever_they_stand() {
    let reference = |urn: &str| json!({"reference": urn});
    let order =
        with(&order(), &json!({"subject": reference("urn:uuid:aaaa"), "requester": reference("urn:uuid:dddd")}));
    let mut found = orders(read_urls(&[
        ("urn:uuid:eeee", order),
        ("urn:uuid:aaaa", with(&patient(), &json!({"id": null}))),
        ("urn:uuid:dddd", json!({"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Arzt"}]})),
    ]));
    let record = found.remove(0).expect("understood");
    // Without an id of its own an entry is known by its URN.
    assert_eq!((record.patient, record.prescriber), (id("aaaa"), Some(id("d1"))));
}

#[test]
fn searches_by_identifier_are_links_and_others_are_not() {
    let npi =
        Link::Identifier(Identifier { system: Some("http://hl7.org/fhir/sid/us-npi".into()), value: "9999".into() });
    let requester = json!({"reference": "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9999"});
    assert_eq!(prescription(&with(&order(), &json!({"requester": requester}))).prescriber, Some(npi.clone()));
    let logical =
        json!({"identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": "9999"}, "display": "Dr. Arzt"});
    assert_eq!(prescription(&with(&order(), &json!({"requester": logical}))).prescriber, Some(npi));
    for requester in [
        json!({"display": "Dr. Arzt"}),
        json!({"reference": "Practitioner?name=arzt"}),
        json!({"reference": "Organization/o1"}),
        json!({"reference": "#d"}),
    ] {
        let entry = record(&with(&order(), &json!({"requester": requester})));
        assert_eq!(entry.notes.len(), 1);
        assert_eq!(entry.notes[0].effect, Effect::Partial);
        assert!(!entry.notes[0].reason.to_lowercase().contains("arzt"));
        assert!(matches!(entry.record, Record::Prescription(record) if record.prescriber.is_none()));
    }
}

#[test]
fn roles_lead_to_their_practitioner() {
    let role =
        json!({"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/d1"}});
    let ordered = with(&order(), &json!({"requester": {"reference": "PractitionerRole/r1"}}));
    let record = orders(read_all(&[ordered.clone(), role])).remove(0).expect("understood");
    assert_eq!(record.prescriber, Some(id("d1")));
    assert_eq!(record_notes(&ordered), 1);
}

fn record_notes(resource: &Value) -> usize {
    record(resource).notes.len()
}

#[test]
fn medicines_are_found_in_the_file_and_in_the_order() {
    let by_reference = |reference: &str| {
        with(&order(), &json!({"medicationCodeableConcept": null, "medicationReference": {"reference": reference}}))
    };
    let medication = |id: &str| json!({"resourceType": "Medication", "id": id, "code": {"text": "Refozol"}});
    let contained = with(&by_reference("#med"), &json!({"contained": [medication("other"), medication("med")]}));
    assert_eq!(prescription(&contained).medicine, "Refozol");
    assert!(problem(&by_reference("#med")).reason.contains("not there"));
    for reference in ["Medication/x1", "http://a.example.org/Medication/x1"] {
        let record = orders(read_all(&[by_reference(reference), medication("x1")])).remove(0).expect("understood");
        assert_eq!(record.medicine, "Refozol");
    }
    let urn = orders(read_urls(&[("urn:uuid:1", by_reference("urn:uuid:2")), ("urn:uuid:2", medication("x1"))]));
    assert_eq!(urn[0].as_ref().expect("understood").medicine, "Refozol");
    assert!(problem(&by_reference("Medication/x1")).reason.contains("not in this file"));
    let nameless = read_all(&[by_reference("Medication/x1"), json!({"resourceType": "Medication", "id": "x1"})]);
    assert!(orders(nameless)[0].as_ref().expect_err("no name").reason.contains("has no name"));
}

#[test]
fn two_servers_in_one_file_are_never_mixed() {
    let items = read_urls(&[
        ("https://a.example.org/fhir/Patient/p1", patient()),
        ("https://b.example.org/fhir/Patient/p1", with(&patient(), &json!({"name": [{"family": "Anders"}]}))),
        (
            "https://a.example.org/fhir/MedicationRequest/m1",
            with(&order(), &json!({"subject": {"reference": "https://b.example.org/fhir/Patient/p1"}})),
        ),
    ]);
    let problems: Vec<&str> =
        items.iter().filter_map(|item| item.as_ref().err()).map(|problem| problem.reason.as_str()).collect();
    assert_eq!(items.len() - problems.len(), 1);
    assert!(problems[0].contains("another server") && problems[1].contains("another server"), "{problems:?}");
}
