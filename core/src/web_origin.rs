//! Origins of pages in browsers (RFC 6454): scheme, host and port, as `https://portal.example.org`.

use std::fmt;
use std::str::FromStr;

/// No list has more.
const MOST: usize = 50;

/// The origin of pages that scripts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// As browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A list with commas between; empty: none.
    ///
    /// # Errors
    /// What is no origin, in words.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let all: Result<Vec<Self>, String> =
            text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::parse).collect();
        all.and_then(|all| if all.len() > MOST { Err(format!("must be {MOST} origins at most")) } else { Ok(all) })
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be origins such as https://portal.example.org, without a path; http is for this machine only, and there is no *".to_owned()
        };
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let fine = !text.contains('*') && url.scheme() == "https" || (url.scheme() == "http" && here);
        let origin = url.origin().ascii_serialization();
        // Nothing may be left of it: what looks like a rule for a part of a site would be one for all of it.
        if fine && origin == text.trim_end_matches('/').to_ascii_lowercase() { Ok(Self(origin)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_all_of_it_and_nothing_more() {
        for (fine, origin) in [
            ("https://portal.example.org", "https://portal.example.org"),
            ("https://Portal.example.org:8443/", "https://portal.example.org:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
        ] {
            assert_eq!(fine.parse::<WebOrigin>().map(|found| found.0), Ok(origin.to_owned()), "{fine}");
        }
        for wrong in [
            "*",
            "null",
            "portal.example.org",
            "http://portal.example.org",
            "https://*.example.org",
            "https://a.example.org/app",
            "https://u@a.example.org",
            "ftp://a.example.org",
        ] {
            assert!(wrong.parse::<WebOrigin>().is_err(), "{wrong}");
        }
        assert_eq!(WebOrigin::list(" ").expect("none").len(), 0);
        assert_eq!(WebOrigin::list("https://a.example.org, https://b.example.org").expect("two").len(), 2);
    }
}
