//! Talk among staff: in one order, each message once, whichever process one listens at and whatever happens to it or to Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use pulsecal_tests::http::Http;
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

use crate::support::{Clinic, LIMIT, TestApi, add_person, new_id, wrong_fields};

const ROOMS: &str = "/v1/chat-rooms";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects; or the status of the refusal, 0 where nobody answers.
async fn connect(base: &str, token: &str, room: &str, after: i64, origin: Option<&str>) -> Result<Socket, u16> {
    let url = format!("{}{ROOMS}/{room}/live?after={after}", base.replace("http://", "ws://"));
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(_) => Err(0),
    }
}

/// Somebody who listens for good: after each break they come again and say what they have.
#[derive(Clone)]
struct Ear {
    heard: Arc<Mutex<Vec<(i64, String)>>>,
    breaks: Arc<Mutex<usize>>,
    at: Arc<Mutex<String>>,
}

impl Ear {
    fn listen(base: &str, token: &str, room: &str) -> Self {
        let ear = Self { heard: Arc::default(), breaks: Arc::default(), at: Arc::new(Mutex::new(base.to_owned())) };
        let (own, token, room) = (ear.clone(), token.to_owned(), room.to_owned());
        tokio::spawn(async move {
            loop {
                let base = own.at.lock().expect("not poisoned").clone();
                let after = own.heard.lock().expect("not poisoned").last().map_or(0, |(seq, _)| *seq);
                if let Ok(mut socket) = connect(&base, &token, &room, after, None).await {
                    while let Some(Ok(message)) = socket.next().await {
                        let Message::Text(text) = message else { continue };
                        let said: Value = serde_json::from_str(&text).expect("JSON");
                        let text = said["text"].as_str().expect("a text").to_owned();
                        own.heard.lock().expect("not poisoned").push((said["seq"].as_i64().expect("a seq"), text));
                    }
                }
                *own.breaks.lock().expect("not poisoned") += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        ear
    }

    async fn has(&self, count: usize) {
        until(LIMIT, "all is heard", async || (self.heard.lock().expect("not poisoned").len() >= count).then_some(()))
            .await;
    }

    /// Everything up to now, in order and once.
    fn check(&self, texts: &[String]) {
        let heard = self.heard.lock().expect("not poisoned").clone();
        let expected: Vec<(i64, String)> = (1..).zip(texts.iter().cloned()).collect();
        assert_eq!(heard, expected);
    }
}

async fn open(http: &Http, participants: &[Uuid]) -> String {
    let room =
        http.post(ROOMS, &json!({"name": "Ward 2", "participants": participants})).await.expect_status(201).json();
    room["id"].as_str().expect("an id").to_owned()
}

fn another_api(api: &TestApi, redis: &Redis) -> Process {
    let mut env = api.env();
    env.retain(|(name, _)| !["REDIS_URL", "LOG_FORMAT"].contains(name));
    env.extend([
        ("REDIS_URL", redis.url().to_owned()),
        ("BIND", "127.0.0.1:0".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ]);
    Process::spawn("pulsecal-api", env)
}

async fn base_of(process: &Process) -> String {
    let line: Value = serde_json::from_str(&process.wait_line("api: ready", LIMIT).await).expect("JSON");
    format!("http://{}", line["address"].as_str().expect("where it listens"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_comes_twice_while_a_process_is_killed_and_redis_is_emptied_and_stopped() {
    let redis = Redis::private().await;
    let api = TestApi::start_with(Postgres::shared().await, &[("REDIS_URL", redis.url())]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let other = another_api(&api, &redis);
    let other_base = base_of(&other).await;
    let doctor = api.with(&clinic.token);
    let room = open(&doctor, &[clinic.administrator]).await;
    // One at each process.
    let ears = [Ear::listen(&api.base, &clinic.token, &room), Ear::listen(&other_base, &clinic.admin, &room)];
    let path = format!("{ROOMS}/{room}/messages");
    let mut said = Vec::new();
    let say = async |said: &mut Vec<String>, http: &Http, count: usize| {
        for _ in 0..count {
            let text = format!("message {}", said.len() + 1);
            let keyed = http.clone().with_header("idempotency-key", &text.replace(' ', "-"));
            // Sent twice, as by who got no answer: said once.
            for _ in 0..2 {
                let answer = keyed.post(&path, &json!({"text": text})).await.expect_status(201).json();
                assert_eq!(answer["seq"], json!(said.len() + 1));
            }
            said.push(text);
        }
    };
    let at_other = Http::new(&other_base).with_bearer(&clinic.admin);
    say(&mut said, &doctor, 5).await;
    say(&mut said, &at_other, 5).await;
    for ear in &ears {
        ear.has(10).await;
    }
    redis.flushall().await;
    say(&mut said, &doctor, 5).await;
    other.kill9();
    say(&mut said, &doctor, 5).await;
    // Whoever listened there finds another process, and what they missed.
    let third = another_api(&api, &redis);
    *ears[1].at.lock().expect("not poisoned") = base_of(&third).await;
    for ear in &ears {
        ear.has(20).await;
        ear.check(&said);
    }
    redis.kill9().await;
    say(&mut said, &doctor, 5).await;
    for ear in &ears {
        ear.has(25).await;
    }
    redis.start_again().await;
    say(&mut said, &doctor, 5).await;
    for ear in &ears {
        ear.has(30).await;
        ear.check(&said);
    }
    assert!(*ears[1].breaks.lock().expect("not poisoned") > 0, "the killed process broke its connection");
    let page = doctor.get(&format!("{path}?after=20&limit=100")).await.expect_status(200).json();
    let missed: Vec<&str> =
        page["items"].as_array().expect("items").iter().filter_map(|one| one["text"].as_str()).collect();
    assert_eq!(missed, said[20..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(api.count("SELECT count(*) FROM chat_messages").await, 30);
    assert_eq!(api.count("SELECT count(*) FROM audit_entries WHERE action = 'chat.said'").await, 30);
    assert_eq!(api.count("SELECT count(*) FROM audit_entries WHERE detail::text LIKE '%message 1%'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_talk_at_once_have_one_order_without_gaps_and_each_their_own_mark() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (doctor, admin) = (api.with(&clinic.token), api.with(&clinic.admin));
    let room = open(&doctor, &[clinic.administrator]).await;
    let (one, path) = (format!("{ROOMS}/{room}"), format!("{ROOMS}/{room}/messages"));
    let bodies: Vec<Value> = (0..40).map(|i| json!({"text": format!("{i}")})).collect();
    let answers = join_all(bodies.iter().enumerate().map(|(i, body)| {
        let http = if i % 2 == 0 { &doctor } else { &admin };
        http.post(&path, body)
    }))
    .await;
    let mut seqs: Vec<i64> = answers.iter().map(|answer| answer.json()["seq"].as_i64().expect("a seq")).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
    // Pages, in order.
    let mut all = Vec::new();
    let mut query = "?limit=15".to_owned();
    loop {
        let page = doctor.get(&format!("{path}{query}")).await.expect_status(200).json();
        all.extend(page["items"].as_array().expect("items").iter().filter_map(|item| item["seq"].as_i64()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=15&cursor={next}");
    }
    assert_eq!(all, (1..=40).collect::<Vec<_>>());

    // Each has read as far as they have, and never less.
    for (seq, shown) in [(10, 10), (5, 10), (999, 40)] {
        // Whoever says something has read what was before it: start anew.
        if seq == 10 {
            sqlx::query("UPDATE chat_participants SET read_seq = 0").execute(&api.pool).await.expect("nothing read");
        }
        let now = doctor.post(&format!("{one}/read"), &json!({"seq": seq})).await.expect_status(200).json();
        assert_eq!((&now["read_seq"], &now["unread"]), (&json!(shown), &json!(40 - shown)));
    }
    let seen = admin.get(&one).await.expect_status(200).json();
    assert_eq!((&seen["read_seq"], &seen["unread"]), (&json!(0), &json!(40)));
    let list = admin.get(ROOMS).await.expect_status(200).json();
    assert_eq!(list["items"][0]["unread"], 40);

    // Long and empty texts; people that are none.
    for text in ["", "  ", &"x".repeat(4001)] {
        assert_eq!(wrong_fields(&doctor.post(&path, &json!({"text": text})).await.expect_status(422).json()), ["text"]);
    }
    let _fits = doctor.post(&path, &json!({"text": "ß".repeat(4000)})).await.expect_status(201);
    for people in [json!([clinic.patient]), json!([new_id()]), json!([])] {
        let refused = doctor.post(ROOMS, &json!({"name": "x", "participants": people})).await.expect_status(422).json();
        assert_eq!(wrong_fields(&refused), ["participants"]);
    }
    // Closed is closed, and an old version is refused.
    let closed = admin.patch(&one, &json!({"closed": true})).await.expect_status(200);
    assert_eq!(closed.header("etag"), Some("\"2\""));
    let _closed = doctor.post(&path, &json!({"text": "more"})).await.expect_status(409);
    let old = doctor.clone().with_header("if-match", "\"1\"");
    let _old = old.patch(&one, &json!({"name": "Ward 3"})).await.expect_status(412);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_takes_part_listens_and_who_is_out_is_cut_off() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let doctor = api.with(&clinic.token);
    let room = open(&doctor, &[clinic.administrator]).await;
    let path = format!("{ROOMS}/{room}");
    // Neither another organization nor a colleague who does not take part.
    for token in [&other.token, &other.admin] {
        let stranger = api.with(token);
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}/messages")),
            ("POST", format!("{path}/messages")),
            ("POST", format!("{path}/read")),
        ] {
            let request = stranger.request(method.parse().expect("a method"), &path);
            let request = if method == "POST" {
                request.json(&json!({"text": "x", "seq": 1}).as_object().map(|all| {
                    let wanted = if path.ends_with("read") { "seq" } else { "text" };
                    json!({wanted: all[wanted]})
                }))
            } else {
                request
            };
            assert_eq!(stranger.send(request).await.expect("an answer").status, 404, "{method} {path}");
        }
        assert_eq!(connect(&api.base, token, &room, 0, None).await.err(), Some(404));
    }
    assert_eq!(connect(&api.base, "pc_live_nothing", &room, 0, None).await.err(), Some(401));
    assert_eq!(connect(&api.base, &clinic.token, &room, 0, Some("https://evil.example.com")).await.err(), Some(403));
    let _words = doctor.get(&format!("{path}/live")).await.expect_status(400);
    let mut socket = connect(&api.base, &clinic.admin, &room, 0, Some(&api.base)).await.expect("our own page may");
    let _said = doctor.post(&format!("{path}/messages"), &json!({"text": "hello"})).await.expect_status(201);
    let first = socket.next().await.expect("a frame").expect("fine").into_text().expect("text");
    assert!(first.contains("hello"), "{first}");

    let _out = doctor.patch(&path, &json!({"participants": [clinic.doctor]})).await.expect_status(200);
    let end = loop {
        match socket.next().await.expect("a frame").expect("fine") {
            Message::Close(frame) => break frame.expect("why"),
            _ => continue,
        }
    };
    assert_eq!(u16::from(end.code), 1008);
    assert!(end.reason.contains("do not take part"), "{}", end.reason);
    let _gone = api.with(&clinic.admin).get(&path).await.expect_status(404);
    // What is sent to who listens only ends it.
    let mut socket = connect(&api.base, &clinic.token, &room, 0, None).await.expect("listens");
    futures_util::SinkExt::send(&mut socket, Message::Text("hello?".into())).await.expect("sent");
    let closed = loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => continue,
            _ => break None,
        }
    };
    assert_eq!(closed, Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_eight_connections_and_who_does_not_read_is_cut_off() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let nurse = new_id();
    add_person(&api.pool, clinic.org, nurse, "nurse", "Nurse").await;
    let room = open(&api.with(&clinic.token), &[nurse]).await;
    // More than what the network itself holds for somebody who does not read.
    sqlx::query("INSERT INTO chat_messages (room_id, seq, org_id, sender_id, body, sent_at)
        SELECT room_id, n, org_id, created_by, repeat('💬', 4000), now() FROM chat_rooms, generate_series(1, 2000) AS n")
        .execute(&api.pool).await.expect("much was said");
    sqlx::query("UPDATE chat_rooms SET last_seq = 2000").execute(&api.pool).await.expect("counted");
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(connect(&api.base, &clinic.token, &room, 0, None).await.expect("listens"));
    }
    assert_eq!(connect(&api.base, &clinic.token, &room, 0, None).await.err(), Some(429));
    // They read nothing; after a while there is room for another one.
    let another = until(LIMIT, "the slow ones are cut off", async || {
        connect(&api.base, &clinic.token, &room, 1990, None).await.ok()
    })
    .await;
    let mut another = another;
    for seq in 1991..=2000 {
        let text = another.next().await.expect("a frame").expect("fine").into_text().expect("text");
        assert!(text.contains(&format!("\"seq\":{seq}")), "{}", &text[text.len() - 200..]);
    }
    // Whoever was cut off got a part, in order, and then the end.
    let mut count = 0;
    while let Some(Ok(message)) = sockets[0].next().await {
        if let Message::Text(text) = message {
            count += 1;
            assert!(text.contains(&format!("\"seq\":{count},")), "in order");
        }
    }
    assert!(count < 2000, "{count}");
}
