//! What a file is, and files that are none.

use std::io::Cursor;

use proptest::prelude::*;
use pulsecal_core::fhir::{self, Effect, Limits, Record};
use serde_json::json;

use super::support::{Items, bundle, ids, line, order, patient, problems, read_bytes, with};

#[test]
fn a_bundle_and_ndjson_give_the_same_records() {
    let resources = [order(), patient()];
    let compact = bundle(&resources).to_string();
    let pretty = serde_json::to_string_pretty(&bundle(&resources)).expect("json");
    let lines = format!("{}\r\n\r\n{}", resources[0], resources[1]);
    // resourceType may come last, after the entries.
    let sorted = r#"{"entry": [{"resource": ORDER},
        {"resource": PATIENT}], "link": [{"a": "]}"}], "resourceType": "Bundle"}"#
        .replace("ORDER", &resources[0].to_string())
        .replace("PATIENT", &resources[1].to_string());
    for text in [compact.clone(), pretty, lines, sorted, format!("\u{feff}{compact}"), format!("\n \n{compact}\n")] {
        let items = read_bytes(text.clone());
        assert_eq!(ids(&items), ["p1", "m1"], "{text}: {items:?}");
        assert_eq!(items.len(), 2);
    }
}

#[test]
fn bundles_and_resources_may_follow_each_other() {
    let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).expect("json");
    let one = with(&patient(), &json!({"id": "a"}));
    let two = with(&patient(), &json!({"id": "b"}));
    let both = format!(
        "{}\n{}\n{}",
        pretty(&bundle(std::slice::from_ref(&one))),
        pretty(&two),
        bundle(&[json!({"resourceType": "Patient", "id": "c"})])
    );
    let items = read_bytes(both);
    assert_eq!(ids(&items), ["a", "b"]);
    assert_eq!(problems(&items), ["Patient/c at Patient.name: no name is given"]);
    assert_eq!(ids(&read_bytes(pretty(&one))), ["a"]);
    assert_eq!(read_bytes(bundle(&[]).to_string()).len(), 0);
    assert_eq!(read_bytes(r#"{"resourceType": "Bundle", "total": 0}"#).len(), 0);
}

#[test]
fn what_is_no_fhir_is_one_clear_problem() {
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b" \r\n ", "the file is empty"),
        (b"id;name\n1;Muster\n", "the file is no JSON"),
        (b"<!DOCTYPE html><html></html>", "XML or HTML"),
        (b"<Bundle xmlns=\"http://hl7.org/fhir\"/>", "FHIR in XML"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "compressed"),
        (b"PK\x03\x04....", "compressed"),
        (b"\xff\xfe{\0\"\0", "UTF-16"),
        (b"\x7fELF\0\0\0", "binary"),
        (b"[{\"resourceType\": \"Patient\"}]", "a JSON list"),
        (b"{}", "names no resourceType"),
        (b"{\"a\": 1}\n{\"a\": 2}\n", "names no resourceType"),
        (b"{\"a\": \"b", "ends in the middle"),
        (b"{name: 1}", "not well-formed"),
        (b"{\"resourceType\": 7}", "names no resourceType"),
    ] {
        let items = read_bytes(bytes);
        assert_eq!(items.len(), 1, "{items:?}");
        let problem = items[0].as_ref().expect_err("no FHIR");
        assert_eq!((problem.effect, problem.resource.as_str()), (Effect::Stopped, "file"));
        assert!(
            problem.reason.starts_with("this is no FHIR R4 (") && problem.reason.contains(reason),
            "{}",
            problem.reason
        );
        assert!(problem.reason.contains("expected a Bundle or NDJSON") && !problem.reason.contains("Muster"));
    }
}

#[test]
fn a_bundle_cut_short_brings_in_nothing() {
    // Where the type comes last, all that can be told is that the file ends too early.
    let sorted = bundle(&[patient(), order()]).to_string();
    let items = read_bytes(&sorted.as_bytes()[..sorted.len() - 30]);
    assert_eq!(items.len(), 1);
    assert!(problems(&items)[0].contains("(the file ends in the middle)"), "{items:?}");

    let whole = format!(
        "{{\"resourceType\":\"Bundle\",\"entry\":[{},{}]}}",
        json!({"resource": patient()}),
        json!({"resource": order()})
    );
    for cut in [whole.len() - 1, whole.len() - 3, whole.len() / 2, 80] {
        let items = read_bytes(&whole.as_bytes()[..cut]);
        assert_eq!(ids(&items), Vec::<&str>::new());
        let last = items.last().expect("a problem").as_ref().expect_err("a problem");
        assert_eq!(
            (last.effect, last.reason.as_str()),
            (Effect::Stopped, "ends in the middle; nothing of it was imported")
        );
    }
    let garbled = whole.replacen("},{", "} {", 1);
    let items = read_bytes(garbled);
    assert_eq!(problems(&items), ["file: is no well-formed JSON from line 1 on; nothing of it was imported"]);
    // A List has entries too: on one line it is told apart, over several only once its type comes.
    let list = r#"{"entry": [{"item": {"reference": "Patient/p1"}}],| "resourceType": "List"}"#;
    assert_eq!(read_bytes(list.replace('|', "")).len(), 0);
    let told = problems(&read_bytes(list.replace('|', "\n")));
    assert!(told.iter().any(|problem| problem.contains("is no Bundle")), "{told:?}");
}

#[test]
fn a_bad_line_is_reported_and_the_rest_goes_on() {
    let text = [
        line("a"),
        "{\"resourceType\": \"Patient\", \"id\": \"b\", \"name\": [".to_owned(),
        "not json".to_owned(),
        "{\"id\": \"c\"}".to_owned(),
        "[]".to_owned(),
        String::new(),
        "{\"resourceType\": \"Patient\", \"id\": 5}".to_owned(),
        bundle(&[patient()]).to_string(),
        "{\"resourceType\": \"Observation\", \"id\": \"o\"}".to_owned(),
        format!("{}{}", line("d"), line("e")),
        line("f"),
    ];
    let items = read_bytes(text.join("\n"));
    assert_eq!(ids(&items), ["a", "f"]);
    let told = problems(&items);
    let starts = [
        "line 2: is no well",
        "line 3: is no well",
        "line 4 at resourceType",
        "line 5: is no",
        "line 7: is no FHIR resource",
        "line 8: is a Bundle inside",
        "line 10: is no well",
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    for (problem, start) in told.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
    // Also when it is the first one.
    let items = read_bytes(format!("{{\"resourceType\": \"Patient\", \"na\n{}\n{}\n", line("a"), line("b")));
    assert_eq!((ids(&items), items.len()), (vec!["a", "b"], 3));
}

#[test]
fn entries_that_bring_no_resource_are_reported() {
    let text = json!({"resourceType": "Bundle", "entry": [
        {"request": {"method": "DELETE", "url": "Patient/p1"}},
        {"fullUrl": "urn:uuid:1"},
        {"resource": {"resourceType": "Bundle", "entry": []}},
        {"resource": patient(), "request": {"method": "PUT", "url": "Patient/p1"}},
        {"resource": "Patient"}
    ]});
    let items = read_bytes(text.to_string());
    assert_eq!(ids(&items), ["p1"]);
    let told = problems(&items);
    assert_eq!(told.len(), 4);
    assert!(told[0].starts_with("entry[0] at request.method: asks to delete"), "{told:?}");
    assert!(
        told[1].starts_with("entry[1] at resource")
            && told[2].starts_with("entry[2]")
            && told[3].starts_with("entry[4]"),
        "{told:?}"
    );
}

#[test]
fn types_without_use_are_counted() {
    let lines =
        [line("a"), "{\"resourceType\":\"Observation\"}\n".repeat(3), "{\"resourceType\":\"Mara Muster\"}".to_owned()]
            .join("\n");
    let mut reader = fhir::read(Cursor::new(lines.into_bytes()), Limits::default());
    assert_eq!(reader.by_ref().count(), 1);
    let ignored: Vec<_> = reader.ignored().iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(ignored, [("Observation", 3), ("other", 1)]);
}

#[test]
fn limits_hold() {
    let small = Limits { resource_bytes: 300, json_values: 20, indexed: 2 };
    let read = |text: String| -> Items { fhir::read(Cursor::new(text.into_bytes()), small).collect() };
    let long = with(&patient(), &json!({"id": "long", "photo": "x".repeat(400)}));
    let wide = with(&patient(), &json!({"id": "wide", "photo": vec![0; 30]}));
    let deep = format!("{{\"resourceType\":\"Patient\",\"id\":\"deep\",\"x\":{}{}}}", "[".repeat(130), "]".repeat(130));
    let items = read(format!("{}\n{long}\n{wide}\n{}", line("a"), line("b")));
    assert_eq!(ids(&items), ["a", "b"]);
    assert_eq!(
        problems(&items),
        ["line 2: is longer than 300 bytes and was passed over", "Patient/wide: has more than 20 values"]
    );
    let items = read(bundle(&[long, patient()]).to_string());
    assert_eq!((ids(&items), items.len()), (vec!["p1"], 2));
    let items = read_bytes(format!("{}\n{deep}", line("a")));
    assert_eq!(problems(&items), ["Patient/deep: is no well-formed JSON, or nested too deeply"]);
    let medicines: Vec<String> =
        (0..3).map(|n| format!("{{\"resourceType\":\"Medication\",\"id\":\"m{n}\"}}")).collect();
    let items = read(format!("{}\n{}", medicines.join("\n"), line("a")));
    assert_eq!(items.len(), 1);
    assert!(problems(&items)[0].contains("more than 2 resources"));
}

proptest! {
    /// Any bytes end with problems at most, and never with a record made of half a resource.
    #[test]
    fn no_bytes_break_the_reader(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), as_object: bool) {
        if as_object {
            bytes.splice(0..0, *b"{\"resourceType\":\"Bundle\",\"entry\":[");
        }
        for item in read_bytes(bytes) {
            prop_assert!(item.is_err());
        }
    }

    /// A changed byte in a file changes or loses what it touches, and the reader ends.
    #[test]
    fn one_wrong_byte_does_no_more_than_harm(at in any::<prop::sample::Index>(), byte: u8, in_lines: bool) {
        let text = if in_lines { format!("{}\n{}\n{}\n", line("a"), order(), line("b")) } else { bundle(&[patient(), order()]).to_string() };
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let items = read_bytes(bytes);
        prop_assert!(items.len() <= 4, "{:?}", items);
        for entry in items.into_iter().flatten() {
            // What comes out is whole: it still has an id and a name or a medicine.
            prop_assert!(!entry.record.source_id().as_str().is_empty());
            if let Record::Prescription(order) = entry.record {
                prop_assert!(!order.medicine.is_empty());
            }
        }
    }
}
