//! `pulsecal user add`: people whom an operator adds, so that somebody can sign in.

use pulsecal_tests::processes::Finished;
use serde_json::Value;

use crate::sign_in::browser;
use crate::support::{Clinic, TestApi, new_id};

async fn add(api: &TestApi, org: &str, role: &str, family: &str, email: &str) -> Finished {
    api.operator(&[
        "user",
        "add",
        "--org",
        org,
        "--role",
        role,
        "--given-name",
        "Ada",
        "--family-name",
        family,
        "--email",
        email,
    ])
    .await
}

fn json(done: &Finished) -> Value {
    assert!(done.status.success(), "{}", done.stderr);
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[tokio::test]
async fn an_operator_is_added_once_however_often_and_signs_in_with_a_token() {
    let api = TestApi::start().await;
    let org = Clinic::add(&api.pool, 'a').await.org.to_string();
    let (one, other) = tokio::join!(
        add(&api, &org, "ops", "Okafor", "ada@clinic.example.org"),
        add(&api, &org, "ops", "Okafor", "Ada@Clinic.example.org")
    );
    let (one, other) = (json(&one), json(&other));
    assert_eq!(one["id"], other["id"]);
    assert_ne!(one["new"], other["new"], "one of the two added them");
    assert_eq!(json(&add(&api, &org, "ops", " Okafor", "ada@clinic.example.org").await)["new"], false);
    let audited = "SELECT count(*) FROM audit_entries WHERE action = 'person.added' AND role = 'operator' AND detail = '{\"role\": \"ops\"}'";
    assert_eq!(api.count(audited).await, 1);
    let id = one["id"].as_str().expect("an id");
    let token = json(&api.operator(&["user", "token", "--person", id, "--scope", "jobs:read"]).await);
    let ops = browser(&api, token["token"].as_str().expect("a token")).await;
    let _page = ops.get("/ops").await.expect_status(200);
}

#[tokio::test]
async fn who_cannot_be_added_is_refused_with_the_reason_and_nothing_is_stored() {
    let api = TestApi::start().await;
    let org = Clinic::add(&api.pool, 'a').await.org.to_string();
    let nurse = json(&add(&api, &org, "nurse", "Okafor", "ada@clinic.example.org").await);
    // Who works here may be a patient here.
    let patient = json(&add(&api, &org, "patient", "Okafor", "ada@clinic.example.org").await);
    assert_ne!(nurse["id"], patient["id"]);
    let people = "SELECT count(*) FROM people";
    let before = api.count(people).await;
    let (nobody, long) = (new_id().to_string(), "x".repeat(101));
    for (org, role, family, email, why) in [
        (nobody.as_str(), "ops", "Okafor", "b@clinic.example.org", "there is no such organization"),
        (&org, "king", "Okafor", "b@clinic.example.org", "no person has the role"),
        (&org, "operator", "Okafor", "b@clinic.example.org", "no person has the role"),
        (&org, "ops", "Okafor", "nowhere", "not of the form user@domain"),
        (&org, "ops", "Oka\nfor", "b@clinic.example.org", "without line breaks"),
        (&org, "ops", " ", "b@clinic.example.org", "a family name is needed"),
        (&org, "ops", &long, "b@clinic.example.org", "up to 100 characters"),
        (&org, "ops", "Okafor", "ada@clinic.example.org", "who is nurse"),
        (&org, "nurse", "Other", "ada@clinic.example.org", "has another name"),
    ] {
        let done = add(&api, org, role, family, email).await;
        assert!(!done.status.success() && done.stderr.contains(why), "{why}: {}", done.stderr);
    }
    assert_eq!(api.count(people).await, before);
}
