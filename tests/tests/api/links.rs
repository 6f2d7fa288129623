//! The pages behind the links in mail.

use chrono::TimeDelta;
use pulsecal_tests::http::{Answer, Http};
use uuid::Uuid;

use crate::support::{Clinic, TestApi, now};

const STATE: &str = "SELECT coalesce(sum(hashtext(o::text)), 0)::bigint + (SELECT count(*) FROM audit_entries WHERE action <> 'dose.read') + (SELECT count(*) FROM jobs) FROM dose_occurrences o";

/// A dose that was due a minute ago, and the path of its page.
async fn dose(api: &TestApi, clinic: &Clinic) -> (Uuid, String) {
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let due = now() - TimeDelta::minutes(1);
    let dose = clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", due, "reminded").await;
    (dose, api.link(clinic.org, dose, now() + TimeDelta::days(1)))
}

fn form_token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("name=\"form_token\" value=\"").expect("the form has its token");
    rest.split('"').next().expect("a value").to_owned()
}

async fn state_of(api: &TestApi, dose: Uuid) -> String {
    sqlx::query_scalar("SELECT state FROM dose_occurrences WHERE occurrence_id = $1")
        .bind(dose)
        .fetch_one(&api.pool)
        .await
        .expect("the dose")
}

async fn say(http: &Http, path: &str, choice: &str) -> Answer {
    let token = form_token(&http.get(path).await.expect_status(200));
    http.post_form(path, &[("form_token", &token), ("choice", choice)]).await
}

#[tokio::test]
async fn reading_a_link_twenty_times_changes_nothing_and_the_form_records_once() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (dose, path) = dose(&api, &clinic).await;
    let http = api.anonymous();
    let before = api.count(STATE).await;
    for choice in ["", "?choice=done", "?choice=skip", "?choice=later", "?choice=nonsense&utm=1"] {
        for method in ["GET", "HEAD", "GET", "GET"] {
            let request = http.request(method.parse().expect("a method"), &format!("{path}{choice}"));
            let _page = http.send(request).await.expect("an answer").expect_status(200);
        }
    }
    let _not_yet = http.get(&format!("{path}/done")).await.expect_status(303);
    let page = http.get(&path).await;
    // A scanner that posts what it finds, but not the form itself.
    let _guess = http.post_form(&path, &[("choice", "done")]).await.expect_status(400);
    let _forged = http.post_form(&path, &[("choice", "done"), ("form_token", "0")]).await.expect_status(400);
    let _odd =
        http.post_form(&path, &[("choice", "later-7"), ("form_token", &form_token(&page))]).await.expect_status(422);
    for method in ["PUT", "DELETE", "PATCH"] {
        let _no = http
            .send(http.request(method.parse().expect("a method"), &path))
            .await
            .expect("an answer")
            .expect_status(405);
    }
    assert_eq!(api.count(STATE).await, before);

    let answered = say(&http, &path, "done").await.expect_status(303);
    assert_eq!(answered.header("location"), Some(format!("{path}/done").as_str()));
    assert_eq!(state_of(&api, dose).await, "taken");
    assert!(http.get(&format!("{path}/done")).await.expect_status(200).text().contains("Your answer is recorded"));
    let _twice = say(&http, &path, "done").await.expect_status(303);
    assert_eq!(
        api.count("SELECT count(*) FROM audit_entries WHERE action = 'dose.taken' AND actor_kind = 'patient_link'")
            .await,
        1
    );
    let _corrected = say(&http, &path, "skip").await.expect_status(303);
    assert_eq!(state_of(&api, dose).await, "skipped");
}

#[tokio::test]
async fn snoozing_has_an_end_and_a_late_answer_is_refused_with_a_sentence() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (snoozed, path) = dose(&api, &clinic).await;
    let http = api.anonymous();
    for _ in 0..6 {
        let _again = say(&http, &path, "later-10").await.expect_status(303);
    }
    assert_eq!(state_of(&api, snoozed).await, "snoozed");
    let refused = say(&http, &path, "later-10").await.expect_status(409);
    assert!(refused.text().contains("as often as is possible"), "{}", refused.text());

    sqlx::query("UPDATE dose_occurrences SET due_at = now() - interval '25 hours'")
        .execute(&api.pool)
        .await
        .expect("long ago");
    let late = say(&http, &path, "done").await.expect_status(409);
    assert!(late.text().contains("The time to answer this is over"), "{}", late.text());
    assert_eq!(state_of(&api, snoozed).await, "snoozed");
}

#[tokio::test]
async fn a_link_that_is_forged_expired_or_of_another_clinic_shows_nothing() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (dose, path) = dose(&api, &clinic).await;
    let http = api.anonymous();
    let expired = api.link(clinic.org, dose, now() - TimeDelta::seconds(1));
    let foreign = api.link(other.org, dose, now() + TimeDelta::days(1));
    let mut forged = path.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    let cut = path[..path.len() - 3].to_owned();
    forged.replace_range(forged.len() - 1.., if forged.ends_with('x') { "y" } else { "x" });
    forged.push(last);
    for (path, status) in [(expired, 410), (foreign, 410), (forged, 404), (cut, 404)] {
        let page = http.get(&path).await.expect_status(status);
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
        assert!(!page.text().contains("Examplomycin") && !page.text().contains("Heart clinic"));
        let _post = http.post_form(&path, &[("choice", "done")]).await.expect_status(status);
    }
    assert_eq!(state_of(&api, dose).await, "reminded");
}

#[tokio::test]
async fn a_page_says_no_more_than_the_patients_privacy_level() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, path) = dose(&api, &clinic).await;
    let http = api.anonymous();
    for (level, verified, clinic_named, prescriber, medicine) in [
        (0, true, false, false, false),
        (1, true, true, false, false),
        (2, true, true, true, false),
        (3, true, true, true, true),
        (3, false, false, false, false),
    ] {
        sqlx::query("UPDATE people SET privacy_level = $1, medicine_opt_in_at = now(), email_verified_at = CASE WHEN $2 THEN now() END WHERE person_id = $3")
            .bind(level).bind(verified).bind(clinic.patient).execute(&api.pool).await.expect("set");
        let page = http.get(&path).await.expect_status(200).text();
        let seen = (page.contains("Heart clinic"), page.contains("Doctor-a"), page.contains("Examplomycin"));
        assert_eq!(seen, (clinic_named, prescriber, medicine), "level {level}, verified {verified}");
        assert!(!page.contains("Patient-a") && !page.contains("@example.org"));
    }
}

#[tokio::test]
async fn every_answer_has_its_headers_and_the_log_holds_no_token_and_no_query() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, path) = dose(&api, &clinic).await;
    let signed_in = api.with(&clinic.token);
    let mark = api.process.mark();
    for (http, path) in [
        (api.anonymous(), path.clone()),
        (api.anonymous(), format!("{path}?choice=done")),
        (api.anonymous(), "/p/d/none".to_owned()),
        (api.anonymous(), "/dev/inbox".to_owned()),
        (api.anonymous(), "/health/ready".to_owned()),
        (api.anonymous(), "/metrics".to_owned()),
        (api.anonymous(), "/nowhere".to_owned()),
        (api.anonymous(), "/v1/patients".to_owned()),
        (signed_in.clone(), "/v1/patients?name=Patient-a".to_owned()),
        (signed_in.clone(), format!("/v1/patients/{}", clinic.patient)),
        (signed_in, "/v1/jobs?state=ready".to_owned()),
    ] {
        let answer = http.get(&path).await;
        for name in
            ["content-security-policy", "x-content-type-options", "referrer-policy", "cache-control", "x-robots-tag"]
        {
            assert!(answer.header(name).is_some(), "{path}: no {name}");
        }
        assert!(
            answer.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'none'")),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let last = api.process.wait_line_after(mark, "/v1/jobs", crate::support::LIMIT).await;
    assert!(last.contains("\"http.status\":200"), "{last}");
    let log = api.process.lines().join("\n");
    let token = path.trim_start_matches("/p/d/");
    for secret in [token, &clinic.token, "Patient-a", "choice=", "state=ready", "example.org"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    assert!(log.contains("/p/d/{token}") && log.contains("/v1/patients/{id}"));
}

#[tokio::test]
async fn the_inbox_shows_mail_as_a_page_and_as_json() {
    let api = TestApi::start().await;
    let raw = "From: Practice <p@example.org>\r\nTo: ann@example.org\r\nSubject: Your update\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nPlain words\r\n--b\r\nContent-Type: text/html\r\n\r\n<html><head><title>Update</title></head><p>Rich <script>words</script></p>\r\n--b--\r\n";
    for (id, second) in [(1_u128, 1), (2, 2)] {
        sqlx::query("INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) VALUES ($1, 'ann@example.org', 'Your <update>', $2, to_timestamp($3), $4)")
            .bind(Uuid::from_u128(id)).bind(format!("<{id}@example.org>")).bind(f64::from(second)).bind(raw.as_bytes()).execute(&api.pool).await.expect("a mail");
    }
    let list =
        api.anonymous().with_header("accept", "application/json").get("/dev/inbox").await.expect_status(200).json();
    assert_eq!(
        (list[0]["message_id"].as_str(), list[1]["message_id"].as_str()),
        (Some("<2@example.org>"), Some("<1@example.org>"))
    );
    for field in ["id", "to", "subject", "received_at"] {
        assert!(list[0][field].is_string(), "{list}");
    }
    let http = api.anonymous();
    assert!(http.get("/dev/inbox").await.expect_status(200).text().contains("Your &lt;update&gt;"));
    let one = format!("/dev/inbox/{}", Uuid::from_u128(2));
    let page = http.get(&one).await.expect_status(200);
    assert!(page.text().contains("Plain words") && !page.text().contains("<script>"), "{}", page.text());
    let html = http.get(&format!("{one}/html")).await.expect_status(200);
    let policy = html.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("sandbox allow-popups allow-popups-to-escape-sandbox;"));
    assert!(policy.contains("frame-ancestors 'self'") && !policy.contains("script"));
    assert!(html.text().contains("<base target=\"_blank\">"), "a link of the mail opens: {}", html.text());
    assert_eq!(http.get(&format!("{one}/raw")).await.expect_status(200).text(), raw);
    let _none = http.get(&format!("/dev/inbox/{}", Uuid::from_u128(3))).await.expect_status(404);
}
