//! Keys: public ones to encrypt for, secret ones to decrypt with.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use age::x25519;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Public age keys. Whoever holds the secret half of one of them can read what is sealed for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// As age writes them, `age1…`; they are public.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.0.iter().map(|recipient| recipient as &dyn age::Recipient)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl FromStr for Recipients {
    type Err = String;

    /// One or more, with commas or white space between them; at most 20.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty());
        let keys: Result<Vec<_>, _> = words.map(str::parse::<x25519::Recipient>).collect();
        match keys {
            Ok(keys) if (1..=20).contains(&keys.len()) => Ok(Self(keys)),
            Ok(_) => Err("must be 1 to 20 public age keys".to_owned()),
            Err(_) => Err("must be public age keys, age1…, with commas between them, as `age-keygen` or `pulsecal backup keygen` prints them".to_owned()),
        }
    }
}

/// Secret age keys.
#[derive(Clone)]
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// A new one.
    pub fn generate() -> Self {
        Self(vec![x25519::Identity::generate()])
    }

    /// One that follows from the server's secret, for what the server itself must read again. Another `purpose` gives
    /// another key.
    ///
    /// # Panics
    /// Never: 32 bytes always make a key.
    pub fn derived(secret: &[u8], purpose: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length is fine");
        mac.update(b"pulsecal sealing\0");
        mac.update(purpose.as_bytes());
        let hrp = bech32::Hrp::parse_unchecked("AGE-SECRET-KEY-");
        let text = bech32::encode_upper::<bech32::Bech32>(hrp, &mac.finalize().into_bytes()).expect("32 bytes fit");
        Self(vec![text.parse().expect("32 bytes make a key")])
    }

    /// Those of a file as `age-keygen` writes it: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no key or something else; its content is not shown.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        text.parse().map_err(|problem| format!("{}: {problem}", file.display()))
    }

    /// The public halves.
    pub fn recipients(&self) -> Recipients {
        Recipients(self.0.iter().map(x25519::Identity::to_public).collect())
    }

    /// As lines of an identity file: the secret itself, so for that file only.
    pub fn to_file_text(&self) -> String {
        use age::secrecy::ExposeSecret;
        let lines = self
            .0
            .iter()
            .map(|key| format!("# public key: {}\n{}\n", key.to_public(), key.to_string().expose_secret()));
        lines.collect()
    }

    pub(super) fn first(&self) -> Option<&x25519::Identity> {
        self.0.first()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities(secret, for {:?})", self.recipients())
    }
}

impl FromStr for Identities {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = lines.map(str::parse::<x25519::Identity>).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err("holds no secret age key (a line AGE-SECRET-KEY-1…), or something else as well".to_owned()),
        }
    }
}
