//! Doses that staff record: the rules of the patient's link, by whom it was, and no reminder after it.

use chrono::TimeDelta;
use pulsecal_tests::http::Http;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, now, token_of};

/// Somebody of the clinic in this role, by a token with every scope.
async fn colleague(api: &TestApi, clinic: &Clinic, role: &str, letter: char) -> (Uuid, Http) {
    let (person, token) = (new_id(), token_of(letter));
    add_person(&api.pool, clinic.org, person, role, &format!("Colleague-{letter}")).await;
    add_token(&api.pool, clinic.org, person, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    (person, api.with(&token))
}

/// A dose of a reminder of its own, due so many minutes from now.
async fn dose(api: &TestApi, clinic: &Clinic, minutes: i64) -> Uuid {
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let due = now() + TimeDelta::minutes(minutes);
    clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", due, "planned").await
}

fn path(dose: Uuid, verb: &str) -> String {
    format!("/v1/occurrences/{dose}/{verb}")
}

#[tokio::test]
async fn a_nurse_records_a_dose_once_and_corrects_it_by_name() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (nurse, http) = colleague(&api, &clinic, "nurse", 'n').await;
    let dose = dose(&api, &clinic, -1).await;
    let shown = http.post(&path(dose, "taken"), &json!({})).await.expect_status(200).json();
    assert_eq!((&shown["dose"]["state"], &shown["patient_id"]), (&json!("taken"), &json!(clinic.patient)));
    let settled = &shown["dose"]["settled_at"];
    assert!(settled.is_string());
    let again = http.post(&path(dose, "taken"), &json!({})).await.expect_status(200).json();
    assert_eq!(&again["dose"]["settled_at"], settled, "the first stays");
    let corrected = http.post(&path(dose, "skipped"), &json!({})).await.expect_status(200).json();
    assert_eq!(corrected["dose"]["state"], "skipped");
    let left: i64 =
        api.count("SELECT count(*) FROM dose_occurrences WHERE next_at IS NOT NULL OR settled_at IS NULL").await;
    assert_eq!(left, 0, "no step of its ladder is left, so no reminder comes");
    let trail: Vec<(String, Option<Uuid>, Value)> = sqlx::query_as(
        "SELECT action, actor_id, detail -> 'before' FROM audit_entries WHERE subject_id = $1 ORDER BY at, id",
    )
    .bind(dose)
    .fetch_all(&api.pool)
    .await
    .expect("a trail");
    let taken = ("dose.taken".to_owned(), Some(nurse), json!("planned"));
    let skipped = ("dose.skipped".to_owned(), Some(nurse), json!("taken"));
    assert_eq!(trail, [taken, skipped]);
    let accesses = format!("/v1/patients/{}/accesses", clinic.patient);
    let accesses = api.with(&clinic.token).get(&accesses).await.expect_status(200).json();
    let by_nurse = |row: &&Value| row["person_id"] == json!(nurse);
    let did: Vec<&Value> =
        accesses["items"].as_array().expect("items").iter().filter(by_nurse).map(|row| &row["action"]).collect();
    assert_eq!(did, ["dose.skipped", "dose.taken"], "who gave the dose is among who saw the record");
    let odd = http.post(&path(dose, "taken"), &json!({"at": "08:00"})).await;
    assert_eq!(odd.status, 422, "{}", odd.text());
}

#[tokio::test]
async fn early_late_ended_and_foreign_doses_are_refused_and_stay() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (_, nurse) = colleague(&api, &clinic, "nurse", 'n').await;
    let (_, desk) = colleague(&api, &clinic, "receptionist", 'r').await;
    for (minutes, words) in [(61, "not due yet"), (-24 * 60 - 1, "is over")] {
        let dose = dose(&api, &clinic, minutes).await;
        let refused = nurse.post(&path(dose, "taken"), &json!({})).await.expect_status(409);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    let soon = dose(&api, &clinic, 50).await;
    let _desk = desk.post(&path(soon, "taken"), &json!({})).await.expect_status(403);
    let _neighbour = api.with(&other.token).post(&path(soon, "taken"), &json!({})).await.expect_status(404);
    let _unknown = nurse.post(&path(new_id(), "skipped"), &json!({})).await.expect_status(404);
    for ended in
        ["UPDATE people SET deceased = true WHERE role = 'patient'", "UPDATE prescriptions SET status = 'stopped'"]
    {
        sqlx::query(ended).execute(&api.pool).await.expect("ended");
        let refused = nurse.post(&path(soon, "taken"), &json!({})).await.expect_status(409);
        assert!(refused.text().contains("not to be given"), "{}", refused.text());
        sqlx::query("UPDATE people SET deceased = false").execute(&api.pool).await.expect("a mistake");
    }
    assert_eq!(api.count("SELECT count(*) FROM dose_occurrences WHERE state <> 'planned'").await, 0);
    assert_eq!(api.count("SELECT count(*) FROM audit_entries WHERE action IN ('dose.taken', 'dose.skipped')").await, 0);
    sqlx::query("UPDATE prescriptions SET status = 'active'").execute(&api.pool).await.expect("in force");
    let _early = nurse.post(&path(soon, "skipped"), &json!({})).await.expect_status(200);
}
