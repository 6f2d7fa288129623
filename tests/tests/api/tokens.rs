//! Tokens: who gets in, how far.

use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, token_of};

#[tokio::test]
async fn a_token_opens_until_it_expires_or_is_revoked_and_while_its_person_is_active() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let _open = api.with(&clinic.token).get("/v1/patients").await.expect_status(200);

    add_token(&api.pool, clinic.org, clinic.doctor, &token_of('e'), &ALL_SCOPES, "now() - interval '1 second'", false)
        .await;
    add_token(&api.pool, clinic.org, clinic.doctor, &token_of('r'), &ALL_SCOPES, "now() + interval '1 hour'", true)
        .await;
    for worthless in
        [token_of('u'), token_of('e'), token_of('r'), clinic.token.to_uppercase(), format!("{}=", clinic.token)]
    {
        let answer = api.with(&worthless).get("/v1/patients").await.expect_status(401);
        assert!(answer.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }

    sqlx::query("UPDATE people SET active = false WHERE person_id = $1")
        .bind(clinic.doctor)
        .execute(&api.pool)
        .await
        .expect("left");
    let _gone = api.with(&clinic.token).get("/v1/patients").await.expect_status(401);
}

#[tokio::test]
async fn a_missing_scope_is_403_whatever_the_body_and_names_the_scope() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (prescription, reminder) = clinic.add_reminder(&api.pool).await;
    let patient = clinic.patient;
    for (letter, missing, method, path) in [
        ('1', "patients:read", "GET", "/v1/patients".to_owned()),
        ('2', "patients:write", "PATCH", format!("/v1/patients/{patient}")),
        ('3', "prescriptions:read", "GET", format!("/v1/prescriptions/{prescription}")),
        ('4', "prescriptions:write", "POST", format!("/v1/prescriptions/{prescription}/stop")),
        ('5', "reminders:read", "GET", format!("/v1/medication-reminders/{reminder}/occurrences")),
        ('6', "reminders:write", "POST", "/v1/medication-reminders".to_owned()),
        ('7', "messages:read", "GET", "/v1/messages".to_owned()),
        ('8', "jobs:read", "GET", "/v1/jobs".to_owned()),
    ] {
        let others: Vec<&str> = ALL_SCOPES.into_iter().filter(|scope| *scope != missing).collect();
        add_token(&api.pool, clinic.org, clinic.doctor, &token_of(letter), &others, "now() + interval '1 hour'", false)
            .await;
        let http = api.with(&token_of(letter));
        let request = http
            .request(method.parse().expect("a method"), &path)
            .header("content-type", "application/json")
            .body("{no json");
        let answer = http.send(request).await.expect("an answer").expect_status(403);
        assert!(answer.text().contains(missing), "{path}: {}", answer.text());
    }
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 0);
}

#[tokio::test]
async fn a_role_bounds_what_its_tokens_allow() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    for (letter, role, path, status) in [
        ('p', "patient", "/v1/patients", 403),
        ('q', "receptionist", "/v1/patients", 200),
        ('s', "receptionist", "/v1/prescriptions", 403),
        ('o', "ops", "/v1/jobs", 200),
        ('n', "nurse", "/v1/medication-reminders", 200),
    ] {
        let person = new_id();
        add_person(&api.pool, clinic.org, person, role, &format!("Someone-{letter}")).await;
        add_token(&api.pool, clinic.org, person, &token_of(letter), &ALL_SCOPES, "now() + interval '1 hour'", false)
            .await;
        let _answer = api.with(&token_of(letter)).get(path).await.expect_status(status);
    }
}
