//! Requests that are wrong are refused in words, all at once; nothing of them is stored.

use serde_json::{Value, json};

use crate::support::{Clinic, TestApi, timing, wrong_fields};

#[tokio::test]
async fn all_wrong_fields_of_a_reminder_are_named_at_once() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (prescription, reminder) = clinic.add_reminder(&api.pool).await;
    let http = api.with(&clinic.token);
    let mut wrong_timing = timing("08:00:30");
    wrong_timing["days"] = json!({"every": "weekdays", "on": []});
    wrong_timing["end"] = json!("2025-01-01");
    let body = json!({
        "prescription_id": prescription, "timing": wrong_timing, "meaning": "home_zone", "min_interval_seconds": -5,
        "nudge_after_seconds": [900, 800], "window_seconds": 0, "colour": "red", "active": "yes",
    });
    let answer = http.post("/v1/medication-reminders", &body).await.expect_status(422).json();
    let named = wrong_fields(&answer);
    for field in [
        "timing.times",
        "timing.days.on",
        "timing.end",
        "home_zone",
        "min_interval_seconds",
        "nudge_after_seconds",
        "window_seconds",
        "colour",
        "active",
    ] {
        assert!(named.contains(&field), "{field} is missing in {answer}");
    }

    for (change, field) in [
        (json!({"timing": "daily"}), "timing"),
        (json!({"timing": {"kind": "now_and_then"}}), "timing"),
        (json!({"timing": null}), "timing"),
        (json!({"meaning": "elapsed"}), "meaning"),
        (json!({"meaning": "whatever"}), "meaning"),
        (json!({"home_zone": "Mars/Olympus"}), "home_zone"),
        (json!({"home_zone": "Europe/Berlin"}), "home_zone"),
        (json!({"min_interval_seconds": 90_000}), "min_interval_seconds"),
        (json!({"min_interval_seconds": 1.5}), "min_interval_seconds"),
        (json!({"nudge_after_seconds": [3600]}), "nudge_after_seconds"),
        (json!({"window_seconds": 86_401}), "window_seconds"),
        (json!({"window_seconds": 99_999_999_999_i64}), "window_seconds"),
        (json!({"patient_id": clinic.patient}), "patient_id"),
    ] {
        let answer =
            http.patch(&format!("/v1/medication-reminders/{reminder}"), &change).await.expect_status(422).json();
        assert!(wrong_fields(&answer).contains(&field), "{change}: {answer}");
    }
    assert_eq!(api.count("SELECT count(*) FROM medication_reminders WHERE version = 1").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_4xx_and_never_500() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let path = format!("/v1/patients/{}", clinic.patient);
    let deep = format!("{{\"zone\": {}", "[".repeat(50_000));
    let large = format!("{{\"zone\": \"{}\"}}", "a".repeat(300 * 1024));
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("application/json", b"".to_vec(), 400),
        ("application/json", b"null".to_vec(), 400),
        ("application/json", b"{\"zone\": \"\xff\xfe\"}".to_vec(), 400),
        ("application/json", deep.into_bytes(), 400),
        ("application/json", large.into_bytes(), 413),
        ("text/plain", b"{}".to_vec(), 415),
        ("application/json", br#"{"zone": "a\u0000b"}"#.to_vec(), 422),
        ("application/json", br#"{"locale": "\ud800"}"#.to_vec(), 400),
        ("application/json", br#"{"email": "not an address"}"#.to_vec(), 422),
        (
            "application/json",
            br#"{"privacy_level": 4, "active": 1, "deceased": null, "given_name": "Eve"}"#.to_vec(),
            422,
        ),
        ("application/json", br#"{"privacy_level": 3}"#.to_vec(), 422),
    ];
    for (kind, body, status) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = http.request(reqwest::Method::PATCH, &path).header("content-type", kind).body(body);
        let answer = http.send(request).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let problem: Value = answer.json();
        assert!(problem["title"].is_string() && problem["status"] == status, "{problem}");
    }
    for path in
        ["/v1/patients/1", "/v1/patients/%00", "/v1/patients/%ff", "/v1/patients/'%20OR%201=1", "/v1/../v1/nothing"]
    {
        let _missing = http.get(path).await.expect_status(404);
    }
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 0);
}

#[tokio::test]
async fn a_stale_version_is_refused_and_the_present_one_is_told() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let path = format!("/v1/patients/{}", clinic.patient);
    let tag = http.get(&path).await.expect_status(200).header("etag").expect("a version").to_owned();
    let with_tag = http.clone().with_header("if-match", &tag);
    let changed = with_tag.patch(&path, &json!({"locale": "de"})).await.expect_status(200);
    let _stale = with_tag.patch(&path, &json!({"locale": "fr"})).await.expect_status(412);
    let newer = http.with_header("if-match", changed.header("etag").expect("a version"));
    assert_eq!(newer.patch(&path, &json!({"locale": "fr"})).await.expect_status(200).json()["locale"], "fr");
}
