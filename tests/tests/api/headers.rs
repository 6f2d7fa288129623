//! What browsers are told by every answer, and what pages that are not ours can do with one of ours: nothing.

use pulsecal_api::policy::{RULES, Rule, Who};
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::servers::Postgres;
use reqwest::Method;
use serde_json::json;

use crate::accounts::{add_account, enter};
use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, TestApi, add_person, add_token, new_id, token_of};

const HTTPS: [(&str, &str); 2] =
    [("PUBLIC_URL", "https://pulsecal.example.org"), ("RATE_LIMITS", "address=2000,caller=2000")];

/// What must stand in every answer, whatever it is.
fn assert_safe(answer: &Answer, about: &str) {
    let is = |name: &str, value: &str| assert_eq!(answer.header(name), Some(value), "{about}: {name}");
    is("x-content-type-options", "nosniff");
    let referrer = answer.header("referrer-policy").unwrap_or_default();
    assert!(["no-referrer", "same-origin"].contains(&referrer), "{about}: {referrer}");
    is("x-robots-tag", "noindex, nofollow");
    is("cross-origin-resource-policy", "same-origin");
    is("strict-transport-security", "max-age=63072000; includeSubDomains");
    let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{about}: {policy}");
    for loose in ["unsafe-inline", "unsafe-eval", "*", "http:", "data: "] {
        assert!(!policy.contains(loose) || (loose == "data: " && policy.contains("img-src")), "{about}: {policy}");
    }
    assert!(policy.contains("base-uri 'none'") || policy.contains("sandbox"), "{about}: {policy}");
    assert!(answer.header("x-request-id").is_some(), "{about}");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{about}");
    if !answer.body.is_empty() {
        let kind = answer.header("content-type").unwrap_or_default().to_owned();
        let text = kind.starts_with("text/") && kind != "text/event-stream";
        assert!(!kind.is_empty() && (!text || kind.contains("charset=utf-8")), "{about}: {kind:?}");
    }
    let kept = answer.header("cache-control").unwrap_or_default();
    let public = about.contains("/assets/") || kept.contains("no-store");
    assert!(public, "{about}: {kept}");
    for cookie in answer.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().expect("ASCII");
        for part in ["__Host-", "; Path=/", "; Secure", "; HttpOnly"] {
            assert!(cookie.contains(part), "{about}: {part} in {cookie}");
        }
        assert!(cookie.contains("; SameSite=Lax") || cookie.contains("; SameSite=Strict"), "{about}: {cookie}");
    }
}

fn path_of(rule: &Rule) -> String {
    let path = rule.path.replace("{id}", &new_id().to_string()).replace("{token}", "forged");
    path.replace("{name}", "desk.css").replace("{queue}", "nothing").replace("{verb}", "nothing")
}

async fn send(http: &Http, method: &str, path: &str) -> Answer {
    http.send(http.request(method.parse().expect("a method"), path)).await.expect("an answer")
}

#[tokio::test]
async fn every_answer_of_every_route_tells_browsers_what_they_may_do_with_it() {
    let api = TestApi::start_with(Postgres::shared().await, &HTTPS).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (nobody, admin, doctor) = (api.anonymous(), api.with(&clinic.admin), api.with(&clinic.token));
    let mut walked = 0;
    for rule in RULES {
        for (who, http) in [("nobody", &nobody), ("admin", &admin), ("doctor", &doctor)] {
            // It stays open.
            if rule.path.ends_with("/live") && rule.path.contains("chat")
                || rule.path.ends_with("/events") && who != "nobody"
            {
                continue;
            }
            let answer = send(http, rule.method, &path_of(rule)).await;
            assert_safe(&answer, &format!("{} {} as {who}: {}", rule.method, rule.path, answer.status));
            walked += 1;
        }
    }
    assert!(walked > 350, "{walked}");

    // Every class of error.
    let json = |http: &Http, method: Method, path: &str, body: String, kind: &str| {
        let http = http.clone();
        let request = http.request(method, path).header("content-type", kind).body(body);
        async move { http.send(request).await.expect("an answer") }
    };
    let patient = format!("/v1/patients/{}", clinic.patient);
    let errors = [
        (400, json(&doctor, Method::PATCH, &patient, "{".into(), "application/json").await),
        (401, send(&nobody, "GET", "/v1/patients").await),
        (403, send(&doctor, "GET", "/v1/payments").await),
        (404, send(&doctor, "GET", "/v1/nothing").await),
        (404, send(&nobody, "GET", "/nowhere/at/all").await),
        (405, send(&doctor, "DELETE", &patient).await),
        (405, send(&nobody, "TRACE", "/sign-in").await),
        (412, doctor.clone().with_header("if-match", "\"9\"").patch(&patient, &json!({"privacy_level": 2})).await),
        (413, json(&doctor, Method::PATCH, &patient, " ".repeat(300 * 1024), "application/json").await),
        (415, json(&doctor, Method::PATCH, &patient, "{}".into(), "text/plain").await),
        (422, doctor.patch(&patient, &json!({"colour": "red"})).await),
        (303, send(&nobody, "GET", "/staff").await),
        (401, send(&nobody, "POST", "/sign-out").await),
    ];
    for (status, answer) in &errors {
        assert_eq!(answer.status, *status, "{}", answer.text());
        assert_safe(answer, &status.to_string());
    }
    // And too many requests.
    let few = TestApi::start_with(Postgres::shared().await, &[HTTPS[0], ("RATE_LIMITS", "address=1,caller=1")]).await;
    let mut last = send(&few.anonymous(), "GET", "/v1/patients").await;
    for _ in 0..40 {
        if last.status == 429 {
            break;
        }
        last = send(&few.anonymous(), "GET", "/v1/patients").await;
    }
    assert_eq!(last.status, 429);
    assert_safe(&last, "429");
    assert!(last.header("retry-after").is_some());
}

#[tokio::test]
async fn a_form_that_a_foreign_page_sends_does_nothing() {
    let api = TestApi::start_with(Postgres::shared().await, &[HTTPS[1]]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "admin@example.org", &[clinic.administrator]).await;
    add_account(&api.pool, "patient@example.org", &[clinic.patient]).await;
    let (operator, token) = (new_id(), token_of('o'));
    add_person(&api.pool, clinic.org, operator, "ops", "Operator").await;
    add_token(&api.pool, clinic.org, operator, &token, &["jobs:read", "ops:write"], "now() + interval '1 hour'", false)
        .await;
    let (admin, other) = (enter(&api, "admin@example.org").await, enter(&api, "admin@example.org").await);
    let (ops, patient) = (browser(&api, &token).await, enter(&api, "patient@example.org").await);
    let (own, of_another) = (form_token(&admin, "/staff/agenda").await, form_token(&other, "/staff/agenda").await);
    let of_ops = form_token(&ops, "/staff").await;
    let _patient = patient;
    let state = "SELECT (SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL) + (SELECT count(*) FROM exports) + (SELECT count(*) FROM api_tokens)
        + (SELECT count(*) FROM appointments) + (SELECT count(*) FROM account_factors) + (SELECT count(*) FROM queues WHERE paused)";
    let before = api.count(state).await;
    let mut tried = 0;
    for rule in RULES.iter().filter(|rule| rule.method == "POST") {
        let (by, token) = match rule.who {
            Who::Page(_) | Who::Session | Who::Account => (&admin, &own),
            Who::Ops(_) => (&ops, &of_ops),
            _ => continue,
        };
        let path = path_of(rule);
        let form = |http: &Http, fields: Vec<(&'static str, String)>| {
            let http = http.clone();
            let request = http.request(Method::POST, &path).form(&fields);
            async move { http.send(request).await.expect("an answer") }
        };
        let with = |token: &str| {
            vec![("form_token", token.to_owned()), ("format", "csv".to_owned()), ("session", "others".to_owned())]
        };
        let refused = [
            ("no token", form(by, vec![("format", "csv".to_owned())]).await),
            ("another session's token", form(by, with(&of_another)).await),
            ("an invented token", form(by, with("0000")).await),
            ("a foreign origin", form(&by.clone().with_header("origin", "https://evil.example"), with(token)).await),
            ("no origin to speak of", form(&by.clone().with_header("origin", "null"), with(token)).await),
            ("a foreign site", form(&by.clone().with_header("sec-fetch-site", "cross-site"), with(token)).await),
            ("a neighbour's site", form(&by.clone().with_header("sec-fetch-site", "same-site"), with(token)).await),
        ];
        for (how, answer) in &refused {
            tried += 1;
            assert!(
                [400, 403, 422].contains(&answer.status),
                "POST {} with {how}: {} {}",
                rule.path,
                answer.status,
                answer.text()
            );
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert!(tried > 90, "{tried}");
    assert_eq!(api.count(state).await, before, "nothing was done");
    let _still_in = admin.get("/staff/agenda").await.expect_status(200);
    // From our own page the same form is good.
    let fields = [("form_token", own.as_str()), ("session", "others")];
    let _done = admin
        .clone()
        .with_header("sec-fetch-site", "same-origin")
        .post_form("/account/sessions", &fields)
        .await
        .expect_status(303);
    let _out = other.get("/staff/agenda").await.expect_status(303);
}

#[tokio::test]
async fn looking_at_pages_changes_nothing_but_the_trail() {
    let api = TestApi::start_with(Postgres::shared().await, &[HTTPS[1]]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let _dose = clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", crate::support::now(), "reminded").await;
    add_account(&api.pool, "admin@example.org", &[clinic.administrator]).await;
    add_account(&api.pool, "patient@example.org", &[clinic.patient]).await;
    let (admin, patient) = (enter(&api, "admin@example.org").await, enter(&api, "patient@example.org").await);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'audit%' AND tablename NOT LIKE '%migrations%' AND tablename NOT IN ('sessions', 'processes') ORDER BY 1",
    )
    .fetch_all(&api.pool)
    .await
    .expect("tables");
    let state = async || {
        let mut all = Vec::new();
        for table in &tables {
            let sql = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t"
            );
            let of: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&api.pool).await.expect("counted");
            all.push(format!("{table}: {of}"));
        }
        all
    };
    let before = state().await;
    let mut looked = 0;
    for rule in RULES
        .iter()
        .filter(|rule| rule.method == "GET" && !rule.path.ends_with("/events") && !rule.path.ends_with("/live"))
    {
        for (by, id) in [(&admin, clinic.patient), (&patient, clinic.patient)] {
            let path =
                rule.path.replace("{id}", &id.to_string()).replace("{token}", "forged").replace("{name}", "desk.css");
            let _any = by.get(&path).await;
            looked += 1;
        }
    }
    assert!(looked > 150, "{looked}");
    assert_eq!(state().await, before);
}

#[tokio::test]
async fn scripts_of_listed_pages_use_the_api_with_a_token_and_of_others_not_at_all() {
    let listed = "https://portal.example.org";
    let set = [("CORS_ORIGINS", "https://portal.example.org, http://localhost:3000")];
    let api = TestApi::start_with(Postgres::shared().await, &set).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let doctor = api.with(&clinic.token);
    let preflight = async |origin: &str, path: &str| {
        let http = api.anonymous().with_header("origin", origin).with_header("access-control-request-method", "PATCH");
        let http =
            http.with_header("access-control-request-headers", "authorization,content-type,if-match,idempotency-key");
        send(&http, "OPTIONS", path).await
    };
    let allowed = preflight(listed, "/v1/patients").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some(listed));
    let headers = allowed.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    for name in ["authorization", "content-type", "if-match", "idempotency-key"] {
        assert!(headers.contains(name), "{name} in {headers}");
    }
    for origin in [
        "https://evil.example",
        "https://portal.example.org.evil.example",
        "http://portal.example.org",
        "https://portal.example.org:8443",
        "null",
        "https://PORTAL.example.org.",
        "*",
    ] {
        let refused = preflight(origin, "/v1/patients").await;
        assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
        let read = doctor.clone().with_header("origin", origin).get("/v1/patients").await.expect_status(200);
        assert_eq!(read.header("access-control-allow-origin"), None, "{origin}");
    }
    for origin in [listed, "http://localhost:3000"] {
        let read = doctor.clone().with_header("origin", origin).get("/v1/patients").await.expect_status(200);
        assert_eq!(read.header("access-control-allow-origin"), Some(origin));
        assert_eq!(read.header("access-control-allow-credentials"), None, "cookies are never taken");
        assert!(read.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")));
        let denied = api.anonymous().with_header("origin", origin).get("/v1/patients").await.expect_status(401);
        assert_eq!(denied.header("access-control-allow-origin"), Some(origin), "so that the script reads why");
        for page in ["/sign-in", "/staff", "/p", "/oauth/token", "/openapi.json"] {
            assert_eq!(preflight(origin, page).await.header("access-control-allow-origin"), None, "{page}");
        }
    }
}
