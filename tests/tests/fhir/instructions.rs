//! Codes, as-needed orders, and several instructions.

use chrono_tz::Tz;
use pulsecal_core::doses::timing::{Days, Timing};
use pulsecal_core::fhir::Effect;
use serde_json::{Value, json};

use super::support::{at, every, instructed_in, nth, order, prescription, weekdays, with};

#[test]
fn codes_say_what_a_missing_repeat_would() {
    let coded = |timing: Value| instructed_in(Tz::UTC, &json!([{"timing": timing}]));
    let by_code = |code: &str| {
        coded(
            json!({"code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": code}]}}),
        )
    };
    for (code, times) in [
        ("QD", "08:00"),
        ("BID", "08:00 20:00"),
        ("TID", "08:00 14:00 20:00"),
        ("QID", "08:00 12:00 16:00 20:00"),
        ("AM", "08:00"),
        ("PM", "18:00"),
        ("BED", "22:00"),
    ] {
        assert_eq!(by_code(code).expect(code), at(times, Days::Day, None), "{code}");
    }
    assert_eq!(by_code("QOD").expect("known"), at("08:00", nth(2), None));
    assert_eq!(by_code("WK").expect("known"), at("08:00", nth(7), None));
    for (code, hours) in [("Q1H", 1), ("Q4H", 4), ("Q6H", 6), ("Q8H", 8)] {
        assert_eq!(by_code(code).expect(code), every(hours, "08:00", None));
    }
    assert_eq!(coded(json!({"code": {"text": "BID"}})).expect("known"), at("08:00 20:00", Days::Day, None));
    assert_eq!(
        coded(json!({"code": {"text": "BID"}, "repeat": {"boundsDuration": {"value": 5, "code": "d"}}}))
            .expect("known"),
        at("08:00 20:00", Days::Day, Some("2026-03-06"))
    );
    assert_eq!(
        coded(json!({"code": {"text": "AM"}, "repeat": {"dayOfWeek": ["tue", "sat"]}})).expect("known"),
        at("08:00", weekdays("Tue Sat"), None)
    );
    for unknown in ["MO", "229799001", "Q0H", "QXH"] {
        let problem = by_code(unknown).expect_err(unknown);
        assert_eq!(problem.path, "MedicationRequest.dosageInstruction[0].timing.code");
    }
    let text = coded(json!({"code": {"text": "whenever Mara Muster feels like it"}})).expect_err("free text");
    assert!(!text.reason.contains("Mara"), "{}", text.reason);
}

#[test]
fn a_code_must_agree_with_repeat() {
    let both = |code: &str, repeat: Value| {
        instructed_in(Tz::UTC, &json!([{"timing": {"code": {"text": code}, "repeat": repeat}}]))
    };
    let daily = |n: u32| json!({"frequency": n, "period": 1, "periodUnit": "d"});
    assert_eq!(both("BID", daily(2)).expect("agrees"), at("08:00 20:00", Days::Day, None));
    assert_eq!(both("PM", daily(1)).expect("more exact"), at("18:00", Days::Day, None));
    assert_eq!(
        both("BID", json!({"timeOfDay": ["06:00:00", "18:00:00"]})).expect("agrees"),
        at("06:00 18:00", Days::Day, None)
    );
    for (code, repeat) in [("BID", daily(3)), ("Q6H", daily(4)), ("QD", json!({"timeOfDay": ["06:00:00", "18:00:00"]}))]
    {
        let problem = both(code, repeat).expect_err(code);
        assert_eq!(problem.reason, "says something else than repeat");
    }
    // A code of the house beside a full rule changes nothing.
    assert_eq!(both("HOUSE-7", daily(2)).expect("the rule holds"), at("08:00 20:00", Days::Day, None));
}

#[test]
fn as_needed_makes_no_reminders() {
    for needed in [json!({"asNeededBoolean": true}), json!({"asNeededCodeableConcept": {"text": "pain"}})] {
        let instruction =
            with(&json!({"timing": {"repeat": {"frequency": 1, "period": 4, "periodUnit": "h"}}}), &needed);
        let record = prescription(&with(&order(), &json!({"dosageInstruction": [instruction]})));
        assert!(record.as_needed);
        assert_eq!(record.timing(Tz::UTC).expect("understood"), Timing::AsNeeded);
    }
    let regular = json!([{"asNeededBoolean": false, "timing": {"repeat": {"when": ["HS"]}}}]);
    assert_eq!(instructed_in(Tz::UTC, &regular).expect("understood"), at("22:00", Days::Day, None));
    let both = json!([{"asNeededBoolean": true, "asNeededCodeableConcept": {}, "timing": {}}]);
    let problem = instructed_in(Tz::UTC, &both).expect_err("one of them");
    assert!(problem.reason.contains("of which FHIR allows one"));
}

#[test]
fn several_instructions_make_one_plan_or_say_why_not() {
    let part = |repeat: Value| json!({"timing": {"repeat": repeat}});
    let union = |parts: &[Value]| instructed_in(Tz::UTC, &json!(parts));
    let when = |code: &str| part(json!({"when": [code]}));
    assert_eq!(union(&[when("MORN"), when("EVE")]).expect("union"), at("08:00 18:00", Days::Day, None));
    let on = |day: &str, code: &str| part(json!({"when": [code], "dayOfWeek": [day]}));
    assert_eq!(
        union(&[on("mon", "MORN"), on("thu", "MORN"), on("mon", "EVE"), on("thu", "EVE")]).expect("union"),
        at("08:00 18:00", weekdays("Mon Thu"), None)
    );
    let alternate = |time: &str| part(json!({"period": 2, "periodUnit": "d", "timeOfDay": [time]}));
    assert_eq!(union(&[alternate("08:00:00"), alternate("18:00:00")]).expect("union"), at("08:00 18:00", nth(2), None));
    let prn = json!({"asNeededBoolean": true, "timing": {"repeat": {"when": ["NOON"]}}});
    let mixed = prescription(&with(&order(), &json!({"dosageInstruction": [when("MORN"), prn]})));
    assert!(!mixed.as_needed);
    assert_eq!(mixed.timing(Tz::UTC).expect("the regular part"), at("08:00", Days::Day, None));

    for parts in [
        [on("mon", "MORN"), on("tue", "EVE")],
        [when("MORN"), on("mon", "EVE")],
        [when("MORN"), part(json!({"period": 8, "periodUnit": "h"}))],
        [when("MORN"), part(json!({"when": ["EVE"], "boundsPeriod": {"end": "2026-04-01"}}))],
        [part(json!({"count": 5, "when": ["MORN"]})), part(json!({"count": 5, "when": ["EVE"]}))],
    ] {
        let problem = union(&parts).expect_err("not one plan");
        assert!(problem.reason.contains("do not make one plan"), "{}", problem.reason);
    }
    let step = |number: u32, code: &str| with(&when(code), &json!({"sequence": number}));
    assert!(union(&[step(1, "MORN"), step(1, "EVE")]).is_ok());
    let taper = union(&[step(1, "MORN"), step(2, "EVE")]).expect_err("a taper");
    assert!(taper.reason.contains("step after step"));
}

#[test]
fn what_has_no_timing_keeps_the_prescription_without_a_plan() {
    for (instructions, path) in [
        (json!([]), "MedicationRequest.dosageInstruction"),
        (json!([{"text": "as told"}]), "MedicationRequest.dosageInstruction[0].timing"),
        (json!([{"timing": {}}]), "MedicationRequest.dosageInstruction[0].timing"),
        (json!([{"timing": {"event": ["2026-03-02"]}}]), "MedicationRequest.dosageInstruction[0].timing.event"),
        (json!([{"timing": "daily"}]), "MedicationRequest.dosageInstruction[0].timing"),
        (
            json!([{"modifierExtension": [{}], "timing": {}}]),
            "MedicationRequest.dosageInstruction[0].modifierExtension",
        ),
        (json!([{"asNeeded": true}]), "MedicationRequest.dosageInstruction[0]"),
    ] {
        let problem = instructed_in(Tz::UTC, &instructions).expect_err("no plan");
        assert_eq!((problem.path.as_str(), problem.effect), (path, Effect::Partial), "{instructions}");
    }
    let undated = prescription(&with(&order(), &json!({"authoredOn": "2026-03"})));
    assert!(undated.timing(Tz::UTC).expect_err("no start").reason.contains("when to begin"));
}
