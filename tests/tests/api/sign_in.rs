//! Signing in to the pages of staff and operators, and what ends it.

use pulsecal_tests::http::{Answer, Http};
use uuid::Uuid;

use crate::support::{Clinic, TestApi, add_person, add_token, new_id, token_of};

/// A clinic with an operator, whose token opens the pages.
pub async fn with_operator(api: &TestApi) -> (Clinic, Uuid, String) {
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (ops, token) = (new_id(), token_of('o'));
    add_person(&api.pool, clinic.org, ops, "ops", "Operator").await;
    add_token(&api.pool, clinic.org, ops, &token, &["jobs:read", "ops:write"], "now() + interval '1 hour'", false)
        .await;
    (clinic, ops, token)
}

async fn enter(api: &TestApi, token: &str) -> Answer {
    api.anonymous().post_form("/sign-in", &[("token", token), ("next", "")]).await
}

/// The session that an answer gives.
pub fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().expect("its value").to_owned()
}

/// A browser that has signed in with this token.
pub async fn browser(api: &TestApi, token: &str) -> Http {
    let cookie = cookie_of(&enter(api, token).await.expect_status(303));
    api.anonymous().with_header("cookie", &cookie)
}

/// The token that the forms of this page carry.
pub async fn form_token(browser: &Http, path: &str) -> String {
    let page = browser.get(path).await.expect_status(200).text();
    let token = page.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    token.expect("a form").to_owned()
}

#[tokio::test]
async fn an_operator_signs_in_is_led_back_and_signs_out() {
    let api = TestApi::start().await;
    let (_, ops, token) = with_operator(&api).await;
    let away = api.anonymous().get("/staff?x=1").await.expect_status(303);
    assert_eq!(away.header("location"), Some("/sign-in?next=%2Fstaff%3Fx%3D1"));
    let entered = api.anonymous().post_form("/sign-in", &[("token", &token), ("next", "/staff?x=1")]).await;
    assert_eq!(entered.expect_status(303).header("location"), Some("/staff?x=1"));
    for elsewhere in ["https://evil.example/", "//evil.example", "/\\evil.example", ""] {
        let entered = api.anonymous().post_form("/sign-in", &[("token", &token), ("next", elsewhere)]).await;
        assert_eq!(entered.expect_status(303).header("location"), Some("/ops"), "{elsewhere}");
    }
    let browser = browser(&api, &token).await;
    let page = browser.get("/staff").await.expect_status(200);
    assert!(page.text().contains("Operator") && !page.text().contains(&token));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"), "or browsers send no origin with its forms");

    let form = form_token(&browser, "/staff").await;
    let left = browser.post_form("/sign-out", &[("form_token", &form)]).await.expect_status(303);
    assert!(left.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    let _gone = browser.get("/staff").await.expect_status(303);
    let _gone = browser.post_form("/sign-out", &[("form_token", &form)]).await.expect_status(401);

    let noted: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT action, outcome, role FROM audit_entries WHERE actor_id = $1 AND action LIKE 'session.%' ORDER BY at DESC LIMIT 2",
    )
    .bind(ops)
    .fetch_all(&api.pool)
    .await
    .expect("entries");
    let noted: Vec<_> = noted.iter().map(|(action, outcome, role)| (&**action, &**outcome, role.as_deref())).collect();
    assert_eq!(noted, [("session.ended", "success", Some("ops")), ("session.begun", "success", Some("ops"))]);
    let stored = api.count("SELECT count(*) FROM sessions WHERE length(secret_hash) = 32").await;
    assert_eq!(stored, 6, "one for each time; of the secret only its hash");
}

#[tokio::test]
async fn a_session_ends_with_its_token_its_person_and_its_time() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    for end in [
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET seen_at = now() - interval '31 minutes'",
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE people SET active = false WHERE role = 'ops'",
        "UPDATE api_tokens SET expires_at = now()",
        "UPDATE api_tokens SET revoked_at = now(), expires_at = now() + interval '1 hour'",
    ] {
        sqlx::raw_sql("UPDATE people SET active = true; UPDATE api_tokens SET revoked_at = NULL, expires_at = now() + interval '1 hour'")
            .execute(&api.pool)
            .await
            .expect("as before");
        let browser = browser(&api, &token).await;
        let _in = browser.get("/staff").await.expect_status(200);
        sqlx::query(end).execute(&api.pool).await.expect("ended");
        let _out = browser.get("/staff").await.expect_status(303);
    }
    let worthless = enter(&api, &token).await.expect_status(401);
    assert!(worthless.text().contains("does not open anything") && worthless.header("set-cookie").is_none());
}

#[tokio::test]
async fn signing_in_again_makes_a_new_session_and_ends_the_old_one() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let first = browser(&api, &token).await;
    let again = first.post_form("/sign-in", &[("token", &token)]).await.expect_status(303);
    let second = api.anonymous().with_header("cookie", &cookie_of(&again));
    let _old = first.get("/staff").await.expect_status(303);
    let _new = second.get("/staff").await.expect_status(200);
    let forged = api.anonymous().with_header("cookie", &format!("pulsecal={}", "a".repeat(43)));
    let _forged = forged.get("/staff").await.expect_status(303);
}

#[tokio::test]
async fn a_wrong_token_is_refused_put_on_record_without_a_person_and_tried_so_often_only() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let patients = token_of('p');
    add_token(&api.pool, clinic.org, clinic.patient, &patients, &[], "now() + interval '1 hour'", false).await;
    for wrong in ["", "hello", &token_of('x'), &patients] {
        let answer = enter(&api, wrong).await.expect_status(401);
        assert!(!answer.text().contains(&token_of('x')) && answer.header("set-cookie").is_none());
    }
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'session.refused' AND outcome = 'failed' AND actor_id IS NULL AND org_id IS NULL";
    assert_eq!(api.count(noted).await, 4);
    for _ in 0..6 {
        let _wrong = enter(&api, &token_of('x')).await.expect_status(401);
    }
    let full = enter(&api, &clinic.token).await.expect_status(429);
    assert!(full.header("retry-after").is_some());
    assert_eq!(api.count(noted).await, 10, "what is not tried is not noted");
    let elsewhere = api.anonymous().with_header("x-forwarded-for", "203.0.113.9");
    let _other = elsewhere.post_form("/sign-in", &[("token", &clinic.token)]).await.expect_status(303);
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let api = TestApi::start().await;
    let (_, _, token) = with_operator(&api).await;
    let browser = browser(&api, &token).await;
    let good = form_token(&browser, "/staff").await;
    let other = form_token(&self::browser(&api, &token).await, "/staff").await;
    for form in ["", "wrong", &other] {
        let refused = browser.post_form("/sign-out", &[("form_token", form)]).await.expect_status(403);
        assert!(refused.text().contains("nothing was changed"));
    }
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (path, fields) in [("/sign-out", ("form_token", &good)), ("/sign-in", ("token", &token))] {
            let from = browser.clone().with_header(header, value);
            let _refused = from.post_form(path, &[(fields.0, fields.1)]).await.expect_status(403);
        }
    }
    let _still = browser.get("/staff").await.expect_status(200);
    let own = browser.with_header("origin", &api.base).with_header("sec-fetch-site", "same-origin");
    let _left = own.post_form("/sign-out", &[("form_token", &good)]).await.expect_status(303);
}
