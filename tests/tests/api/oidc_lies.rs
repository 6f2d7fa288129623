//! An issuer that lies, in one way at a time: whatever it says, nobody is let in by it; and when it tells the truth, they are.

use std::process::Command;

use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::oidc_provider::HostileIssuer;
use pulsecal_tests::servers::Postgres;

use crate::accounts::add_account;
use crate::sign_in::cookie_of;
use crate::support::{Clinic, TestApi, new_id};

const PUBLIC: &str = "http://127.0.0.1:8080";

/// Each lie, and what it is refused with: 400 for what is worth nothing, 401 for somebody who is not known by it, 503 for an issuer that is of no use.
const LIES: [(&str, u16); 48] = [
    ("another issuer", 400),
    ("the issuer with a slash", 400),
    ("no issuer", 400),
    ("for another client", 400),
    ("for several without saying which", 400),
    ("for several on behalf of another", 400),
    ("on behalf of another", 400),
    ("for nobody", 400),
    ("expired", 400),
    ("without an end", 400),
    ("with an end in words", 400),
    ("of the future", 400),
    ("without a nonce", 400),
    ("with another nonce", 400),
    ("of nobody", 400),
    ("of an empty name", 400),
    ("of a number", 400),
    ("of an endless name", 400),
    ("of an address that is not proven", 401),
    ("of an address that is said to be one", 401),
    ("of an address without a word on it", 401),
    ("not signed", 400),
    ("not signed, in other letters", 400),
    ("signed with our public key as a secret", 400),
    ("signed with the client's secret", 400),
    ("signed by a stranger", 400),
    ("signed by a key that comes along", 400),
    ("signed by a key that lies elsewhere", 400),
    ("signed by a key of no name here", 400),
    ("of another key's kind", 400),
    ("in a way that is not taken", 400),
    ("with something that must be understood", 400),
    ("changed after it was signed", 400),
    ("cut", 400),
    ("of two parts", 400),
    ("no token", 400),
    ("a number", 400),
    ("none at all", 400),
    ("endless", 400),
    ("by the other key, written otherwise", 400),
    ("without a code", 400),
    ("without a state", 400),
    ("with another state", 400),
    ("an answer that is a page", 503),
    ("an answer that leads elsewhere", 503),
    ("an answer that is broken", 503),
    ("an answer that breaks off", 503),
    ("an answer without an end", 503),
];

async fn sign_in(api: &TestApi, issuer: &HostileIssuer) -> Answer {
    let address = format!("203.0.{}.{}", new_id().as_bytes()[14], new_id().as_bytes()[15]);
    let browser = api.anonymous().with_header("x-forwarded-for", &address);
    let away = browser.get("/sign-in/oidc?next=/staff/agenda").await.expect_status(303);
    let browser = browser.with_header("cookie", &cookie_of(&away));
    let to = away.header("location").expect("where to").to_owned();
    let there = Http::new(issuer.address()).get(&to[issuer.address().len()..]).await.expect_status(303);
    let back = there.header("location").expect("where back").to_owned();
    browser.get(&back[PUBLIC.len()..]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_issuer_lies_about_nobody_is_let_in_and_the_truth_is_believed() {
    if !Command::new("node").arg("--version").output().is_ok_and(|done| done.status.success()) {
        println!("SKIPPED: node cannot be had here");
        return;
    }
    let issuer = HostileIssuer::start().await;
    let more = [
        ("PUBLIC_URL", PUBLIC),
        ("OIDC_ISSUER", issuer.address()),
        ("GOOGLE_CLIENT_ID", "pulsecal"),
        ("GOOGLE_CLIENT_SECRET", "a secret of this test only"),
    ];
    let api = TestApi::start_with(Postgres::shared().await, &more).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    for (lie, status) in LIES {
        issuer.says(lie);
        let refused = sign_in(&api, &issuer).await;
        assert_eq!(refused.status, status, "{lie}: {}", refused.text());
        let text = refused.text();
        assert!(
            text.contains("<h1>") && text.contains("/sign-in"),
            "{lie}: it is said in words, with the way back: {text}"
        );
        let lets_in = refused.headers.get_all("set-cookie").iter().any(|cookie| {
            cookie.to_str().is_ok_and(|cookie| cookie.starts_with("pulsecal=") && !cookie.contains("Max-Age=0"))
        });
        assert!(!lets_in, "{lie}");
    }
    assert_eq!(api.count("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(api.count("SELECT count(*) FROM account_identities").await, 0);
    let on_record = "SELECT count(*) FROM audit_entries WHERE action = 'session.refused'";
    assert!(api.count(on_record).await >= 40);
    for truth in ["the truth", "by the other key"] {
        issuer.says(truth);
        let entered = sign_in(&api, &issuer).await.expect_status(303);
        let signed_in = api.anonymous().with_header("cookie", &cookie_of(&entered));
        let _in = signed_in.get("/staff/agenda").await.expect_status(200);
    }
}
