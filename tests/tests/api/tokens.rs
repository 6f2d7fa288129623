//! Tokens: who gets in, how far.

use serde_json::Value;

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
        ('9', "appointments:read", "GET", "/v1/appointments".to_owned()),
        ('0', "appointments:write", "POST", "/v1/appointments".to_owned()),
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
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 10);
    let refused = "SELECT count(*) FROM audit_entries WHERE action = 'access.refused' AND detail->>'needs' IS NOT NULL";
    assert_eq!(api.count(refused).await, 10);
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

#[tokio::test]
async fn an_operator_makes_lists_and_revokes_tokens() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let doctor = clinic.doctor.to_string();
    let made = api
        .operator(&["user", "token", "--person", &doctor, "--scope", "patients:read", "--label", "ward tablet"])
        .await;
    assert!(made.status.success(), "{}", made.stderr);
    let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a secret"));
    let _open = api.with(secret).get("/v1/patients").await.expect_status(200);

    let org = clinic.org.to_string();
    let tokens = async || {
        let listed = api.operator(&["user", "token", "list", "--org", &org]).await;
        assert!(listed.status.success(), "{}", listed.stderr);
        assert!(!listed.stdout.contains("pc_live_"), "never a secret");
        let rows: Vec<Value> = serde_json::from_str(&listed.stdout).expect("JSON");
        rows
    };
    let rows = tokens().await;
    assert_eq!(rows.len(), 3, "those of this organization: {rows:?}");
    let row = &rows[0];
    assert_eq!(
        (&row["id"], &row["person"], &row["label"]),
        (&made["id"], &doctor.as_str().into(), &"ward tablet".into())
    );
    assert_eq!((&row["scopes"], &row["revoked_at"]), (&serde_json::json!(["patients:read"]), &Value::Null));
    let [listed, said] = [&row["expires_at"], &made["expires_at"]].map(|at| at.as_str().map(|at| at[..19].to_owned()));
    assert!(listed.is_some() && listed == said, "{row}");
    let columns: Vec<&String> = row.as_object().expect("an object").keys().collect();
    assert_eq!(
        columns,
        ["created_at", "expires_at", "id", "label", "person", "revoked_at", "scopes"],
        "no hash either"
    );

    let revoked = api.operator(&["user", "token", "revoke", id]).await;
    assert!(revoked.status.success(), "{}", revoked.stderr);
    let answer = api.with(secret).get("/v1/patients").await.expect_status(401);
    assert!(answer.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")));
    assert!(tokens().await[0]["revoked_at"].is_string());
    let audited = "SELECT count(*) FROM audit_entries e JOIN api_tokens t ON t.token_id = e.subject_id AND t.org_id = e.org_id
      WHERE e.action = 'token.revoked' AND e.actor_kind = 'operator' AND t.label = 'ward tablet' AND t.revoked_at IS NOT NULL";
    assert_eq!(api.count(audited).await, 1);

    for wrong in [id, &new_id().to_string(), "pc_live_x"] {
        assert!(!api.operator(&["user", "token", "revoke", wrong]).await.status.success(), "{wrong}");
    }
    assert!(!api.operator(&["user", "token", "--scope", "patients:read"]).await.status.success(), "for whom?");
    assert_eq!(api.count("SELECT count(*) FROM audit_entries WHERE action = 'token.revoked'").await, 1);
    for untouched in [&clinic.token, &other.token] {
        let _open = api.with(untouched).get("/v1/patients").await.expect_status(200);
    }
}
