//! The proxy: each mode as both sides see it.

use std::time::{Duration, Instant};

use pulsecal_tests::fault_proxy::{FaultProxy, Mode, url_through};
use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{LIMIT, SILENCE};

/// A proxy to a listener, one connection through it, and its end at the target.
struct Line {
    proxy: FaultProxy,
    listener: TcpListener,
    client: TcpStream,
    target: TcpStream,
}

async fn line() -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let proxy = FaultProxy::start(listener.local_addr().expect("an address"));
    let client = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    let (target, _) = listener.accept().await.expect("accepted");
    Line { proxy, listener, client, target }
}

/// What arrives: bytes, nothing for a while, or the end (orderly or not).
async fn hear(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    match timeout(SILENCE, stream.read(&mut buffer)).await {
        Err(_) => Some(Vec::new()),
        Ok(Err(_) | Ok(0)) => None,
        Ok(Ok(length)) => Some(buffer[..length].to_vec()),
    }
}

fn heard(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
}

#[tokio::test]
async fn passing_hands_on_bytes_and_orderly_ends() {
    let Line { proxy, mut client, mut target, .. } = line().await;
    say(&mut client, "question").await;
    assert_eq!(hear(&mut target).await, heard("question"));
    client.shutdown().await.expect("shut down");
    assert_eq!(hear(&mut target).await, None);
    say(&mut target, "answer").await;
    assert_eq!(hear(&mut client).await, heard("answer"), "a half-closed connection still answers");
    assert_eq!(proxy.open_connections(), 1);
    drop(target);
    assert_eq!(hear(&mut client).await, None);
    until(LIMIT, "the connection is counted as closed", async || (proxy.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_partition_holds_everything_back_and_delivers_it_when_it_heals() {
    let Line { proxy, listener, mut client, mut target } = line().await;
    proxy.set(Mode::BlackHole).await;
    say(&mut client, "question").await;
    say(&mut target, "news").await;
    assert_eq!(hear(&mut target).await, heard(""));
    assert_eq!(hear(&mut client).await, heard(""));
    let mut second = TcpStream::connect(proxy.address()).await.expect("accepted, but by nobody");
    say(&mut second, "hello").await;
    assert!(timeout(SILENCE, listener.accept()).await.is_err(), "the target hears of no new connection");
    drop(client);
    assert_eq!(hear(&mut target).await, heard(""), "not even a close arrives");

    proxy.set(Mode::Pass).await;
    assert_eq!(hear(&mut target).await, heard("question"));
    assert_eq!(hear(&mut target).await, None);
    let (mut second_target, _) = listener.accept().await.expect("accepted");
    assert_eq!(hear(&mut second_target).await, heard("hello"));
}

#[tokio::test]
async fn stalled_replies_let_the_request_through() {
    let Line { proxy, mut client, mut target, .. } = line().await;
    proxy.set(Mode::StallReplies).await;
    say(&mut client, "commit").await;
    assert_eq!(hear(&mut target).await, heard("commit"));
    say(&mut target, "done").await;
    assert_eq!(hear(&mut client).await, heard(""));
    proxy.set(Mode::Pass).await;
    assert_eq!(hear(&mut client).await, heard("done"));
}

#[tokio::test]
async fn a_reply_stalled_and_then_cut_off_never_arrives() {
    let Line { proxy, mut client, mut target, .. } = line().await;
    proxy.set(Mode::StallReplies).await;
    say(&mut target, "done").await;
    assert_eq!(hear(&mut client).await, heard(""));
    proxy.close_existing().await;
    assert_eq!(hear(&mut client).await, None);
    assert_eq!(hear(&mut target).await, None);
}

#[tokio::test]
async fn refusing_closes_and_listens_no_more_until_it_does_again() {
    let Line { proxy, listener, mut client, mut target } = line().await;
    for _ in 0..3 {
        proxy.set(Mode::Refuse).await;
        assert_eq!(hear(&mut client).await, None);
        assert_eq!(hear(&mut target).await, None);
        let error = TcpStream::connect(proxy.address()).await.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        proxy.set(Mode::Pass).await;
        client = TcpStream::connect(proxy.address()).await.expect("the same port");
        (target, _) = listener.accept().await.expect("accepted");
        say(&mut client, "again").await;
        assert_eq!(hear(&mut target).await, heard("again"));
    }
}

#[tokio::test]
async fn existing_connections_are_closed_and_new_ones_pass() {
    let Line { proxy, listener, mut client, mut target } = line().await;
    proxy.close_existing().await;
    assert_eq!(hear(&mut client).await, None);
    assert_eq!(hear(&mut target).await, None);
    let mut client = TcpStream::connect(proxy.address()).await.expect("it still listens");
    let (mut target, _) = listener.accept().await.expect("accepted");
    say(&mut client, "again").await;
    assert_eq!(hear(&mut target).await, heard("again"));
}

#[tokio::test]
async fn a_delay_is_of_its_direction_and_adds_up_for_nobody() {
    let Line { proxy, mut client, mut target, .. } = line().await;
    let delay = Duration::from_millis(100);
    proxy.set(Mode::Delay { to_target: delay, to_client: Duration::ZERO }).await;
    let started = Instant::now();
    let mut received = Vec::new();
    for _ in 0..20 {
        say(&mut client, "x").await;
        tokio::task::yield_now().await;
    }
    while received.len() < 20 {
        received.extend(hear(&mut target).await.expect("open"));
    }
    let took = started.elapsed();
    assert!(took >= delay && took < delay * 10, "{took:?} for twenty bytes of one delay");
    let started = Instant::now();
    say(&mut target, "y").await;
    assert_eq!(hear(&mut client).await, heard("y"));
    assert!(started.elapsed() < delay, "the other direction is not delayed");
}

#[tokio::test]
async fn a_connection_is_dropped_after_so_many_bytes_of_both_directions() {
    let Line { proxy, listener, mut client, mut target } = line().await;
    say(&mut client, "before").await;
    assert_eq!(hear(&mut target).await, heard("before"));
    proxy.set(Mode::DropAfter { bytes: 10 }).await;
    say(&mut client, "1234").await;
    assert_eq!(hear(&mut target).await, heard("1234"), "only bytes since the mode began count");
    say(&mut target, "567").await;
    assert_eq!(hear(&mut client).await, heard("567"));
    say(&mut client, "890abc").await;
    assert_eq!(hear(&mut target).await, heard("890"));
    assert_eq!(hear(&mut target).await, None);
    assert_eq!(hear(&mut client).await, None);

    let mut client = TcpStream::connect(proxy.address()).await.expect("new ones are accepted");
    let (mut target, _) = listener.accept().await.expect("accepted");
    say(&mut client, "12345678901").await;
    assert_eq!(hear(&mut target).await, heard("1234567890"), "each has its own count");
    assert_eq!(hear(&mut target).await, None);
}

#[tokio::test]
async fn a_throttled_connection_is_slow_and_loses_nothing() {
    let Line { proxy, mut client, mut target, .. } = line().await;
    proxy.set(Mode::Throttle { bytes_per_second: 10_000 }).await;
    let sent: Vec<u8> = (0..3_000_u32).map(|number| (number % 251) as u8).collect();
    let started = Instant::now();
    client.write_all(&sent).await.expect("written");
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(hear(&mut target).await.expect("open"));
    }
    let took = started.elapsed();
    assert_eq!(received, sent);
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn redis_can_be_reached_through_it_by_url() {
    let redis = Redis::shared().await;
    let proxy = FaultProxy::to_url(redis.url());
    let url = url_through(redis.url(), proxy.address());
    let ping = async || {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = redis::Client::open(url)?.get_connection_with_timeout(SILENCE)?;
            connection.set_read_timeout(Some(SILENCE))?;
            redis::cmd("PING").query::<String>(&mut connection)
        })
        .await
        .expect("no panic")
    };
    assert_eq!(ping().await.expect("answered"), "PONG");
    proxy.set(Mode::BlackHole).await;
    ping().await.expect_err("no answer");
    proxy.set(Mode::Pass).await;
    assert_eq!(ping().await.expect("answered"), "PONG");
}

#[test]
fn only_host_and_port_of_a_url_change() {
    let address = "127.0.0.1:7000".parse().expect("an address");
    assert_eq!(
        url_through("postgres://me:secret@localhost:5432/one?sslmode=disable", address),
        "postgres://me:secret@127.0.0.1:7000/one?sslmode=disable"
    );
    assert_eq!(url_through("redis://127.0.0.1/3", address), "redis://127.0.0.1:7000/3");
}
