//! Requests to the issuer: within a time and a size, and never led elsewhere.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};
use serde_json::Value;
use url::{Host, Url};

/// A connection is waited for no longer …
const CONNECT: Duration = Duration::from_secs(3);
/// … and an answer no longer.
const ANSWER: Duration = Duration::from_secs(5);
/// An answer is no longer, in bytes.
const LONGEST: usize = 256 * 1024;

/// A client of the issuer.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    // Whoever was first chose the same.
    let _chosen = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(redirect::Policy::none()).connect_timeout(CONNECT).timeout(ANSWER).build()
}

/// An address that may be asked: https, or on this machine.
pub(super) fn safe(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let near = url.host().is_some_and(|host| match host {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(_) => false,
    });
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    ((url.scheme() == "https" || url.scheme() == "http" && near) && plain).then_some(url)
}

/// The JSON of an answer; within: what stood in the way, without anything of the answer.
pub(super) async fn json(request: RequestBuilder) -> Result<Value, String> {
    let mut response = request.header("accept", "application/json").send().await.map_err(|error| said(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| said(&error))? {
        if body.len() + part.len() > LONGEST {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&part);
    }
    if !status.is_success() {
        return Err(format!("it answers with {}", status.as_u16()));
    }
    serde_json::from_slice(&body).map_err(|_| "its answer is no JSON".to_owned())
}

fn said(error: &reqwest::Error) -> String {
    let why = if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the connection broke off"
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_overheard_is_asked() {
        for good in ["https://accounts.example.com", "https://a.example/x?y", "http://127.0.0.1:7/x", "http://[::1]:7"]
        {
            assert!(safe(good).is_some(), "{good}");
        }
        for bad in
            ["http://accounts.example.com", "http://localhost", "ftp://a.example", "https://u:p@a.example", "", "x"]
        {
            assert!(safe(bad).is_none(), "{bad}");
        }
    }
}
