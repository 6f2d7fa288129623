//! Signing in by way of a real OpenID Connect provider, npm's `oidc-provider`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::oidc_provider::OidcProvider;
use pulsecal_tests::servers::Postgres;
use pulsecal_tests::wait::until;
use reqwest::Url;
use uuid::Uuid;

use crate::accounts::{add_account, enter, noted};
use crate::second_factor::{send_code, switch_on};
use crate::sign_in::cookie_of;
use crate::support::{Clinic, LIMIT, TestApi, new_id};

const PUBLIC: &str = "http://127.0.0.1:8080";
const EMAIL: &str = "doctor@example.org";

struct Bed {
    api: TestApi,
    provider: OidcProvider,
    clinic: Clinic,
    account: Uuid,
}

async fn api_with(issuer: &str) -> TestApi {
    let more = [
        ("PUBLIC_URL", PUBLIC),
        ("OIDC_ISSUER", issuer),
        ("GOOGLE_CLIENT_ID", "pulsecal"),
        ("GOOGLE_CLIENT_SECRET", "a secret of this test only"),
    ];
    TestApi::start_with(Postgres::shared().await, &more).await
}

impl Bed {
    async fn new() -> Option<Self> {
        let Some(provider) = OidcProvider::start(&format!("{PUBLIC}/sign-in/oidc/callback")).await else {
            println!("SKIPPED: oidc-provider cannot be installed here (node with npm, and the npm registry)");
            return None;
        };
        let api = api_with(&provider.issuer()).await;
        let clinic = Clinic::add(&api.pool, 'a').await;
        let account = add_account(&api.pool, EMAIL, &[clinic.doctor]).await;
        Some(Self { api, provider, clinic, account })
    }

    /// A browser at an address of its own, of which only so many tries are taken.
    fn browser(&self) -> Http {
        let address = format!("203.0.113.{}", new_id().as_bytes()[15]);
        self.api.anonymous().with_header("x-forwarded-for", &address)
    }

    /// Goes to the provider, and gives the browser with what it carries, and where the provider sends it back to.
    async fn go(&self) -> (Http, String) {
        let browser = self.browser();
        let away = browser.get("/sign-in/oidc?next=/staff/exports").await.expect_status(303);
        let browser = browser.with_header("cookie", &cookie_of(&away));
        (browser, walk(away.header("location").expect("where to")).await)
    }

    async fn sign_in(&self) -> Answer {
        let (browser, back) = self.go().await;
        browser.get(&back).await
    }

    /// How often somebody was refused for this reason, by the record.
    async fn refused(&self, why: &str) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM audit_entries WHERE action = 'session.refused' AND detail ->> 'why' = $1",
        )
        .bind(why)
        .fetch_one(&self.api.pool)
        .await
        .expect("counted")
    }

    async fn links(&self) -> Vec<(Uuid, String)> {
        sqlx::query_as("SELECT account_id, sub FROM account_identities ORDER BY created_at")
            .fetch_all(&self.api.pool)
            .await
            .expect("links")
    }
}

/// What a browser does at the provider, until it is sent back: path and query of where to.
async fn walk(start: &str) -> String {
    let (mut at, mut cookies) = (Url::parse(start).expect("an address"), BTreeMap::new());
    for _ in 0..10 {
        let carried: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let http = Http::new(at.origin().ascii_serialization()).with_header("cookie", &carried.join("; "));
        let path = path_of(&at);
        let answer = http.get(&path).await;
        assert!([302, 303].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        at = at.join(answer.header("location").expect("where to")).expect("an address");
        if at.as_str().starts_with(PUBLIC) {
            return path_of(&at);
        }
    }
    panic!("the provider leads round in circles, to {at}");
}

/// Path and query of an address.
fn path_of(at: &Url) -> String {
    at.as_str()[at.origin().ascii_serialization().len()..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_proven_there_is_let_in_here_and_stays_who_they_are() {
    let Some(bed) = Bed::new().await else { return };
    let page = bed.api.anonymous().get("/sign-in?next=/staff/exports").await.expect_status(200).text();
    assert!(page.contains("Sign in by way of 127.0.0.1") && page.contains("/sign-in/oidc?next=%2Fstaff%2Fexports"));

    // An address that is not proven opens nothing, nor does one that nobody has here.
    for (sub, email, verified) in [("ann", EMAIL, false), ("eve", "eve@elsewhere.example", true)] {
        bed.provider.somebody(sub, email, verified);
        let refused = bed.sign_in().await.expect_status(401);
        assert!(refused.text().contains("ask your clinic for an invitation"), "{sub}");
        assert!(
            !refused
                .headers
                .get_all("set-cookie")
                .iter()
                .any(|cookie| cookie.to_str().is_ok_and(|cookie| cookie.starts_with("pulsecal=")))
        );
    }
    assert_eq!(bed.links().await, []);
    assert_eq!(noted(&bed.api, "session.refused", "refused").await, 2);

    bed.provider.somebody("ann", "Doctor@Example.org", true);
    let entered = bed.sign_in().await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/staff/exports"));
    let signed_in = bed.api.anonymous().with_header("cookie", &cookie_of(&entered));
    assert!(signed_in.get("/staff/exports").await.expect_status(200).text().contains("Doctor-a"));
    let _its_owner = signed_in.get("/account").await.expect_status(200);
    assert_eq!(bed.links().await, [(bed.account, "ann".to_owned())]);
    assert_eq!(noted(&bed.api, "account.linked", "success").await, 1);
    assert_eq!(bed.api.count("SELECT count(*) FROM account_mails WHERE kind = 'linked'").await, 1);

    // It ends as every session does, whatever becomes of the one there.
    let ends: (bool, i32) = sqlx::query_as(
        "SELECT expires_at <= now() + interval '12 hours', idle_seconds FROM sessions ORDER BY created_at DESC LIMIT 1",
    )
    .fetch_one(&bed.api.pool)
    .await
    .expect("a session");
    assert_eq!(ends, (true, 1800));

    // From now on the address does not matter: not hers, and not that of who gets it after her.
    let nurse = new_id();
    crate::support::add_person(&bed.api.pool, bed.clinic.org, nurse, "nurse", "Other").await;
    add_account(&bed.api.pool, "other@example.org", &[nurse]).await;
    bed.provider.somebody("ann", "other@example.org", true);
    let again = bed.sign_in().await.expect_status(303);
    let again = bed.api.anonymous().with_header("cookie", &cookie_of(&again));
    assert!(again.get("/staff/exports").await.expect_status(200).text().contains("Doctor-a"));
    bed.provider.somebody("heir", EMAIL, true);
    let _not_hers = bed.sign_in().await.expect_status(401);
    assert_eq!(bed.links().await.len(), 1);

    let done = bed.api.operator(&["user", "unlink", "--email", EMAIL]).await;
    assert!(done.status.success(), "{done:?}");
    let _now = bed.sign_in().await.expect_status(303);
    assert_eq!(bed.links().await, [(bed.account, "heir".to_owned())]);
    assert_eq!(noted(&bed.api, "account.unlinked", "success").await, 1);
    // Who no longer takes part here is let in nowhere, whatever is proven there.
    sqlx::query("UPDATE people SET active = false").execute(&bed.api.pool).await.expect("left");
    let left = bed.sign_in().await.expect_status(303);
    assert_eq!(left.header("location"), Some("/lobby"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_counts_once_and_for_the_browser_that_left() {
    let Some(bed) = Bed::new().await else { return };
    bed.provider.somebody("ann", EMAIL, true);
    let (mine, back) = bed.go().await;
    let (other, _) = bed.go().await;
    // Somebody else's answer, in a browser that left for one of its own, or that never left.
    for browser in [&other, &bed.browser()] {
        let refused = browser.get(&back).await.expect_status(400);
        assert!(refused.text().contains("begin again"));
    }
    for wrong in ["/sign-in/oidc/callback", "/sign-in/oidc/callback?state=x&code=y"] {
        let _refused = mine.get(wrong).await.expect_status(400);
    }
    let state = back.split(['?', '&']).find(|part| part.starts_with("state=")).expect("a state");
    let _forged = mine.get(&format!("/sign-in/oidc/callback?{state}&code=made-up")).await.expect_status(400);
    assert_eq!(bed.refused("it belongs to another sign-in").await, 3);
    assert_eq!(bed.refused("its code is not good").await, 1);
    let _in = mine.get(&back).await.expect_status(303);
    let again = mine.get(&back).await.expect_status(400);
    assert!(again.header("set-cookie").is_none_or(|cookie| !cookie.starts_with("pulsecal=")));
    assert_eq!(bed.api.count("SELECT count(*) FROM sessions").await, 1);

    bed.provider.nobody();
    let denied = bed.sign_in().await.expect_status(401);
    assert!(denied.text().contains("not signed in there"));
    assert_eq!(bed.refused("they were not signed in there").await, 1);

    // A second factor is asked for all the same.
    let _on = switch_on(&enter(&bed.api, EMAIL).await).await;
    bed.provider.somebody("ann", EMAIL, true);
    let half = bed.sign_in().await.expect_status(303);
    assert_eq!(half.header("location"), Some("/sign-in/code?next=%2Fstaff%2Fexports"));
    let waiting = bed.browser().with_header("cookie", &cookie_of(&half));
    let _wrong = send_code(&waiting, "000000").await.expect_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_change_its_keys_and_be_away() {
    let Some(mut bed) = Bed::new().await else { return };
    bed.provider.somebody("ann", EMAIL, true);
    let _in = bed.sign_in().await.expect_status(303);
    bed.provider.start_anew().await;
    until(Duration::from_secs(20), "the new key counts", async || (bed.sign_in().await.status == 303).then_some(()))
        .await;
    let (mine, back) = bed.go().await;
    bed.provider.stop();
    let away = mine.get(&back).await.expect_status(503);
    assert!(away.text().contains("cannot be reached") && away.header("retry-after").is_some());
    let _password = enter(&bed.api, EMAIL).await.get("/staff/exports").await.expect_status(200);
}

/// Answers one request after the other, each in its own way, and the last ones not at all.
fn odd_issuer(answers: Vec<String>) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}", socket.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (turn, stream) in socket.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _read = stream.read(&mut request);
            match answers.get(turn) {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => held.push(stream),
            }
        }
    });
    issuer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_leads_elsewhere_talks_too_much_or_not_at_all_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("does not wait");
    let to = elsewhere.local_addr().expect("an address");
    let with =
        |body: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let other = r#"{"issuer": "http://127.0.0.1:1", "authorization_endpoint": "http://127.0.0.1:1/a", "token_endpoint": "http://127.0.0.1:1/t", "jwks_uri": "http://127.0.0.1:1/k"}"#;
    let issuer = odd_issuer(vec![
        format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        with(&format!("{{\"issuer\": \"{}\"}}", "x".repeat(300_000))),
        with("<html>"),
        with(other),
    ]);
    let api = api_with(&issuer).await;
    for why in ["it answers with 302", "its answer is too long", "its answer is no JSON", "another name", "in time"] {
        let _refused = api.anonymous().get("/sign-in/oidc").await.expect_status(503);
        until(LIMIT, why, async || {
            let lines = api.process.lines();
            lines.iter().any(|line| line.contains("oidc: the issuer") && line.contains(why)).then_some(())
        })
        .await;
    }
    assert!(elsewhere.accept().is_err(), "nobody came");
}
