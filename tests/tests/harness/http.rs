//! The HTTP client, against a server of a few lines.

use pulsecal_tests::http::Http;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one request with the given text and gives the request.
async fn answer_once(listener: TcpListener, answer: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.expect("accepted");
    let mut request = vec![0; 64 * 1024];
    let length = stream.read(&mut request).await.expect("read");
    stream.write_all(answer.as_bytes()).await.expect("written");
    String::from_utf8_lossy(&request[..length]).into_owned()
}

#[tokio::test]
async fn headers_are_sent_and_a_redirect_is_shown_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let http = Http::new(format!("http://{}/", listener.local_addr().expect("an address"))).with_bearer("token-1");
    let answer = "HTTP/1.1 303 See Other\r\nlocation: /elsewhere\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
    let server = tokio::spawn(answer_once(listener, answer));
    let answer = http.get("/v1/things").await.expect_status(303);
    assert_eq!(answer.header("location"), Some("/elsewhere"));
    assert_eq!(answer.json(), json!({"ok": true}));
    let request = server.await.expect("served").to_lowercase();
    assert!(
        request.starts_with("get /v1/things http/1.1\r\n") && request.contains("authorization: bearer token-1\r\n")
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_to_look_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let http = Http::new(format!("http://{}", listener.local_addr().expect("an address")));
    drop(listener);
    let error = http.send(http.request(reqwest::Method::GET, "/")).await.expect_err("nobody listens");
    assert!(error.is_connect());
}
