//! How often one may ask: counted over all processes, and by each for itself while Redis is away.

use std::time::Duration;

use pulsecal_core::belt::Belt;
use pulsecal_core::config::Secret;
use pulsecal_core::limits::{Limit, Limits};
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Clinic, LIMIT, SECRET_KEY, TestApi, token_of};

/// What a `RateLimit` header says is left.
fn left(answer: &Answer) -> u32 {
    let text = answer.header("ratelimit").expect("a header");
    let left = text.split(';').find_map(|part| part.strip_prefix("r="));
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Another API of the same installation.
async fn beside(api: &TestApi) -> (Process, Http) {
    let mut env = api.env();
    env.retain(|(name, _)| *name != "LOG_FORMAT");
    env.extend([("BIND", "127.0.0.1:0".to_owned()), ("LOG_FORMAT", "json".to_owned())]);
    let other = Process::spawn("pulsecal-api", env);
    let line: Value = serde_json::from_str(&other.wait_line("api: ready", LIMIT).await).expect("a log line is JSON");
    let http = Http::new(format!("http://{}", line["address"].as_str().expect("where it listens")));
    (other, http)
}

#[tokio::test]
async fn a_token_has_so_many_requests_over_all_processes_and_answers_say_what_is_left() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let (_process, other) = beside(&api).await;
    let other = other.with_bearer(&clinic.token);
    let first = http.get("/v1/jobs").await.expect_status(200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"caller\";q=1000;w=10"));
    assert!(left(&other.get("/v1/jobs").await.expect_status(200)) >= 990);

    // A third process, as it were, that uses up what there is, and goes on.
    let token: Uuid =
        sqlx::query_scalar("SELECT token_id FROM api_tokens").fetch_one(&api.pool).await.expect("a token");
    let belt = Belt::new(Redis::shared().await.url(), api.prefix()).expect("a belt");
    let limits = Limits::new(belt, Secret::new(SECRET_KEY.as_bytes().to_vec()));
    let caller = Limit { name: "caller", burst: 1000, every: Duration::from_millis(10) };
    let greedy = tokio::spawn(async move {
        loop {
            let _turn = limits.take(caller, &token.to_string()).await;
        }
    });
    for http in [&http, &other] {
        let refused = until(LIMIT, "it is refused", async || {
            let answer = http.get("/v1/jobs").await;
            (answer.status == 429).then_some(answer)
        })
        .await;
        assert_eq!(refused.json()["type"], "urn:pulsecal:problem:too_often");
        assert_eq!((refused.header("retry-after"), left(&refused)), (Some("1"), 0));
    }
    greedy.abort();
    // An address has more, since many may share it.
    let stranger = api.anonymous().get("/v1/jobs").await.expect_status(401);
    assert_eq!(stranger.header("ratelimit-policy"), Some("\"address\";q=2000;w=10"));
    until(LIMIT, "turns come back", async || (http.get("/v1/jobs").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn turns_that_are_taken_ahead_are_never_more_than_there_are() {
    const BURST: u32 = 400;
    let redis = Redis::shared().await;
    let prefix = format!("ahead-{}", crate::support::new_id());
    let limit = Limit { name: "caller", burst: BURST, every: Duration::from_secs(60) };
    let process = || {
        let belt = Belt::new(redis.url(), &prefix).expect("a belt");
        Limits::new(belt, Secret::new(SECRET_KEY.as_bytes().to_vec()))
    };
    let (one, other) = (process(), process());
    let mut allowed = 0;
    for _ in 0..BURST {
        for limits in [&one, &other] {
            let turns = futures_util::future::join_all((0..4).map(|_| limits.take_of_many(limit, "somebody"))).await;
            allowed += turns.iter().filter(|turn| turn.allowed).count();
        }
    }
    let burst = usize::try_from(BURST).expect("a count");
    // A pause of this test may lose some of those that were held.
    assert!((burst - 64..=burst).contains(&allowed), "{allowed}");
    assert!(!one.alone() && !other.alone());
}

#[tokio::test]
async fn tries_to_sign_in_are_counted_over_all_processes() {
    let api = TestApi::start().await;
    let (_process, other) = beside(&api).await;
    let wrong = token_of('x');
    let fields = [("token", wrong.as_str()), ("next", "")];
    for turn in 0..10 {
        let at = if turn % 2 == 0 { &api.anonymous() } else { &other };
        let _wrong = at.post_form("/sign-in", &fields).await.expect_status(401);
    }
    for at in [&api.anonymous(), &other] {
        let refused = at.post_form("/sign-in", &fields).await.expect_status(429);
        let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
        assert!((1..=31).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn without_redis_each_process_counts_for_itself_says_so_and_answers_go_on() {
    let redis = Redis::private().await;
    let api = TestApi::start_with(Postgres::shared().await, &[("REDIS_URL", redis.url())]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let _fine = http.get("/v1/jobs").await.expect_status(200);
    redis.kill9().await;
    let answer = http.get("/v1/jobs").await.expect_status(200);
    assert_eq!(answer.header("ratelimit-policy"), Some("\"caller\";q=1000;w=10"));
    api.process.wait_line("limits: Redis is away; each process counts for itself", LIMIT).await;
    let wrong = token_of('x');
    let fields = [("token", wrong.as_str()), ("next", "")];
    for _ in 0..10 {
        let _wrong = api.anonymous().post_form("/sign-in", &fields).await.expect_status(401);
    }
    let _full = api.anonymous().post_form("/sign-in", &fields).await.expect_status(429);

    redis.start_again().await;
    until(LIMIT, "they count together again", async || {
        let _fine = http.get("/v1/jobs").await.expect_status(200);
        api.process.lines().iter().any(|line| line.contains("limits: Redis is back")).then_some(())
    })
    .await;
}
