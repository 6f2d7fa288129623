//! Insurance policies: one of a kind for a patient, by whom they are seen, and that their numbers are nowhere else.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

const POLICIES: &str = "/v1/insurances";

/// A policy of this number, to be added.
pub fn policy(patient: Uuid, number: &str) -> Value {
    json!({"patient_id": patient, "kind": "public", "provider": "Example Health", "policy_number": number, "subscriber_name": "Amina Castellan",
        "relationship": "self", "effective_on": "2026-01-01", "copay": 1000})
}

fn path_of(made: &Value) -> String {
    format!("{POLICIES}/{}", made["id"].as_str().expect("an id"))
}

fn numbers(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().filter_map(|item| item["policy_number"].as_str()).collect()
}

/// A sample for the test of traces.
pub async fn sample(admin: &Http, patient: Uuid, route: &str, method: &str) -> Answer {
    let added = admin.post(POLICIES, &policy(patient, &new_id().to_string())).await;
    if route == POLICIES {
        return if method == "GET" { admin.get(&format!("{POLICIES}?patient={patient}")).await } else { added };
    }
    let path = route.replace("{id}", added.expect_status(201).json()["id"].as_str().expect("an id"));
    match method {
        "GET" => admin.get(&path).await,
        "PATCH" => admin.patch(&path, &json!({"copay": 500})).await,
        _ => admin.post(&path, &json!({})).await,
    }
}

#[tokio::test]
async fn a_policy_is_added_once_changed_at_its_version_and_ended_and_its_number_is_in_no_trail() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let admin = api.with(&clinic.admin);
    let _swiss = admin.patch("/v1/organization", &json!({"currency": "CHF"})).await.expect_status(200);
    let _none = admin.patch("/v1/organization", &json!({"currency": "ABC"})).await.expect_status(422);
    let new = policy(clinic.patient, "SECRET-4711");
    // Of several at once one is added.
    let answers = join_all((0..6).map(|_| admin.post(POLICIES, &new))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)), "{answers:?}");
    let made = answers.iter().find(|answer| answer.status == 201).expect("one").json();
    assert_eq!((&made["currency"], &made["copay"], &made["version"]), (&json!("CHF"), &json!(1000), &json!(1)));
    let path = path_of(&made);
    assert_eq!(admin.get(&path).await.expect_status(200).json(), made);
    let mut shouted = new.clone();
    shouted["provider"] = json!("EXAMPLE HEALTH");
    assert!(admin.post(POLICIES, &shouted).await.expect_status(409).text().contains("already"));

    let at = |version: &str| admin.clone().with_header("if-match", version);
    let changed =
        at("\"1\"").patch(&path, &json!({"expires_on": "2026-12-31", "copay": null})).await.expect_status(200).json();
    assert_eq!(
        (&changed["expires_on"], &changed["copay"], &changed["version"]),
        (&json!("2026-12-31"), &Value::Null, &json!(2))
    );
    let _stale = at("\"1\"").patch(&path, &json!({"copay": 1})).await.expect_status(412);
    let order = admin.patch(&path, &json!({"expires_on": "2025-12-31"})).await.expect_status(422).json();
    assert_eq!(wrong_fields(&order), ["expires_on"]);
    let second = admin.post(POLICIES, &policy(clinic.patient, "B-1")).await.expect_status(201).json();
    let taken = admin.patch(&path_of(&second), &json!({"policy_number": "SECRET-4711"})).await.expect_status(409);
    assert!(!taken.text().contains("SECRET"), "{}", taken.text());

    let ended = admin.post(&format!("{path}/end"), &json!({})).await.expect_status(200).json();
    assert!(ended["ended_at"].is_string());
    let twice = admin.post(&format!("{path}/end"), &json!({})).await.expect_status(200).json();
    assert_eq!(twice, ended);
    assert!(admin.patch(&path, &json!({"copay": 1})).await.expect_status(409).text().contains("was ended"));
    let _anew = admin.post(POLICIES, &new).await.expect_status(201);

    for read in [path.clone(), path_of(&second)] {
        let _foreign = api.with(&other.admin).get(&read).await.expect_status(404);
        let _foreign = api.with(&other.admin).patch(&read, &json!({"copay": 1})).await.expect_status(404);
    }
    let theirs = api.with(&other.admin).post(POLICIES, &new).await.expect_status(422).json();
    assert_eq!(wrong_fields(&theirs), ["patient_id"]);
    let told =
        "SELECT count(*) FROM audit_entries WHERE detail::text LIKE '%SECRET%' OR detail::text LIKE '%Castellan%'";
    assert_eq!(api.count(told).await, 0);
    let trail: Vec<String> =
        sqlx::query_scalar("SELECT action FROM audit_entries WHERE subject_id = $1 ORDER BY at, id")
            .bind(made["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()))
            .fetch_all(&api.pool)
            .await
            .expect("a trail");
    assert_eq!(trail, ["insurance.added", "insurance.read", "insurance.changed", "insurance.ended"]);
}

#[tokio::test]
async fn policies_are_listed_by_patient_kind_and_day_for_the_desk_and_nobody_else() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (desk, token) = (new_id(), token_of('r'));
    add_person(&api.pool, clinic.org, desk, "receptionist", "Desk").await;
    add_token(&api.pool, clinic.org, desk, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    let desk = api.with(&token);
    let neighbour = new_id();
    add_person(&api.pool, clinic.org, neighbour, "patient", "Neighbour").await;
    for (patient, number, kind, from, to) in [
        (clinic.patient, "1", "public", "2026-01-01", None),
        (clinic.patient, "2", "private", "2020-01-01", Some("2025-12-31")),
        (neighbour, "3", "public", "2026-06-01", None),
        (neighbour, "4", "employer", "2027-01-01", None),
    ] {
        let mut new = policy(patient, number);
        (new["kind"], new["effective_on"], new["expires_on"]) = (json!(kind), json!(from), json!(to));
        let _made = desk.post(POLICIES, &new).await.expect_status(201);
    }
    let list = async |query: &str| desk.get(&format!("{POLICIES}?{query}")).await.expect_status(200).json();
    assert_eq!(numbers(&list("limit=100").await), ["4", "3", "2", "1"], "newest first");
    assert_eq!(numbers(&list(&format!("patient={}", clinic.patient)).await), ["2", "1"]);
    assert_eq!(numbers(&list("kind=public").await), ["3", "1"]);
    for (day, expected) in
        [("2025-12-31", vec!["2"]), ("2026-01-01", vec!["1"]), ("2026-06-01", vec!["3", "1"]), ("2019-12-31", vec![])]
    {
        assert_eq!(numbers(&list(&format!("valid_on={day}")).await), expected, "{day}");
    }
    let first = list("limit=3").await;
    let rest = list(&format!("limit=3&cursor={}", first["next_cursor"].as_str().expect("more"))).await;
    assert_eq!(numbers(&rest), ["1"]);
    let _odd = desk.get(&format!("{POLICIES}?valid_on=yesterday")).await.expect_status(422);
    let _doctor = api.with(&clinic.token).get(POLICIES).await.expect_status(403);
    let wrong = json!({"patient_id": new_id(), "kind": "none", "provider": " ", "policy_number": "", "relationship": "cat", "effective_on": "0001-01-01",
        "copay": -1, "deductible": 1_000_000_000_001_i64, "colour": "red"});
    let refused = desk.post(POLICIES, &wrong).await.expect_status(422).json();
    assert_eq!(
        wrong_fields(&refused),
        [
            "kind",
            "provider",
            "policy_number",
            "subscriber_name",
            "relationship",
            "effective_on",
            "copay",
            "deductible",
            "colour"
        ]
    );
    // Twenty at most, for two at once too.
    let more: Vec<Value> = (10..35).map(|number| policy(clinic.patient, &number.to_string())).collect();
    let answers = join_all(more.iter().map(|new| desk.post(POLICIES, new))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 18);
}
