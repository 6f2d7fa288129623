//! Emergency contacts: nobody is contacted without consent, one is called first, and what is removed stays on record.

use futures_util::future::join_all;
use pulsecal_tests::http::Http;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, now, token_of, wrong_fields};

const CONTACTS: &str = "/v1/emergency-contacts";

fn of_patient(clinic: &Clinic) -> String {
    format!("/v1/patients/{}/emergency-contacts", clinic.patient)
}

/// Adds a contact of this name, with more fields; gives it.
async fn add(http: &Http, clinic: &Clinic, name: &str, more: Value) -> Value {
    let mut body = json!({"name": name, "relationship": "spouse", "phone": "+49 30 5550123"});
    for (field, value) in more.as_object().expect("fields") {
        body[field] = value.clone();
    }
    http.post(&of_patient(clinic), &body).await.expect_status(201).json()
}

fn path_of(contact: &Value) -> String {
    format!("{CONTACTS}/{}", contact["id"].as_str().expect("an id"))
}

/// Somebody of the clinic in another role, by a token with every scope.
async fn colleague(api: &TestApi, clinic: &Clinic, role: &str, letter: char) -> Http {
    let (person, token) = (new_id(), token_of(letter));
    add_person(&api.pool, clinic.org, person, role, &format!("Colleague-{letter}")).await;
    add_token(&api.pool, clinic.org, person, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    api.with(&token)
}

#[tokio::test]
async fn without_consent_nobody_is_contacted_and_what_was_consented_is_on_record() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let desk = colleague(&api, &clinic, "receptionist", 'r').await;
    let contact = add(&desk, &clinic, "Jonas", json!({"email": "jonas@example.org", "primary": true})).await;
    assert_eq!((&contact["may_contact"], &contact["consent_given_at"]), (&json!(false), &Value::Null));
    let path = path_of(&contact);
    let _none = desk.post(&format!("{path}/withdraw-consent"), &json!({})).await.expect_status(409);
    let later = json!({"given_by": "contact", "given_at": (now() + chrono::TimeDelta::hours(1)).to_rfc3339()});
    let refused = desk.post(&format!("{path}/consent"), &later).await.expect_status(422).json();
    assert_eq!(wrong_fields(&refused), ["given_at"]);

    let given = json!({"given_by": "contact", "given_at": "2026-11-01T10:00:00Z"});
    let consented = desk.post(&format!("{path}/consent"), &given).await.expect_status(200);
    assert_eq!(consented.header("etag"), Some("\"2\""));
    let shown = consented.json();
    assert_eq!((&shown["may_contact"], &shown["consent_given_by"]), (&json!(true), &json!("contact")));
    assert_eq!(shown["consent_given_at"], "2026-11-01T10:00:00Z");
    let again = desk.post(&format!("{path}/consent"), &json!({"given_by": "patient"})).await.expect_status(200).json();
    assert_eq!((&again["consent_given_by"], &again["version"]), (&json!("contact"), &json!(2)), "it stays as it is");

    let withdrawn = desk.post(&format!("{path}/withdraw-consent"), &json!({})).await.expect_status(200).json();
    assert_eq!(withdrawn["may_contact"], false);
    assert!(withdrawn["consent_withdrawn_at"].is_string() && withdrawn["consent_given_at"].is_string());
    let twice = desk.post(&format!("{path}/withdraw-consent"), &json!({})).await.expect_status(200).json();
    assert_eq!(twice["version"], 3);
    // Older consent does not undo it, newer does.
    let refused = desk.post(&format!("{path}/consent"), &given).await.expect_status(422).json();
    assert_eq!(wrong_fields(&refused), ["given_at"]);
    let anew = desk.post(&format!("{path}/consent"), &json!({"given_by": "patient"})).await.expect_status(200).json();
    assert_eq!((&anew["may_contact"], &anew["consent_withdrawn_at"]), (&json!(true), &Value::Null));

    let removed = desk.post(&format!("{path}/remove"), &json!({})).await.expect_status(200).json();
    assert_eq!((&removed["may_contact"], &removed["primary"]), (&json!(false), &json!(false)));
    let _twice = desk.post(&format!("{path}/remove"), &json!({})).await.expect_status(200);
    for (verb, body) in [("consent", json!({"given_by": "contact"})), ("withdraw-consent", json!({}))] {
        assert!(desk.post(&format!("{path}/{verb}"), &body).await.expect_status(409).text().contains("was removed"));
    }
    let _over = desk.patch(&path, &json!({"name": "Oskar"})).await.expect_status(409);
    let page = desk.get(&of_patient(&clinic)).await.expect_status(200).json();
    assert_eq!(page["items"], json!([]));
    assert!(desk.get(&path).await.expect_status(200).json()["removed_at"].is_string(), "it stays on record");
    let trail: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_entries WHERE subject_id = $1 AND action NOT LIKE '%.read' ORDER BY at, id",
    )
    .bind(contact["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()))
    .fetch_all(&api.pool)
    .await
    .expect("a trail");
    let done =
        ["added", "consent_given", "consent_withdrawn", "consent_given", "removed"].map(|did| format!("contact.{did}"));
    assert_eq!(trail, done);
}

#[tokio::test]
async fn one_is_called_first_and_ten_are_the_most_for_two_at_once_too() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let desk = api.with(&clinic.admin);
    let body = json!({"name": "Tove", "relationship": "sibling", "phone": "1", "primary": true});
    let path = of_patient(&clinic);
    let answers = join_all((0..14).map(|_| desk.post(&path, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert!(refused.status == 409 && refused.text().contains("may have no more"), "{}", refused.text());
    }
    let page = desk.get(&format!("{path}?limit=100")).await.expect_status(200).json();
    let items = page["items"].as_array().expect("items");
    assert_eq!(items.len(), 10);
    assert_eq!(items.iter().filter(|item| item["primary"] == true).count(), 1);
    // Another becomes the first: the one before is not any more.
    let other = items.iter().find(|item| item["primary"] == false).expect("another");
    let changed = desk.patch(&path_of(other), &json!({"primary": true, "phone": "2"})).await.expect_status(200).json();
    assert_eq!((&changed["primary"], &changed["phone"]), (&json!(true), &json!("2")));
    assert_eq!(api.count("SELECT count(*) FROM emergency_contacts WHERE is_primary").await, 1);
    let second = sqlx::query("UPDATE emergency_contacts SET is_primary = true").execute(&api.pool).await;
    assert!(second.is_err(), "the database holds it");
    // Pages follow each other.
    let first = desk.get(&format!("{path}?limit=6")).await.json();
    let rest = desk.get(&format!("{path}?cursor={}", first["next_cursor"].as_str().expect("more"))).await.json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(4));
    // Room again, once one is removed.
    let _gone = desk.post(&format!("{}/remove", path_of(other)), &json!({})).await.expect_status(200);
    let _added = desk.post(&path, &body).await.expect_status(201);
}

#[tokio::test]
async fn of_two_who_change_it_one_is_told_and_all_that_is_wrong_is_named() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let desk = api.with(&clinic.admin);
    let path = path_of(&add(&desk, &clinic, "Jonas", json!({})).await);
    let mine = desk.clone().with_header("if-match", "\"1\"");
    let changed =
        mine.patch(&path, &json!({"email": "jonas@example.org", "may_decide": true})).await.expect_status(200);
    assert_eq!(changed.header("etag"), Some("\"2\""));
    assert_eq!(mine.patch(&path, &json!({"phone": "3"})).await.expect_status(412).header("etag"), Some("\"2\""));
    let same = desk.patch(&path, &json!({"may_decide": true})).await.expect_status(200).json();
    assert_eq!(same["version"], 2, "what changes nothing is no change");
    let gone = desk.patch(&path, &json!({"email": null})).await.expect_status(200).json();
    assert_eq!(gone["email"], Value::Null);

    let wrong = json!({"name": " ", "relationship": "cousin", "phone": "x".repeat(51), "email": "nobody", "consent_given_by": "doctor"});
    let refused = desk.post(&of_patient(&clinic), &wrong).await.expect_status(422).json();
    assert_eq!(wrong_fields(&refused), ["name", "relationship", "phone", "email", "consent_given_by"]);
    let missing = desk.post(&of_patient(&clinic), &json!({})).await.expect_status(422).json();
    assert_eq!(wrong_fields(&missing), ["name", "relationship", "phone"]);
    let nobody = format!("/v1/patients/{}/emergency-contacts", clinic.doctor);
    let new = json!({"name": "Jonas", "relationship": "spouse", "phone": "1"});
    let _no_patient = desk.post(&nobody, &new).await.expect_status(404);
}

#[tokio::test]
async fn reception_writes_care_reads_others_see_nothing_and_the_patient_sees_who_looked() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let desk = colleague(&api, &clinic, "receptionist", 'r').await;
    let nurse = colleague(&api, &clinic, "nurse", 'n').await;
    let path = path_of(&add(&desk, &clinic, "Jonas", json!({})).await);
    for care in [&nurse, &api.with(&clinic.token)] {
        let _one = care.get(&path).await.expect_status(200);
        let _list = care.get(&of_patient(&clinic)).await.expect_status(200);
        let _refused = care.patch(&path, &json!({"phone": "2"})).await.expect_status(403);
        let _refused = care.post(&format!("{path}/remove"), &json!({})).await.expect_status(403);
    }
    let stranger = api.with(&other.admin);
    let _none = stranger.get(&path).await.expect_status(404);
    let _none = stranger.get(&of_patient(&clinic)).await.expect_status(404);
    let _none = stranger.patch(&path, &json!({"phone": "2"})).await.expect_status(404);
    for verb in ["withdraw-consent", "remove"] {
        let _none = stranger.post(&format!("{path}/{verb}"), &json!({})).await.expect_status(404);
    }

    add_account(&api.pool, "mine@example.org", &[clinic.patient]).await;
    let seen = enter(&api, "mine@example.org").await.get("/p/accesses").await.expect_status(200).text();
    for words in ["looked at emergency contacts", "added an emergency contact", "Colleague-r", "Colleague-n"] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
}
