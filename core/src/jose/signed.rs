//! A token, taken apart. What it claims is worth nothing before [`Signed::verify`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Algorithm, KeySet};

/// A token is no longer, in bytes.
const LONGEST: usize = 8 * 1024;

/// Why a token is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It is none.
    #[error("it is no JSON Web Token")]
    Shape,
    /// It is signed in another way, or names something that must be understood.
    #[error("it is not signed in a way that is taken here")]
    Algorithm,
    /// No key of that name made this signature.
    #[error("the signature does not fit, or its key is not known")]
    Signature,
}

/// A token as it came.
pub struct Signed<'a> {
    header: Header,
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Signed<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(token: &'a str) -> Result<Self, NotSigned> {
        let shape = NotSigned::Shape;
        if token.len() > LONGEST {
            return Err(shape);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(shape)?;
        let (header, claims) = signed.split_once('.').ok_or(shape)?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| shape);
        let header = serde_json::from_slice(&bytes(header)?).map_err(|_| shape)?;
        Ok(Self { header, signed, claims: bytes(claims)?, signature: bytes(signature)? })
    }

    /// Something that it claims, unproven: to find the keys that can prove it.
    pub fn unproven<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.claims).ok()
    }

    /// Which key it says that it is signed by.
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What it claims, if one of the keys signed it by one of these algorithms.
    ///
    /// # Errors
    /// Why it is worth nothing; also claims of other shapes than `T`.
    pub fn verify<T: DeserializeOwned>(&self, keys: &KeySet, algorithms: &[Algorithm]) -> Result<T, NotSigned> {
        let named = algorithms.iter().find(|algorithm| algorithm.as_str() == self.header.alg);
        let algorithm = *named.filter(|_| self.header.crit.is_none()).ok_or(NotSigned::Algorithm)?;
        let id = self.header.kid.as_deref();
        if !keys.fits(id, algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(NotSigned::Signature);
        }
        serde_json::from_slice(&self.claims).map_err(|_| NotSigned::Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::{Value, json};

    const OURS: [Algorithm; 2] = [Algorithm::Rs384, Algorithm::Es384];

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            let chance = SystemRandom::new();
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &chance).expect("a key");
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, key.as_ref(), &chance);
            Self(key.expect("our own"))
        }

        fn keys(&self, id: &str) -> KeySet {
            let point = self.0.public_key().as_ref();
            let [x, y] = [&point[1..49], &point[49..]].map(|half| URL_SAFE_NO_PAD.encode(half));
            KeySet::of(&json!({"keys": [{"kty": "EC", "crv": "P-384", "kid": id, "x": x, "y": y}]}), &OURS)
                .expect("a set")
        }

        fn sign(&self, header: &Value, claims: &str) -> String {
            let [header, claims] =
                [header.to_string().as_bytes(), claims.as_bytes()].map(|part| URL_SAFE_NO_PAD.encode(part));
            let signed = format!("{header}.{claims}");
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn verify(token: &str, keys: &KeySet) -> Result<Value, NotSigned> {
        Signed::parse(token)?.verify(keys, &OURS)
    }

    #[test]
    fn a_token_counts_by_its_key_and_its_algorithm_only() {
        let (signer, other) = (Signer::new(), Signer::new());
        let keys = signer.keys("one");
        let good = json!({"alg": "ES384", "kid": "one"});
        assert_eq!(verify(&signer.sign(&good, r#"{"iss": "us"}"#), &keys), Ok(json!({"iss": "us"})));
        for (header, why) in [
            (json!({"alg": "none", "kid": "one"}), NotSigned::Algorithm),
            (json!({"alg": "HS384", "kid": "one"}), NotSigned::Algorithm),
            (json!({"alg": "es384", "kid": "one"}), NotSigned::Algorithm),
            (json!({"alg": "RS384", "kid": "one"}), NotSigned::Signature),
            (json!({"alg": "ES384", "kid": "two"}), NotSigned::Signature),
            (json!({"alg": "ES384"}), NotSigned::Signature),
            (json!({"alg": "ES384", "kid": "one", "crit": ["b64"], "b64": false}), NotSigned::Algorithm),
            (json!({"kid": "one"}), NotSigned::Shape),
        ] {
            assert_eq!(verify(&signer.sign(&header, "{}"), &keys), Err(why), "{header}");
        }
        assert_eq!(verify(&other.sign(&good, "{}"), &keys), Err(NotSigned::Signature));
        assert_eq!(verify(&signer.sign(&good, "[]"), &keys).map(|_| ()), Ok(()), "any JSON that the caller asks for");
        assert_eq!(verify(&signer.sign(&good, "{"), &keys), Err(NotSigned::Shape));
    }

    #[test]
    fn no_part_can_be_changed_and_what_is_no_token_is_none() {
        let signer = Signer::new();
        let (keys, header) = (signer.keys("one"), json!({"alg": "ES384", "kid": "one"}));
        let token = signer.sign(&header, r#"{"iss": "us"}"#);
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"iss": "me"}"#);
        for wrong in [
            format!("{}.{forged}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}="),
            format!("{token}.{}", parts[2]),
            String::new(),
            "..".to_owned(),
            "a".repeat(LONGEST + 1),
        ] {
            assert!(verify(&wrong, &keys).is_err(), "{wrong}");
        }
    }
}
