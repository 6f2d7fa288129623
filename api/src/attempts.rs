//! How often an address may try to sign in: ten times at once, then once each half minute. Kept in this process only, bounded.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use tokio::time::Instant;

/// So many tries at once.
const BURST: u32 = 10;
/// Then one more comes so often.
const EVERY: Duration = Duration::from_secs(30);
/// No more addresses are remembered.
const MOST: usize = 10_000;

/// The tries of each address.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, Instant>>);

impl Attempts {
    /// Counts a try of this address. How long to wait before the next, if it had too many.
    pub(crate) fn count(&self, from: IpAddr) -> Result<(), Duration> {
        self.count_at(from, Instant::now())
    }

    fn count_at(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if known.len() >= MOST && !known.contains_key(&from) {
            known.retain(|_, full_at| *full_at > now);
            if known.len() >= MOST {
                // All of them try at this moment: who has waited longest is forgotten.
                let oldest = known.iter().min_by_key(|(_, full_at)| **full_at).map(|(address, _)| *address);
                oldest.map(|address| known.remove(&address));
            }
        }
        // When all tries are there again; each one moves it on.
        let full_at = known.entry(from).or_insert(now);
        let next = (*full_at).max(now) + EVERY;
        let over = (next - now).saturating_sub(EVERY * BURST);
        if over.is_zero() {
            *full_at = next;
            Ok(())
        } else {
            Err(over)
        }
    }

    /// The try was good, and does not count.
    pub(crate) fn forgive(&self, from: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(full_at) = known.get_mut(&from) {
            *full_at = full_at.checked_sub(EVERY).unwrap_or(*full_at);
        }
    }
}

/// Whose try it is: the address of the connection, or, where a proxy on this machine passes requests on, the last one that it
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

    #[tokio::test]
    async fn tries_run_out_come_back_and_are_counted_for_each_address() {
        let attempts = Attempts::default();
        let [one, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let now = Instant::now();
        assert!((0..BURST).all(|_| attempts.count_at(one, now).is_ok()));
        let wait = attempts.count_at(one, now).expect_err("too many");
        assert!(wait <= EVERY && attempts.count_at(other, now).is_ok());
        let later = now + EVERY;
        assert!(attempts.count_at(one, later).is_ok() && attempts.count_at(one, later).is_err());
        attempts.forgive(one);
        assert!(attempts.count_at(one, later).is_ok());
    }

    #[tokio::test]
    async fn the_addresses_are_bounded() {
        let attempts = Attempts::default();
        for i in 0..u32::try_from(2 * MOST).expect("small") {
            assert!(attempts.count(IpAddr::V4(i.into())).is_ok());
        }
        assert!(attempts.0.lock().expect("sound").len() <= MOST);
    }

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
}
