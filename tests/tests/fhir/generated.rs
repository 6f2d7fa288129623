//! Files that other programs wrote.

use chrono_tz::Tz;
use pulsecal_core::doses::timing::Timing;
use pulsecal_core::fhir::{Entry, Kind, Link, PrescriptionRecord, Record};

use super::support::read_bytes;

fn all_understood(text: &str) -> Vec<Entry> {
    read_bytes(text).into_iter().map(|item| item.expect("understood")).collect()
}

fn count(entries: &[Entry], kind: Kind) -> usize {
    entries.iter().filter(|entry| entry.record.kind() == kind).count()
}

fn prescriptions(entries: &[Entry]) -> impl Iterator<Item = &PrescriptionRecord> {
    entries.iter().filter_map(|entry| match &entry.record {
        Record::Prescription(record) => Some(record.as_ref()),
        _ => None,
    })
}

/// Every order names a patient and a prescriber of the same file.
fn links_hold(entries: &[Entry]) {
    let has = |kind: Kind, link: &Link| {
        entries.iter().any(|entry| entry.record.kind() == kind && Link::Id(entry.record.source_id().clone()) == *link)
    };
    for order in prescriptions(entries) {
        assert!(has(Kind::Patient, &order.patient));
        assert!(has(Kind::Practitioner, order.prescriber.as_ref().expect("a prescriber")));
        assert!(!order.medicine.is_empty());
    }
}

#[test]
fn carebundle_bundles_are_understood() {
    let entries = all_understood(include_str!("../fixtures/fhir/carebundle-bundles.json"));
    let counts = [Kind::Patient, Kind::Practitioner, Kind::MedicationRequest].map(|kind| count(&entries, kind));
    assert_eq!(counts, [3, 3, 3]);
    assert_eq!(entries.len(), 9);
    links_hold(&entries);
    let dummett = entries.iter().find_map(|entry| match &entry.record {
        Record::Patient(record) if record.family == "Dummett" => Some(record),
        _ => None,
    });
    let dummett = dummett.expect("the first patient");
    assert_eq!(dummett.source_id.as_str(), "6d367230-21b3-5816-8d8c-5239028c388f");
    assert_eq!(dummett.birth_date.map(|day| day.to_string()).as_deref(), Some("1961-06-03"));
    assert_eq!(dummett.identifiers.len(), 1);
    // It writes no dosage: the orders are kept, without a plan.
    for order in prescriptions(&entries) {
        let problem = order.timing(Tz::UTC).expect_err("no dosage");
        assert_eq!(problem.path, "MedicationRequest.dosageInstruction");
    }
}

#[test]
fn carebundle_exports_are_understood_whatever_their_order() {
    let entries = all_understood(include_str!("../fixtures/fhir/carebundle-export.ndjson"));
    let counts = [Kind::Patient, Kind::Practitioner, Kind::MedicationRequest].map(|kind| count(&entries, kind));
    assert_eq!(counts, [4, 4, 5]);
    links_hold(&entries);
    let first_order = entries.iter().position(|entry| entry.record.kind() == Kind::MedicationRequest);
    let last_person = entries.iter().rposition(|entry| entry.record.kind() == Kind::Patient);
    assert!(first_order > last_person);
    let lab = all_understood(include_str!("../fixtures/fhir/carebundle-lab.json"));
    assert_eq!(lab.len(), 6);
    links_hold(&lab);
}

#[test]
fn bundles_shaped_like_synthea_are_understood() {
    let entries = all_understood(include_str!("../fixtures/fhir/synthea-shaped.json"));
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry.notes.is_empty()));
    let Some(Record::Patient(patient)) = entries.first().map(|entry| &entry.record) else {
        panic!("a patient first");
    };
    assert_eq!((patient.given.as_str(), patient.family.as_str()), ("Erika42", "Muster17"));
    assert_eq!((patient.locale.as_deref(), patient.deceased, patient.identifiers.len()), (Some("en-US"), false, 2));
    let orders: Vec<_> = prescriptions(&entries).collect();
    let [daily, needed, ended] = orders.as_slice() else {
        panic!("three orders");
    };
    let Link::Identifier(doctor) = daily.prescriber.as_ref().expect("a prescriber") else {
        panic!("by identifier");
    };
    assert_eq!(
        (doctor.system.as_deref(), doctor.value.as_str()),
        (Some("http://hl7.org/fhir/sid/us-npi"), "9999999999")
    );
    let timing = daily.timing(Tz::America__New_York).expect("a plan");
    let Timing::TimesOfDay { times, start, .. } = timing else {
        panic!("times of day");
    };
    assert_eq!((times.len(), start.to_string().as_str()), (1, "2026-01-14"));
    assert_eq!(needed.timing(Tz::UTC).expect("a plan"), Timing::AsNeeded);
    assert_eq!(ended.medicine, "Testocillin 250 MG Oral Capsule");
    assert!(!ended.status.takes_doses());
}
