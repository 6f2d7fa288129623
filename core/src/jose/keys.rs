//! Sets of public keys (JWKS).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA384, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Algorithm;

/// So many keys may be in a set: the present one, the next, and a few that are not yet gone.
const MOST_KEYS: usize = 20;
/// A key's id is no longer, in characters.
const LONGEST_ID: usize = 200;

/// Why a set of keys is not taken, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyProblem(String);

fn wrong(text: impl Into<String>) -> KeyProblem {
    KeyProblem(text.into())
}

/// Public keys, each by its id.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P384(Vec<u8>),
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The secret half, of whichever kind.
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl KeySet {
    /// The keys that somebody gives us, each of which must be one that we can use, with an id.
    ///
    /// # Errors
    /// What is wrong with the first that is not.
    pub fn of(set: &Value) -> Result<Self, KeyProblem> {
        let raw: RawSet = serde_json::from_value(set.clone())
            .map_err(|error| wrong(format!("this is no set of keys, {{\"keys\": […]}}: {error}")))?;
        if raw.keys.is_empty() || raw.keys.len() > MOST_KEYS {
            return Err(wrong(format!("there must be 1 to {MOST_KEYS} keys, not {}", raw.keys.len())));
        }
        let keys: Result<Vec<Key>, KeyProblem> = raw.keys.into_iter().map(Key::of).collect();
        let keys = keys?;
        for (at, key) in keys.iter().enumerate() {
            let Some(id) = &key.id else { return Err(wrong("each key needs an id (kid)")) };
            if keys[at + 1..].iter().any(|other| other.id.as_ref() == Some(id)) {
                return Err(wrong(format!("two keys have the id {id:?}")));
            }
        }
        Ok(Self(keys))
    }

    /// Whether `signature` is over `message`, by the key of this id.
    pub(super) fn fits(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let mut named = self.0.iter().filter(|key| key.id.as_deref() == id);
        let (Some(key), None) = (named.next(), named.next()) else { return false };
        match (&key.public, algorithm) {
            (Public::Rsa { n, e }, Algorithm::Rs384) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA384, message, signature).is_ok()
            }
            (Public::P384(point), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

impl Key {
    fn of(raw: RawKey) -> Result<Self, KeyProblem> {
        if raw.d.is_some() || raw.k.is_some() {
            return Err(wrong("this is a secret key: keep it, and give its public half only"));
        }
        if raw.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(wrong("a key is not for signatures (use)"));
        }
        if raw.kid.as_ref().is_some_and(|id| id.is_empty() || id.chars().count() > LONGEST_ID) {
            return Err(wrong(format!("a key's id (kid) must have 1 to {LONGEST_ID} characters")));
        }
        let (public, algorithm) = match (raw.kty.as_str(), raw.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(raw.n.as_deref(), "n")?, number(raw.e.as_deref(), "e")?);
                if n.len() < 256 || n.len() > 1024 {
                    return Err(wrong("an RSA key must have 2048 to 8192 bits"));
                }
                (Public::Rsa { n, e }, Algorithm::Rs384)
            }
            ("EC", Some("P-384")) => {
                let [x, y] = [(raw.x, "x"), (raw.y, "y")].map(|(text, name)| bytes(text.as_deref(), name));
                let (x, y) = (x?, y?);
                if x.len() != 48 || y.len() != 48 {
                    return Err(wrong("x and y of a P-384 key have 48 bytes each"));
                }
                (Public::P384([&[4][..], &x, &y].concat()), Algorithm::Es384)
            }
            _ => return Err(wrong("a key must be RSA (kty RSA) or on the curve P-384 (kty EC, crv P-384)")),
        };
        if raw.alg.as_deref().is_some_and(|named| named != algorithm.as_str()) {
            return Err(wrong(format!("the algorithm (alg) of such a key must be {}", algorithm.as_str())));
        }
        Ok(Self { id: raw.kid, public })
    }
}

fn bytes(text: Option<&str>, name: &str) -> Result<Vec<u8>, KeyProblem> {
    let text = text.ok_or_else(|| wrong(format!("a key lacks {name}")))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong(format!("{name} of a key is not base64url without padding")))
}

/// Without the zeros that some write before it.
fn number(text: Option<&str>, name: &str) -> Result<Vec<u8>, KeyProblem> {
    let bytes = bytes(text, name)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_public_key_for_our_algorithms_is_refused_in_words() {
        let (n, half) = (URL_SAFE_NO_PAD.encode([255; 256]), URL_SAFE_NO_PAD.encode([7; 48]));
        let rsa = json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB", "alg": "RS384", "use": "sig"});
        let curve = json!({"kty": "EC", "kid": "b", "crv": "P-384", "x": half, "y": half});
        assert!(KeySet::of(&json!({"keys": [rsa, curve]})).is_ok());
        let with = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            json!({"keys": [key]})
        };
        for (set, why) in [
            (json!([]), "no set of keys"),
            (json!({"keys": []}), "1 to 20"),
            (json!({"keys": vec![rsa.clone(); 21]}), "1 to 20"),
            (json!({"keys": [rsa, rsa]}), "two keys"),
            (with(&rsa, "d", json!("AQAB")), "secret key"),
            (json!({"keys": [{"kty": "oct", "kid": "c", "k": "AQAB"}]}), "secret key"),
            (with(&rsa, "kid", json!(null)), "needs an id"),
            (with(&rsa, "kid", json!("")), "1 to 200"),
            (with(&rsa, "use", json!("enc")), "not for signatures"),
            (with(&rsa, "alg", json!("RS256")), "must be RS384"),
            (with(&rsa, "n", json!(URL_SAFE_NO_PAD.encode([255; 128]))), "2048"),
            (with(&rsa, "n", json!("????")), "base64url"),
            (with(&rsa, "e", json!(null)), "lacks e"),
            (with(&curve, "crv", json!("P-256")), "P-384"),
            (with(&curve, "x", json!("AQAB")), "48 bytes"),
        ] {
            let refused = KeySet::of(&set).expect_err("refused").to_string();
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }
}
