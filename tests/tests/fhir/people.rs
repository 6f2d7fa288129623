//! Patients, practitioners and organizations.

use chrono_tz::Tz;
use pulsecal_core::fhir::{Effect, Identifier, IdentifierFilter, Link, PatientRecord, Record, SystemFilter};
use serde_json::{Value, json};

use super::support::{patient, problem, read_all, record, with};

fn patient_with(more: &Value) -> PatientRecord {
    match record(&with(&patient(), more)).record {
        Record::Patient(record) => record,
        other => panic!("{other:?}"),
    }
}

fn zone_of(url: &str, name: &str) -> Value {
    json!({"extension": [{"url": url, "valueCode": name}]})
}

const ZONE: &str = "http://hl7.org/fhir/StructureDefinition/timezone";

#[test]
fn a_patient_comes_with_all_that_reminders_need() {
    let mut full = with(
        &patient(),
        &json!({
            "identifier": [{"system": "urn:oid:1.2.3", "value": "A-17"}, {"value": "bare"}, {"system": "only"}],
            "name": [
                {"use": "old", "family": "Vorher"}, {"use": "usual", "given": ["Mimi"]},
                {"use": "official", "family": " Muster ", "given": ["Mara", "Ida"]}
            ],
            "birthDate": "1961-06-03", "active": true, "deceasedBoolean": false,
            "telecom": [
                {"system": "phone", "value": "030 1", "use": "home"}, {"system": "phone", "value": "0170 2", "use": "mobile"},
                {"system": "email", "value": "old@example.org", "use": "old"},
                {"system": "email", "value": "second@example.org", "rank": 2}, {"system": "email", "value": "mara@example.org", "rank": 1}
            ],
            "communication": [{"language": {"coding": [{"code": "fr"}]}}, {"preferred": true, "language": {"coding": [{"code": "de-CH"}]}}],
            "managingOrganization": {"reference": "Organization/o1"}
        }),
    );
    full["extension"] = zone_of(ZONE, "Europe/Zurich")["extension"].clone();
    let entry = record(&full);
    assert_eq!(entry.place, "entry[0]");
    assert_eq!(entry.notes, vec![]);
    let Record::Patient(record) = entry.record else {
        panic!("a patient");
    };
    assert_eq!(
        (record.source_id.as_str(), record.given.as_str(), record.family.as_str()),
        ("p1", "Mara Ida", "Muster")
    );
    assert_eq!(record.birth_date.map(|day| day.to_string()).as_deref(), Some("1961-06-03"));
    assert_eq!(record.email.as_deref(), Some("mara@example.org"));
    assert_eq!(record.phone.as_deref(), Some("0170 2"));
    assert_eq!(record.locale.as_deref(), Some("de-CH"));
    assert_eq!(record.zone, Some(Tz::Europe__Zurich));
    assert_eq!(record.organization, Some(Link::Id("o1".parse().expect("an id"))));
    assert!(record.active && !record.deceased);
    let identifiers: Vec<_> = record.identifiers.iter().map(|i| (i.system.as_deref(), i.value.as_str())).collect();
    assert_eq!(identifiers, [(Some("urn:oid:1.2.3"), "A-17"), (None, "bare")]);
    let shown = format!("{record:?} {:?}", record.identifiers);
    assert!(!shown.contains("Muster") && !shown.contains("example.org") && !shown.contains("A-17"), "{shown}");
}

#[test]
fn the_dead_and_the_replaced_are_marked() {
    assert!(patient_with(&json!({"deceasedDateTime": "2020"})).deceased);
    assert!(patient_with(&json!({"deceasedBoolean": true})).deceased);
    assert!(!patient_with(&json!({"link": [{"type": "replaced-by"}]})).active);
    assert!(!patient_with(&json!({"active": false})).active);
    let both = problem(&with(&patient(), &json!({"deceasedBoolean": false, "deceasedDateTime": "2020"})));
    assert!(both.reason.contains("deceasedBoolean and deceasedDateTime"));
}

#[test]
fn zones_are_known_unknown_or_in_doubt() {
    let on_address = patient_with(&json!({"address": [{"extension": zone_of(ZONE, "Asia/Tokyo")["extension"]}]}));
    assert_eq!(on_address.zone, Some(Tz::Asia__Tokyo));
    let text = patient_with(&json!({"extension": [{"url": ZONE, "valueString": "America/New_York"}]}));
    assert_eq!(text.zone, Some(Tz::America__New_York));
    assert_eq!(patient_with(&zone_of("http://example.org/zone", "Mars/Base")).zone, None);
    for name in ["Europe/Atlantis", "", "+02:00", "Mara Muster\r\n"] {
        let problem = problem(&with(&patient(), &zone_of(ZONE, name)));
        assert_eq!(problem.effect, Effect::Skipped);
        assert_eq!(problem.path, "Patient.extension[0].valueCode");
        assert!(problem.reason.contains("no IANA time zone"), "{}", problem.reason);
        assert!(!problem.reason.contains("Mara"));
    }
    let two =
        json!({"extension": [{"url": ZONE, "valueCode": "Asia/Tokyo"}, {"url": ZONE, "valueCode": "Asia/Seoul"}]});
    assert!(problem(&with(&patient(), &two)).reason.contains("another zone"));
}

#[test]
fn names_cannot_carry_line_breaks_or_nothing() {
    for bad in ["Muster\r\nBcc: all@example.org", "Mus\nter", "M\u{0}", "M\u{202E}retsuM"] {
        let problem = problem(&with(&patient(), &json!({"name": [{"family": bad}]})));
        assert_eq!((problem.path.as_str(), problem.effect), ("Patient.name[0].family", Effect::Skipped));
        assert!(problem.reason.contains("control character"));
        assert!(!problem.to_string().contains("Mus") && !problem.to_string().contains("all@"), "{problem}");
    }
    for empty in [json!([]), json!([{}]), json!([{"family": "  "}]), json!([{"use": "old", "family": "Vorher"}])] {
        assert_eq!(problem(&with(&patient(), &json!({"name": empty}))).path, "Patient.name");
    }
    let long = "x".repeat(201);
    assert!(problem(&with(&patient(), &json!({"name": [{"family": long}]}))).reason.contains("200"));
    let text = patient_with(&json!({"name": [{"text": "Mara Muster"}]}));
    assert_eq!((text.given.as_str(), text.family.as_str()), ("", "Mara Muster"));
}

#[test]
fn unusable_details_are_left_out_and_noted() {
    let entry = record(&with(
        &patient(),
        &json!({
            "birthDate": "1961",
            "telecom": [{"system": "email", "value": "not an address"}, {"system": "phone", "value": "1\r\n2"}],
            "communication": [{"language": {"coding": [{"code": "deutsch bitte"}]}}]
        }),
    ));
    let paths: Vec<&str> = entry.notes.iter().map(|note| note.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "Patient.telecom[0].value",
            "Patient.telecom[1].value",
            "Patient.birthDate",
            "Patient.communication[0].language.coding[0].code",
        ]
    );
    assert!(entry.notes.iter().all(|note| note.effect == Effect::Partial));
    let Record::Patient(record) = entry.record else {
        panic!("a patient");
    };
    assert_eq!((record.email, record.phone, record.birth_date, record.locale), (None, None, None, None));
}

#[test]
fn what_could_change_the_meaning_is_not_ignored() {
    for (more, path) in [
        (json!({"modifierExtension": [{"url": "http://example.org/x"}]}), "Patient.modifierExtension"),
        (json!({"implicitRules": "http://example.org/rules"}), "Patient.implicitRules"),
        (json!({"animal": {}}), "Patient.animal"),
        (json!({"active": "yes"}), "Patient.active"),
        (json!({"name": {"family": "Muster"}}), "Patient.name"),
        (json!({"birthDate": "1961-02-30"}), "Patient.birthDate"),
    ] {
        let problem = problem(&with(&patient(), &more));
        assert_eq!((problem.resource.as_str(), problem.path.as_str()), ("Patient/p1", path));
    }
}

#[test]
fn organizations_and_practitioners_come_before_patients() {
    let items = read_all(&[
        patient(),
        json!({"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Arzt"}], "extension": zone_of(ZONE, "UTC")["extension"]}),
        with(
            &json!({"resourceType": "Organization", "id": "o1", "name": "Praxis am Ring", "telecom": [{"system": "email", "value": "info@example.org"}]}),
            &zone_of(ZONE, "Europe/Vienna"),
        ),
    ]);
    let records: Vec<Record> = items.into_iter().map(|item| item.expect("understood").record).collect();
    let ids: Vec<&str> = records.iter().map(|record| record.source_id().as_str()).collect();
    assert_eq!(ids, ["o1", "p1", "d1"]);
    let Some(Record::Organization(organization)) = records.first() else {
        panic!("an organization");
    };
    assert_eq!(organization.zone, Some(Tz::Europe__Vienna));
    assert_eq!(
        (organization.name.as_str(), organization.email.as_deref()),
        ("Praxis am Ring", Some("info@example.org"))
    );
    assert_eq!(problem(&json!({"resourceType": "Organization", "id": "o1"})).path, "Organization.name");
}

#[test]
fn identifier_filters_follow_token_search() {
    let of =
        |system: Option<&str>, value: &str| Identifier { system: system.map(str::to_owned), value: value.to_owned() };
    let filter = |text: &str| text.parse::<IdentifierFilter>().expect(text);
    let (full, bare) = (of(Some("urn:s"), "a|b"), of(None, "a|b"));
    assert!(filter(r"urn:s|a\|b").matches(&full) && !filter(r"urn:s|a\|b").matches(&bare));
    assert!(!filter(r"|a\|b").matches(&full) && filter(r"|a\|b").matches(&bare));
    assert!(filter(r"a\|b").matches(&full) && filter(r"a\|b").matches(&bare));
    assert!(filter("urn:s|").matches(&full) && !filter("urn:s|").matches(&bare));
    assert_eq!(filter("urn:s|").system, SystemFilter::Is("urn:s".to_owned()));
    for wrong in ["", "|", "a|b|c", "a,b", r"a\x", "a\r\n"] {
        assert!(wrong.parse::<IdentifierFilter>().is_err(), "{wrong:?}");
    }
}
