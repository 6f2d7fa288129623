//! What an issuer's statement (ID token) must say (OpenID Connect Core 3.1.3.7).

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

/// Clocks differ by so much.
const CLOCKS: TimeDelta = TimeDelta::seconds(60);
/// Names of people are no longer, in bytes (2).
const LONGEST_SUB: usize = 255;

/// The claims that count.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nonce: Option<String>,
    #[serde(flatten)]
    pub(super) email: Email,
}

/// What is said of somebody's address.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Email {
    email: Option<String>,
    /// A truth value; some issuers write it as text.
    email_verified: Option<Value>,
}

impl Email {
    /// Whether anything is said.
    pub(super) fn is_there(&self) -> bool {
        self.email.is_some()
    }

    /// The address, if the issuer has proven that it is theirs.
    pub(super) fn proven(self) -> Option<String> {
        let yes = self.email_verified.is_some_and(|said| said == true || said == "true");
        self.email.filter(|_| yes)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// What is wrong with it; none: it is for us, for this browser, and for now.
    pub(super) fn wrong(&self, issuer: &str, client: &str, nonce: &str, now: DateTime<Utc>) -> Option<&'static str> {
        let (named, several) = match &self.aud {
            Audience::One(one) => (one == client, false),
            Audience::Many(all) => (all.iter().any(|one| one == client), all.len() > 1),
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
        let (now, clocks) = (now.timestamp() as f64, CLOCKS.num_seconds() as f64);
        let azp = self.azp.as_deref();
        if self.iss != issuer {
            Some("another issuer")
        } else if !named || azp.is_some_and(|azp| azp != client) || several && azp.is_none() {
            Some("for somebody else")
        } else if self.exp.is_nan() || self.exp + clocks <= now {
            Some("expired")
        } else if self.iat.is_nan() || self.iat > now + clocks {
            Some("of the future")
        } else if !bool::from(self.nonce.as_deref().unwrap_or_default().as_bytes().ct_eq(nonce.as_bytes())) {
            Some("of another sign-in")
        } else if self.sub.is_empty() || self.sub.len() > LONGEST_SUB {
            Some("of nobody")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statement_must_be_for_us_for_this_browser_and_for_now() {
        let now = DateTime::from_timestamp(1000, 0).expect("a time");
        let wrong = |change: &dyn Fn(&mut Value)| {
            let mut claims =
                json!({"iss": "https://i", "sub": "s", "aud": "us", "exp": 1300, "iat": 1000, "nonce": "n"});
            change(&mut claims);
            let claims: Claims = serde_json::from_value(claims).expect("claims");
            claims.wrong("https://i", "us", "n", now)
        };
        assert_eq!(wrong(&|_| {}), None);
        assert_eq!(wrong(&|claims| claims["aud"] = json!(["us"])), None);
        assert_eq!(wrong(&|claims| (claims["aud"], claims["azp"]) = (json!(["us", "b"]), json!("us"))), None);
        for (name, value, why) in [
            ("iss", json!("https://i/"), "another issuer"),
            ("aud", json!("them"), "for somebody else"),
            ("aud", json!(["us", "them"]), "for somebody else"),
            ("azp", json!("them"), "for somebody else"),
            ("exp", json!(940), "expired"),
            ("iat", json!(1061), "of the future"),
            ("nonce", json!("m"), "of another sign-in"),
            ("nonce", Value::Null, "of another sign-in"),
            ("sub", json!(""), "of nobody"),
            ("sub", json!("s".repeat(256)), "of nobody"),
        ] {
            assert_eq!(wrong(&|claims| claims[name] = value.clone()), Some(why), "{name} {value}");
        }
    }

    #[test]
    fn an_address_counts_only_if_it_was_proven() {
        let email = |said: Value| serde_json::from_value::<Email>(said).expect("claims").proven();
        for yes in [json!(true), json!("true")] {
            let said = json!({"email": "a@b.example", "email_verified": yes});
            assert_eq!(email(said).as_deref(), Some("a@b.example"));
        }
        for no in [json!(false), json!("false"), json!(1), json!({}), Value::Null] {
            assert_eq!(email(json!({"email": "a@b.example", "email_verified": no})), None);
        }
        assert_eq!(email(json!({"email": "a@b.example"})), None);
        assert_eq!(email(json!({})), None);
    }
}
