//! `/staff/exports`, as a browser without scripts uses it.

use pulsecal_tests::http::Http;

use crate::support::{Clinic, records, token_of};

async fn form_token(browser: &Http) -> String {
    let page = browser.get("/staff/exports").await.expect_status(200).text();
    let token = page.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    token.expect("a form").to_owned()
}

#[tokio::test]
async fn staff_ask_fetch_and_cancel_on_the_page() {
    let clinic = Clinic::open().await;
    clinic.add_visits(30).await;
    let (_api, http) = clinic.api().await;
    assert_eq!(http.get("/staff/exports").await.status, 303, "behind the sign-in");
    let entered =
        http.post_form("/sign-in", &[("token", &token_of('n')), ("next", "/staff/exports")]).await.expect_status(303);
    let cookie = entered.header("set-cookie").and_then(|text| text.split(';').next()).expect("a cookie").to_owned();
    let browser = http.clone().with_header("cookie", &cookie);
    let token = form_token(&browser).await;
    assert_eq!(
        browser.post_form("/staff/exports", &[("format", "csv"), ("column", "starts_at")]).await.status,
        403,
        "no token of the form"
    );
    let wrong = [
        ("form_token", token.as_str()),
        ("format", "csv"),
        ("column", "starts_at"),
        ("from", "2026-02-02"),
        ("to", "2026-02-01"),
    ];
    let answer = browser.post_form("/staff/exports", &wrong).await.expect_status(422).text();
    assert!(answer.contains("The last day is before the first."), "{answer}");

    let right = [
        ("form_token", token.as_str()),
        ("format", "csv"),
        ("column", "starts_at"),
        ("column", "patient_name"),
        ("from", "2020-01-01"),
        ("to", "2020-01-01"),
    ];
    for _ in 0..2 {
        let _back = browser.post_form("/staff/exports", &right).await.expect_status(303);
    }
    let page = browser.get("/staff/exports").await.text();
    assert!(page.contains("<progress max=\"100\"") && page.contains("2020-01-01 to 2020-01-01"), "{page}");
    let cancel =
        page.split("action=\"").find(|rest| rest.contains("/cancel\"")).and_then(|rest| rest.split('"').next());
    let _back = browser.post_form(cancel.expect("a way to cancel"), &[("form_token", &token)]).await.expect_status(303);

    let _worker = clinic.start("pulsecal-worker");
    let id: String = sqlx::query_scalar("SELECT export_id::text FROM exports WHERE state <> 'cancelled'")
        .fetch_one(&clinic.pool)
        .await
        .expect("one is left");
    clinic.becomes(&id, "succeeded").await;
    let page = browser.get("/staff/exports").await.text();
    let file = page.split("href=\"").find(|rest| rest.starts_with("/files/e/")).and_then(|rest| rest.split('"').next());
    let file = browser.get(file.expect("a link")).await.expect_status(200);
    let rows = records(&file.body);
    assert_eq!(rows[0], ["starts_at", "patient_name"]);
    // 2020-01-01 of Berlin begins and ends at 23:00 of UTC; the first visit is at 00:10 of UTC.
    assert_eq!(rows.len() - 1, 30);
    assert_eq!(rows[1], ["2020-01-01T01:10:00+01:00", "'=Canary, \"Ann\""]);
    assert!(page.contains(">ready<") && page.contains(">cancelled<"), "{page}");
}
