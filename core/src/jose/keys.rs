//! Sets of public keys (JWKS).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Algorithm;

/// So many keys may be in a set: the present one, the next, and a few that are not yet gone.
const MOST_KEYS: usize = 20;
/// Of those that a server publishes, no more are looked at.
const MOST_PUBLISHED: usize = 100;
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
    /// What it may be used with.
    algorithms: Vec<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point of the curve that the algorithm names.
    Curve(Vec<u8>),
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
    /// The keys that somebody gives us, each of which must be one for these algorithms, with an id.
    ///
    /// # Errors
    /// What is wrong with the first that is not.
    pub fn of(set: &Value, algorithms: &[Algorithm]) -> Result<Self, KeyProblem> {
        let raw: RawSet = serde_json::from_value(set.clone())
            .map_err(|error| wrong(format!("this is no set of keys, {{\"keys\": […]}}: {error}")))?;
        if raw.keys.is_empty() || raw.keys.len() > MOST_KEYS {
            return Err(wrong(format!("there must be 1 to {MOST_KEYS} keys, not {}", raw.keys.len())));
        }
        let keys: Result<Vec<Key>, KeyProblem> = raw.keys.into_iter().map(|key| Key::of(key, algorithms)).collect();
        let keys = keys?;
        for (at, key) in keys.iter().enumerate() {
            let Some(id) = &key.id else { return Err(wrong("each key needs an id (kid)")) };
            if keys[at + 1..].iter().any(|other| other.id.as_ref() == Some(id)) {
                return Err(wrong(format!("two keys have the id {id:?}")));
            }
        }
        Ok(Self(keys))
    }

    /// The keys that a server publishes, of which those for these algorithms count; others are passed over.
    pub fn published(set: &Value, algorithms: &[Algorithm]) -> Self {
        let keys = set["keys"].as_array().into_iter().flatten().take(MOST_PUBLISHED);
        let raw = keys.filter_map(|key| serde_json::from_value::<RawKey>(key.clone()).ok());
        Self(raw.filter_map(|key| Key::of(key, algorithms).ok()).collect())
    }

    /// Whether there is a key of this id.
    pub fn names(&self, id: Option<&str>) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == id)
    }

    /// Whether `signature` is over `message`, by the key of this id.
    pub(super) fn fits(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let mut named = self.0.iter().filter(|key| key.id.as_deref() == id);
        let (Some(key), None) = (named.next(), named.next()) else { return false };
        let rsa = |n, e, how| RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok();
        key.algorithms.contains(&algorithm)
            && match (&key.public, algorithm) {
                (Public::Rsa { n, e }, Algorithm::Rs256) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA256),
                (Public::Rsa { n, e }, Algorithm::Rs384) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA384),
                (Public::Curve(point), Algorithm::Es256) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
                }
                (Public::Curve(point), Algorithm::Es384) => {
                    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
                }
                _ => false,
            }
    }
}

impl Key {
    fn of(raw: RawKey, allowed: &[Algorithm]) -> Result<Self, KeyProblem> {
        if raw.d.is_some() || raw.k.is_some() {
            return Err(wrong("this is a secret key: keep it, and give its public half only"));
        }
        if raw.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(wrong("a key is not for signatures (use)"));
        }
        if raw.kid.as_ref().is_some_and(|id| id.is_empty() || id.chars().count() > LONGEST_ID) {
            return Err(wrong(format!("a key's id (kid) must have 1 to {LONGEST_ID} characters")));
        }
        let (public, kinds): (_, &[Algorithm]) = match (raw.kty.as_str(), raw.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(raw.n.as_deref(), "n")?, number(raw.e.as_deref(), "e")?);
                if n.len() < 256 || n.len() > 1024 {
                    return Err(wrong("an RSA key must have 2048 to 8192 bits"));
                }
                (Public::Rsa { n, e }, &[Algorithm::Rs256, Algorithm::Rs384])
            }
            ("EC", Some("P-256")) => (point(&raw, 32)?, &[Algorithm::Es256]),
            ("EC", Some("P-384")) => (point(&raw, 48)?, &[Algorithm::Es384]),
            _ => (Public::Curve(Vec::new()), &[]),
        };
        let kinds: Vec<Algorithm> = kinds.iter().copied().filter(|kind| allowed.contains(kind)).collect();
        let names = |of: &[Algorithm]| of.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
        if kinds.is_empty() {
            return Err(wrong(format!("a key must be one for {} (kty, crv)", names(allowed))));
        }
        let algorithms: Vec<Algorithm> = match raw.alg.as_deref() {
            None => kinds.clone(),
            Some(named) => kinds.iter().copied().filter(|kind| kind.as_str() == named).collect(),
        };
        if algorithms.is_empty() {
            return Err(wrong(format!("the algorithm (alg) of such a key must be {}", names(&kinds))));
        }
        Ok(Self { id: raw.kid, algorithms, public })
    }
}

fn point(raw: &RawKey, length: usize) -> Result<Public, KeyProblem> {
    let (x, y) = (bytes(raw.x.as_deref(), "x")?, bytes(raw.y.as_deref(), "y")?);
    if x.len() != length || y.len() != length {
        return Err(wrong(format!("x and y of such a key have {length} bytes each")));
    }
    Ok(Public::Curve([&[4][..], &x, &y].concat()))
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

    const OURS: [Algorithm; 2] = [Algorithm::Rs384, Algorithm::Es384];

    #[test]
    fn of_what_is_published_that_counts_which_is_of_use() {
        let (half, other) = (URL_SAFE_NO_PAD.encode([7; 32]), URL_SAFE_NO_PAD.encode([7; 48]));
        let good = json!({"kty": "EC", "kid": "good", "crv": "P-256", "x": half, "y": half});
        let set = json!({"keys": [{"kty": "OKP", "kid": "odd"}, 7, {"kty": "EC", "kid": "384", "crv": "P-384", "x": other, "y": other}, good]});
        let keys = KeySet::published(&set, &[Algorithm::Rs256, Algorithm::Es256]);
        assert_eq!(["good", "odd", "384"].map(|id| keys.names(Some(id))), [true, false, false]);
        assert!(KeySet::published(&json!("none"), &OURS).0.is_empty());
    }

    #[test]
    fn what_is_no_public_key_for_our_algorithms_is_refused_in_words() {
        let (n, half) = (URL_SAFE_NO_PAD.encode([255; 256]), URL_SAFE_NO_PAD.encode([7; 48]));
        let rsa = json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB", "alg": "RS384", "use": "sig"});
        let curve = json!({"kty": "EC", "kid": "b", "crv": "P-384", "x": half, "y": half});
        assert!(KeySet::of(&json!({"keys": [rsa, curve]}), &OURS).is_ok());
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
            (with(&curve, "crv", json!("P-256")), "32 bytes"),
            (with(&curve, "x", json!("AQAB")), "48 bytes"),
        ] {
            let refused = KeySet::of(&set, &OURS).expect_err("refused").to_string();
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }
}
