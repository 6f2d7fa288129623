//! How often an address and a caller may ask, over all processes; answers say how much is left (draft-ietf-httpapi-ratelimit-headers).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pulsecal_core::limits::{Limit, Turn};

use crate::app::App;
use crate::problem::Problem;

/// Tries to sign in of an address, until one is good.
pub(crate) const SIGN_IN: Limit = Limit { name: "sign-in", burst: 10, every: Duration::from_secs(30) };
/// Tries to sign in with an e-mail address, whether it has an account or not, until one is good; and tries of who is signed in to
/// change a password.
pub(crate) const ACCOUNT: Limit = Limit { name: "account", burst: 10, every: Duration::from_secs(60) };
/// Accounts that may be asked for from an address.
pub(crate) const SIGN_UP: Limit = Limit { name: "sign-up", burst: 20, every: Duration::from_secs(60) };
/// Links to set another password that may be asked for from an address …
pub(crate) const FORGOT: Limit = Limit { name: "forgot", burst: 20, every: Duration::from_secs(60) };
/// … and that are mailed to one.
pub(crate) const RESETS: Limit = Limit { name: "resets", burst: 3, every: Duration::from_secs(600) };
/// Tries of an address to get a token by a key, until one is good.
pub(crate) const CLIENTS: Limit = Limit { name: "clients", burst: 10, every: Duration::from_secs(30) };
/// Audit entries about an address from which nobody is known.
pub(crate) const STRANGERS: Limit = Limit { name: "strangers", burst: 10, every: Duration::from_secs(30) };

/// Glasses that one person may break. In an emergency many are hurt; who reads through the house is stopped.
pub(crate) const GLASS: Limit = Limit { name: "glass", burst: 20, every: Duration::from_secs(180) };

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// The caller's turn, once it is known who calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallersTurn(Arc<OnceLock<Turn>>);

/// Whether requests to a path are not counted: probes come from machines that nobody wants to lock out, files cost nothing, and
/// the inbox is only there in development.
pub(crate) fn is_free(path: &str) -> bool {
    ["/health/", "/metrics", "/assets/", "/dev/"].iter().any(|free| path.starts_with(free))
}

/// Takes a turn of the request's address, and tells in the answer what is left.
pub(crate) async fn by_address(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if is_free(path) {
        return next.run(request).await;
    }
    let from = address_of(request.extensions(), request.headers());
    let turn = app.limits.take_of_many(app.rates.address, &from.to_string()).await;
    let callers = CallersTurn::default();
    request.extensions_mut().insert(callers.clone());
    let mut response = if turn.allowed { next.run(request).await } else { refused(&turn).into_response() };
    let turn = callers.0.get().unwrap_or(&turn);
    let policy = format!("\"{}\";q={};w={}", turn.limit.name, turn.limit.burst, seconds(turn.limit.window()));
    let left = format!("\"{}\";r={};t={}", turn.limit.name, turn.left, seconds(turn.reset));
    for (name, value) in [(POLICY, policy), (LEFT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Takes a turn of a caller: a token or a session, by its id.
pub(crate) async fn by_caller(app: &App, extensions: &Extensions, id: &str) -> Result<(), Problem> {
    let turn = app.limits.take_of_many(app.rates.caller, id).await;
    if let Some(shown) = extensions.get::<CallersTurn>() {
        // Set once: a request has one caller.
        let _first = shown.0.set(turn);
    }
    if turn.allowed { Ok(()) } else { Err(refused(&turn)) }
}

/// The answer to who has no turn left.
pub(crate) fn refused(turn: &Turn) -> Problem {
    metrics::counter!("api_limited_total", "limit" => turn.limit.name).increment(1);
    Problem::too_often(seconds(turn.wait))
}

/// Whole seconds, rounded up, one at least.
fn seconds(length: Duration) -> u64 {
    length.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// Whose request it is: the address of the connection, or, where a proxy on this machine passes requests on, the last one that it
/// names. Of IPv6 the network of 64 bits, since a single household has that many.
pub(crate) fn address_of(extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.ip().to_canonical());
    let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let told = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let told = told.and_then(|list| list.rsplit(',').next()).and_then(|last| last.trim().parse::<IpAddr>().ok());
    match told.filter(|_| peer.is_loopback()).unwrap_or(peer).to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.2.3.4, 5.6.7.8".parse().expect("a value"));
        let from = |peer: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().expect("an address"), 1)));
            address_of(&extensions, &headers).to_string()
        };
        assert_eq!(from("127.0.0.1"), "5.6.7.8");
        assert_eq!(from("9.9.9.9"), "9.9.9.9");
        assert_eq!(from("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (29_999, 30)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}
