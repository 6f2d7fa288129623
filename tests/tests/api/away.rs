//! Postgres away, and an orderly end.

use std::time::Duration;

use chrono::TimeDelta;
use pulsecal_tests::servers::Postgres;
use pulsecal_tests::wait::until;
use reqwest::Client;

use crate::support::{Clinic, LIMIT, TestApi, new_id, now};

/// The API tries this long to reach Postgres before it says that it cannot.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn without_postgres_requests_are_told_to_come_back_and_afterwards_all_goes_on() {
    let postgres = Postgres::private().await;
    let api = TestApi::start_on(&postgres).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let _fine = api.anonymous().get("/health/ready").await.expect_status(200);
    postgres.stop_immediate().await;

    let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let link = api.link(clinic.org, new_id(), now() + TimeDelta::days(1));
    let v1 = client.get(format!("{}/v1/patients", api.base)).bearer_auth(&clinic.token).send();
    let page = client.get(format!("{}{link}", api.base)).send();
    let ready = client.get(format!("{}/health/ready", api.base)).send();
    let (v1, page, ready) = tokio::join!(v1, page, ready);
    for (answer, kind) in [(v1, "application/problem+json"), (page, "text/html")] {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(answer.headers()["content-type"].to_str().is_ok_and(|given| given.starts_with(kind)));
        let text = answer.text().await.expect("a body").to_lowercase();
        assert!(!text.contains("postgres") && !text.contains("sqlx") && !text.contains("connection"), "{text}");
    }
    assert_eq!(ready.expect("an answer").status(), 503);
    let _alive = api.anonymous().get("/health/live").await.expect_status(200);

    postgres.start_again().await;
    let http = api.with(&clinic.token);
    until(LIMIT, "the API goes on", async || (http.get("/v1/patients").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_stop_ends_the_process_in_order() {
    let api = TestApi::start().await;
    let _fine = api.anonymous().get("/health/live").await.expect_status(200);
    let status = api.process.stop_gracefully(LIMIT).await;
    assert!(status.success(), "{status}: {:?}", api.process.lines());
    assert_eq!(api.count("SELECT count(*) FROM processes").await, 0, "it signed off");
}
