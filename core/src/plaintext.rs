//! Servers on other machines are spoken to in TLS, and their certificates are checked; or they are named as ones to which the
//! network is nobody else's.

use std::net::IpAddr;
use std::str::FromStr;

use url::Url;

use crate::store::reach;

/// Whether a host of a URL is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `PLAINTEXT_HOSTS`: hosts of Postgres and Redis that may be spoken to without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaintextHosts(Vec<String>);

impl FromStr for PlaintextHosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hosts: Vec<_> = text.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect();
        let fine =
            |host: &String| host.len() <= 253 && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        if hosts.len() <= 20 && hosts.iter().all(fine) {
            Ok(Self(hosts))
        } else {
            Err("must be names of hosts as DATABASE_URL and REDIS_URL have them, with commas between them, 20 at most"
                .into())
        }
    }
}

impl PlaintextHosts {
    fn may_be_plain(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        is_here(host) || self.0.iter().any(|named| named.eq_ignore_ascii_case(bare))
    }

    /// Whether Postgres may be reached by this URL.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check_postgres(&self, url: &Url) -> Result<(), String> {
        // The driver knows them, pg_dump does not: it would go elsewhere, or in the clear.
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| ["hostaddr", "ssl-mode"].contains(&&**name)) {
            return Err(format!("must not say {name}; write host and sslmode"));
        }
        // What the driver cannot read is refused by who connects.
        let Some(reach) = reach(url) else { return Ok(()) };
        if reach.proven || reach.host.is_none_or(|host| self.may_be_plain(&host)) {
            return Ok(());
        }
        Err("must say sslmode=verify-full (and sslrootcert=FILE for an authority of your own), since the server is on another machine; \
             where the network to it is nobody else's, name its host in PLAINTEXT_HOSTS instead"
            .into())
    }

    /// Whether Redis may be reached by this URL.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check_redis(&self, url: &Url) -> Result<(), String> {
        let proven = url.scheme() == "rediss" && url.fragment().is_none();
        if proven || self.may_be_plain(url.host_str().unwrap_or_default()) {
            return Ok(());
        }
        Err("must start with rediss:// (and not end with #insecure), since the server is on another machine; \
             where the network to it is nobody else's, name its host in PLAINTEXT_HOSTS instead"
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[test]
    fn servers_elsewhere_are_proven_or_named() {
        let none = PlaintextHosts::default();
        let named: PlaintextHosts = "db, Cache.internal,10.0.0.7,fd00::7".parse().expect("hosts");
        for here in [
            "postgres://a@localhost/x",
            "postgres://a@127.0.0.1/x",
            "postgres://a@[::1]/x",
            "postgres:///x?host=/run/postgresql",
            "postgres://a@%2Frun%2Fpostgresql/x",
            "postgres://a@db.example/x?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        ] {
            none.check_postgres(&url(here)).expect(here);
        }
        for open in [
            "postgres://a@db/x",
            "postgres://a@db/x?sslmode=require",
            "postgres://a@db/x?sslmode=prefer",
            "postgres://a@10.0.0.7/x?sslmode=disable",
            "postgres://a@[fd00::7]/x",
            // The last one counts.
            "postgres://a@db/x?sslmode=verify-full&sslmode=disable",
            "postgres://a@localhost/x?host=db",
        ] {
            let said = none.check_postgres(&url(open)).expect_err(open);
            assert!(said.contains("sslmode=verify-full") && said.contains("PLAINTEXT_HOSTS"), "{said}");
            named.check_postgres(&url(open)).expect(open);
        }
        for other in
            ["postgres://a@localhost/x?hostaddr=10.0.0.7", "postgres://a@db/x?sslmode=verify-full&ssl-mode=disable"]
        {
            // Also where the host is named: the two programs must go to the same place in the same way.
            assert!(named.check_postgres(&url(other)).expect_err(other).contains("must not say"), "{other}");
        }
        for here in ["redis://localhost", "redis://127.0.0.1:6379/0", "redis://[::1]", "rediss://cache.example"] {
            none.check_redis(&url(here)).expect(here);
        }
        for open in ["redis://cache.internal:6379", "rediss://cache.internal/#insecure", "redis://10.0.0.7"] {
            let said = none.check_redis(&url(open)).expect_err(open);
            assert!(said.contains("rediss://") && said.contains("PLAINTEXT_HOSTS"), "{said}");
            named.check_redis(&url(open)).expect(open);
        }
        assert!(named.check_redis(&url("redis://other")).is_err());
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for bad in ["redis://db", "a b", "db/x", &"a,".repeat(30)] {
            assert!(bad.parse::<PlaintextHosts>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(PlaintextHosts::default()));
    }
}
