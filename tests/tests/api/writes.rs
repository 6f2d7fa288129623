//! Writes: what they store, what they cause, and what the audit says of them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{Clinic, TestApi, timing};

const PLANNING: &str = "SELECT count(*) FROM jobs WHERE kind = 'materialise_doses' AND org_id IS NOT NULL";

#[tokio::test]
async fn a_prescription_gets_its_reminder_is_planned_and_stopped() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let body = json!({"patient_id": clinic.patient, "prescriber_id": clinic.doctor, "medicine": "Examplomycin", "dosage": "1 tablet", "timing": timing("08:00")});
    let written = http.post("/v1/prescriptions", &body).await.expect_status(201);
    let at = written.header("location").expect("where it is").to_owned();
    let prescription = written.json();
    assert_eq!(http.get(&at).await.expect_status(200).json(), prescription);

    let body = json!({"prescription_id": prescription["id"], "timing": timing("08:00"), "meaning": "wall_clock", "window_seconds": 600});
    let set = http.post("/v1/medication-reminders", &body).await.expect_status(201);
    let reminder = set.json();
    assert_eq!(reminder["patient_id"], json!(clinic.patient));
    assert_eq!(reminder["nudge_after_seconds"], json!([]), "the usual nudges do not fit into ten minutes");
    assert_eq!(api.count(PLANNING).await, 1);
    assert_eq!(api.count("SELECT count(*) FROM medication_reminders WHERE next_plan_at <= now() AND replan").await, 1);

    // The planner went by meanwhile; each further write makes it look again, by a job of its own.
    sqlx::query("UPDATE medication_reminders SET next_plan_at = NULL, replan = false")
        .execute(&api.pool)
        .await
        .expect("planned");
    let path = format!("/v1/medication-reminders/{}", reminder["id"].as_str().expect("an id"));
    let changed = http
        .patch(&path, &json!({"timing": timing("09:00"), "meaning": "home_zone", "home_zone": "Europe/Paris"}))
        .await
        .expect_status(200)
        .json();
    assert_eq!((&changed["version"], &changed["home_zone"]), (&json!(2), &json!("Europe/Paris")));
    assert_eq!(api.count("SELECT count(*) FROM medication_reminders WHERE next_plan_at <= now() AND replan").await, 1);
    let back = http.patch(&path, &json!({"meaning": "wall_clock"})).await.expect_status(200).json();
    assert_eq!(back["home_zone"], Value::Null);

    sqlx::query("UPDATE medication_reminders SET next_plan_at = NULL").execute(&api.pool).await.expect("planned");
    let stop = format!("{at}/stop");
    assert_eq!(http.post(&stop, &json!({})).await.expect_status(200).json()["status"], "stopped");
    assert_eq!(
        http.post(&stop, &json!({})).await.expect_status(200).json()["version"],
        2,
        "stopping twice changes nothing"
    );
    assert_eq!(api.count("SELECT count(*) FROM medication_reminders WHERE next_plan_at <= now()").await, 1);
    assert_eq!(api.count(PLANNING).await, 4);
    let _conflict = http.post("/v1/medication-reminders", &body).await.expect_status(409);

    let actions: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_entries WHERE actor_kind = 'person' AND actor_id = $1 AND org_id = $2 AND action !~ '[.](list|read)$' ORDER BY id",
    )
    .bind(clinic.doctor)
    .bind(clinic.org)
    .fetch_all(&api.pool)
    .await
    .expect("entries");
    assert_eq!(
        actions,
        ["prescription.written", "reminder.set", "reminder.changed", "reminder.changed", "prescription.stopped"]
    );
    assert_eq!(
        api.count("SELECT count(*) FROM audit_entries WHERE detail::text ~ 'Examplomycin|tablet|08:00'").await,
        0,
        "ids and numbers only"
    );
    let jobs = http.get("/v1/jobs?state=ready").await.expect_status(200).json();
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(4), "{jobs}");
}

#[tokio::test]
async fn changing_a_patient_keeps_consent_and_proof_of_address_honest() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    clinic.add_reminder(&api.pool).await;
    let http = api.with(&clinic.token);
    let path = format!("/v1/patients/{}", clinic.patient);

    let level3 =
        http.patch(&path, &json!({"privacy_level": 3, "medicine_opt_in": true})).await.expect_status(200).json();
    assert!(level3["medicine_opt_in_at"].is_string() && level3["email_verified"] == true);
    let lower = http.patch(&path, &json!({"privacy_level": 1})).await.expect_status(200).json();
    assert_eq!(lower["medicine_opt_in_at"], Value::Null, "a yes is not kept for later");
    let _again = http.patch(&path, &json!({"privacy_level": 3})).await.expect_status(422);
    let _never = http.patch(&path, &json!({"privacy_level": 3, "medicine_opt_in": false})).await.expect_status(422);

    let moved = http.patch(&path, &json!({"email": "ann.new@example.org"})).await.expect_status(200).json();
    assert_eq!((&moved["email"], &moved["email_verified"]), (&json!("ann.new@example.org"), &json!(false)));
    let none = http.patch(&path, &json!({"email": null})).await.expect_status(200).json();
    assert_eq!(none["email"], Value::Null);
    assert_eq!(api.count(PLANNING).await, 0, "nothing so far moves a dose");

    let version = none["version"].clone();
    let same = http.patch(&path, &json!({"zone": "Europe/Berlin"})).await.expect_status(200).json();
    assert_eq!(same["version"], version, "what changes nothing is no change");
    for (change, jobs) in
        [(json!({"zone": "Asia/Tokyo"}), 1), (json!({"active": false}), 2), (json!({"deceased": true}), 3)]
    {
        sqlx::query("UPDATE medication_reminders SET next_plan_at = NULL").execute(&api.pool).await.expect("planned");
        let _changed = http.patch(&path, &change).await.expect_status(200);
        assert_eq!(
            api.count("SELECT count(*) FROM medication_reminders WHERE next_plan_at <= now()").await,
            1,
            "{change}"
        );
        assert_eq!(api.count(PLANNING).await, jobs);
    }
    assert_eq!(api.count("SELECT count(*) FROM audit_entries WHERE action = 'patient.changed'").await, 7);
    assert_eq!(
        api.count("SELECT count(*) FROM audit_entries WHERE detail::text ~ 'example.org|Tokyo'").await,
        0,
        "ids, numbers, names of fields"
    );
}

#[tokio::test]
async fn occurrences_are_computed_over_clock_changes_and_show_what_is_stored() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let stored_due: DateTime<Utc> = "2026-03-28T01:30:00Z".parse().expect("an instant");
    let dose = clinic.add_dose(&api.pool, reminder, "2026-03-28T02:30:00", stored_due, "taken").await;
    let http = api.with(&clinic.token);
    let path = |query: &str| format!("/v1/medication-reminders/{reminder}/occurrences?{query}");

    let spring = http
        .get(&path("from=2026-03-28T00:00:00%2B01:00&to=2026-03-31T00:00:00+02:00"))
        .await
        .expect_status(200)
        .json();
    let items = spring["items"].as_array().expect("a list");
    let show = |item: &Value| (item["slot"].as_str().map(str::to_owned), item["local"].as_str().map(str::to_owned));
    let expected = [
        ("2026-03-28T02:30:00", "2026-03-28T02:30:00+01:00"),
        ("2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00"),
        ("2026-03-30T02:30:00", "2026-03-30T02:30:00+02:00"),
    ];
    assert_eq!(
        items.iter().map(show).collect::<Vec<_>>(),
        expected.map(|(slot, local)| (Some(slot.to_owned()), Some(local.to_owned())))
    );
    assert_eq!(items[1]["due_at"], "2026-03-29T01:30:00Z");
    assert_eq!(items[1]["explanation"], "clocks go forward: 02:30 does not exist, so 03:30");
    assert_eq!(
        (&items[0]["explanation"], &items[0]["stored"]["state"], &items[0]["stored"]["id"]),
        (&Value::Null, &json!("taken"), &json!(dose))
    );
    assert_eq!(items[1]["stored"], Value::Null);
    assert_eq!((&spring["zone"], &spring["in_force"]), (&json!("Europe/Berlin"), &json!(true)));

    let autumn = http.get(&path("from=2040-10-27T12:00:00Z&to=2040-10-28T12:00:00Z")).await.expect_status(200).json();
    assert_eq!(autumn["items"][0]["due_at"], "2040-10-28T00:30:00Z");
    assert_eq!(autumn["items"][0]["shift"], "fold");
    let past = http.get(&path("from=2025-12-01T00:00:00Z&to=2026-01-01T00:00:00Z")).await.expect_status(200).json();
    assert_eq!(past["items"], json!([]), "before the start");
    for wrong in [
        "from=2026-01-01T00:00:00Z&to=2028-01-01T00:00:00Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=yesterday",
        "until=2026-01-01T00:00:00Z",
    ] {
        let _refused = http.get(&path(wrong)).await.expect_status(422);
    }
    assert_eq!(api.count("SELECT count(*) FROM dose_occurrences").await, 1, "nothing was stored");
}
