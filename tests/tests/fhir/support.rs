//! Small bundles made by hand, and what a reader makes of them.

use std::io::Cursor;

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use pulsecal_core::doses::timing::{Days, Timing};
use pulsecal_core::fhir::{self, Effect, Entry, Limits, PrescriptionRecord, Problem, Record};
use serde_json::{Value, json};

/// All that a file yields.
pub type Items = Vec<Result<Entry, Problem>>;

pub fn read_bytes(bytes: impl Into<Vec<u8>>) -> Items {
    fhir::read(Cursor::new(bytes.into()), Limits::default()).collect()
}

/// A Bundle of resources, without full URLs.
pub fn bundle(resources: &[Value]) -> Value {
    let entries: Vec<Value> = resources.iter().map(|resource| json!({"resource": resource})).collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries})
}

pub fn read_all(resources: &[Value]) -> Items {
    read_bytes(bundle(resources).to_string())
}

/// The single record of a single resource.
pub fn record(resource: &Value) -> Entry {
    let mut items = read_all(std::slice::from_ref(resource));
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0).expect("understood")
}

/// The single problem with a single resource.
pub fn problem(resource: &Value) -> Problem {
    let mut items = read_all(std::slice::from_ref(resource));
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0).expect_err("not understood")
}

/// The base with the fields of `more` set; null removes one.
pub fn with(base: &Value, more: &Value) -> Value {
    let mut merged = base.clone();
    let fields = merged.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    merged
}

pub fn patient() -> Value {
    json!({"resourceType": "Patient", "id": "p1", "name": [{"family": "Muster", "given": ["Mara"]}]})
}

/// An order written on Monday 2 March 2026.
pub fn order() -> Value {
    json!({
        "resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order",
        "medicationCodeableConcept": {"text": "Testozol 10 mg"},
        "subject": {"reference": "Patient/p1"}, "authoredOn": "2026-03-02",
        "dosageInstruction": [{"text": "As told", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}]
    })
}

pub fn prescription(resource: &Value) -> PrescriptionRecord {
    match record(resource).record {
        Record::Prescription(record) => *record,
        other => panic!("{other:?}"),
    }
}

/// The timing of an order with these instructions, for a patient in `zone`.
pub fn instructed_in(zone: Tz, instructions: &Value) -> Result<Timing, Problem> {
    prescription(&with(&order(), &json!({"dosageInstruction": instructions}))).timing(zone)
}

pub fn repeat(repeat: &Value) -> Result<Timing, Problem> {
    instructed_in(Tz::Europe__Berlin, &json!([{"timing": {"repeat": repeat}}]))
}

pub fn ids(items: &Items) -> Vec<&str> {
    items.iter().filter_map(|item| item.as_ref().ok()).map(|entry| entry.record.source_id().as_str()).collect()
}

pub fn problems(items: &Items) -> Vec<String> {
    items.iter().filter_map(|item| item.as_ref().err()).map(ToString::to_string).collect()
}

pub fn line(id: &str) -> String {
    with(&patient(), &json!({"id": id})).to_string()
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

pub fn weekdays(list: &str) -> Days {
    Days::Weekdays { on: list.split(' ').map(|name| name.parse().expect("a weekday")).collect() }
}

pub fn nth(n: u16) -> Days {
    Days::NthDay { n: n.try_into().expect("not 0") }
}

/// "08:00 20:00" on some days from 2 March 2026, up to a day if one is given.
pub fn at(times: &str, days: Days, end: Option<&str>) -> Timing {
    Timing::TimesOfDay {
        times: times.split(' ').map(|time| NaiveTime::parse_from_str(time, "%H:%M").expect("a time")).collect(),
        days,
        start: day("2026-03-02"),
        end: end.map(day),
    }
}

pub fn every(hours: u16, first: &str, end: Option<&str>) -> Timing {
    Timing::EveryHours {
        hours: hours.try_into().expect("not 0"),
        start: day("2026-03-02"),
        first: NaiveTime::parse_from_str(first, "%H:%M").expect("a time"),
        end: end.map(day),
    }
}

#[track_caller]
pub fn means(value: Value, expected: Timing) {
    assert_eq!(repeat(&value).expect("understood"), expected, "{value}");
}

#[track_caller]
pub fn refused(value: Value, field: &str, reason: &str) {
    let problem = repeat(&value).expect_err("not understood");
    let path = format!("MedicationRequest.dosageInstruction[0].timing.repeat{field}");
    assert_eq!(problem.path, path, "{value}");
    assert!(problem.reason.contains(reason), "{value}: {}", problem.reason);
    assert_eq!(problem.resource, "MedicationRequest/m1");
    assert_eq!(problem.effect, Effect::Partial);
}
