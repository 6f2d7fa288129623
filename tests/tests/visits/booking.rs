//! The API of visits: who may book what, and what is said when it cannot be done.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::{Clinic, from_now, new_id};

#[tokio::test]
async fn of_sixteen_who_want_one_time_exactly_one_gets_it() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(0).await;
    for round in 0..4 {
        let start = from_now(TimeDelta::days(2 + round));
        let mut all = JoinSet::new();
        for i in 0..16_i64 {
            let http = clinic.http();
            // Overlapping, not equal.
            let body = clinic.booking(patient, start + TimeDelta::minutes(i));
            all.spawn(async move { http.post("/v1/appointments", &body).await });
        }
        let answers = all.join_all().await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        for lost in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!((lost.status, lost.header("content-type")), (409, Some("application/problem+json")));
            assert!(lost.text().contains("already booked"), "{}", lost.text());
        }
    }
    assert_eq!(clinic.count("SELECT count(*) FROM appointments").await, 4);
    assert_eq!(clinic.count("SELECT count(*) FROM audit_entries WHERE action = 'appointment.booked'").await, 4);
    assert_eq!(clinic.count("SELECT count(*) FROM jobs WHERE args->>'says' = 'booked'").await, 4);
}

/// Whoever writes past the API meets the same rule.
#[tokio::test]
async fn the_database_itself_rules_out_a_second_booking() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(0).await;
    let start = from_now(TimeDelta::days(2));
    let visit = clinic.book(patient, start).await;
    let again = "INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
       SELECT gen_random_uuid(), org_id, patient_id, doctor_id, ends_at - interval '1 microsecond', ends_at + interval '1 hour', $1, now(), now()
       FROM appointments LIMIT 1";
    for status in ["pending", "booked", "arrived", "checked-in"] {
        let error = sqlx::query(again).bind(status).execute(&clinic.pool).await.expect_err("refused");
        let said = error.as_database_error().and_then(|error| error.constraint()).map(str::to_owned);
        assert_eq!(said.as_deref(), Some("appointments_doctor_free"), "{status}");
    }
    // What does not hold the time: a proposal, and a visit that was called off.
    sqlx::query(again).bind("proposed").execute(&clinic.pool).await.expect("a proposal holds no time");
    clinic.done(&visit, "cancel", &json!({})).await;
    clinic.book(patient, start).await;
    // The next one may begin when this one ends.
    clinic.book(patient, start + TimeDelta::minutes(30)).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_words_and_changes_nothing() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(0).await;
    let start = from_now(TimeDelta::days(2));
    let http = clinic.http();
    let with = |changes: Value| {
        let mut body = clinic.booking(patient, start);
        for (name, value) in changes.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    };
    for (changes, status, field) in [
        (json!({"patient_id": new_id()}), 422, "patient_id"),
        (json!({"patient_id": clinic.doctor}), 422, "patient_id"),
        (json!({"doctor_id": patient}), 422, "doctor_id"),
        (json!({"doctor_id": null}), 422, "doctor_id"),
        (json!({"ends_at": start}), 422, "ends_at"),
        (json!({"ends_at": start + TimeDelta::hours(25)}), 422, "ends_at"),
        (json!({"zone": "Mars/Olympus"}), 422, "zone"),
        (json!({"kind": "party"}), 422, "kind"),
        (json!({"meeting_url": "https://meet.example.org/1"}), 422, "meeting_url"),
        (json!({"mode": "virtual", "meeting_url": "javascript:alert(1)"}), 422, "meeting_url"),
        (json!({"starts_at": from_now(TimeDelta::days(3000))}), 422, "starts_at"),
        (json!({"title": "x"}), 422, "title"),
        (json!({"starts_at": from_now(-TimeDelta::days(1)), "ends_at": from_now(-TimeDelta::hours(23))}), 409, "over"),
    ] {
        let answer = http.post("/v1/appointments", &with(changes.clone())).await;
        assert_eq!(answer.status, status, "{changes}: {}", answer.text());
        assert!(answer.text().contains(field), "{changes}: {}", answer.text());
    }
    assert_eq!(clinic.count("SELECT count(*) FROM appointments").await, 0);
    assert_eq!(clinic.count("SELECT count(*) FROM audit_entries").await, 0);

    let visit = clinic.book(patient, start).await;
    let stale = clinic.act(&visit, "move", &json!({"starts_at": start + TimeDelta::hours(1), "version": 7})).await;
    assert_eq!(stale.status, 409);
    assert!(stale.text().contains("at version 1"), "{}", stale.text());
    let same = clinic.done(&visit, "move", &json!({"starts_at": start, "version": 1})).await;
    assert_eq!(same["version"], 1, "the same time changes nothing");
    for _ in 0..2 {
        let confirmed = clinic.done(&visit, "confirm", &json!({})).await;
        assert_eq!((&confirmed["version"], &confirmed["sequence"]), (&json!(2), &json!(0)));
    }
    for _ in 0..2 {
        let cancelled = clinic.done(&visit, "cancel", &json!({})).await;
        assert_eq!((&cancelled["version"], &cancelled["status"]), (&json!(3), &json!("cancelled")));
    }
    for verb in ["move", "confirm"] {
        let body = if verb == "move" { json!({"starts_at": start + TimeDelta::hours(1)}) } else { json!({}) };
        let answer = clinic.act(&visit, verb, &body).await;
        assert_eq!(answer.status, 409);
        assert!(answer.text().contains("cancelled"), "{}", answer.text());
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_by_start_and_paged() {
    let clinic = Clinic::open().await;
    let (one, other) = (clinic.patient(0).await, clinic.patient(0).await);
    let start = from_now(TimeDelta::days(2));
    let mut expected = Vec::new();
    for i in [3_i64, 1, 4, 0, 2] {
        let patient = if i % 2 == 0 { one } else { other };
        expected.push((i, clinic.book(patient, start + TimeDelta::hours(i)).await["id"].clone()));
    }
    expected.sort_by_key(|(i, _)| *i);
    let (mut seen, mut path) = (Vec::new(), "/v1/appointments?limit=2".to_owned());
    loop {
        let page = clinic.http().get(&path).await.expect_status(200).json();
        seen.extend(page["items"].as_array().expect("a list").iter().map(|item| item["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/appointments?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, expected.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>());
    let count = async |query: &str| {
        let page = clinic.http().get(&format!("/v1/appointments?{query}")).await.expect_status(200).json();
        page["items"].as_array().expect("a list").len()
    };
    let at = |hours| (start + TimeDelta::hours(hours)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(count(&format!("patient={one}")).await, 3);
    assert_eq!(count(&format!("doctor={}&from={}&to={}", clinic.doctor, at(1), at(3))).await, 2);
    assert_eq!(count("status=cancelled").await, 0);
    assert_eq!(count(&format!("doctor={one}")).await, 0);
}

#[tokio::test]
async fn nobody_reaches_another_clinics_visits() {
    let (clinic, other) = (Clinic::open().await, new_id());
    let patient = clinic.patient(0).await;
    let visit = clinic.book(patient, from_now(TimeDelta::days(2))).await;
    clinic
        .exec(
            "INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES ($1, 'Other', 'Europe/Berlin', now(), now())",
            other,
        )
        .await;
    clinic.exec("UPDATE api_tokens SET org_id = $1", other).await;
    let id = visit["id"].as_str().expect("an id");
    let _gone = clinic.http().get(&format!("/v1/appointments/{id}")).await.expect_status(404);
    for verb in ["move", "cancel", "confirm"] {
        let body = if verb == "move" { json!({"starts_at": from_now(TimeDelta::days(3))}) } else { json!({}) };
        let _gone = clinic.act(&visit, verb, &body).await.expect_status(404);
    }
    let foreign = clinic.http().post("/v1/appointments", &clinic.booking(patient, from_now(TimeDelta::days(4)))).await;
    assert_eq!(foreign.status, 422, "{}", foreign.text());
    let list = clinic.http().get("/v1/appointments").await.expect_status(200).json();
    assert_eq!(list["items"], json!([]));
}
