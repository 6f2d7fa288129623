//! The names of blobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BlobError;

/// No key is longer: the folder store makes one file name of it.
const LONGEST: usize = 180;

/// The name of a blob, or of a folder of blobs: segments of letters, digits, `-`, `_` and `.` with `/` between them. Each
/// segment begins with a letter or a digit, so that none leads out of its folder or is hidden.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey(String);

impl BlobKey {
    /// The key that these segments make.
    ///
    /// # Errors
    /// A segment that is empty or has other characters; more than 180 characters in all.
    pub fn of<S: AsRef<str>>(segments: &[S]) -> Result<Self, BlobError> {
        segments.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/").parse()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of something within this folder.
    ///
    /// # Errors
    /// As [`BlobKey::of`].
    pub fn join(&self, name: &str) -> Result<Self, BlobError> {
        format!("{}/{name}", self.0).parse()
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for BlobKey {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let fine = |segment: &str| {
            segment.starts_with(|first: char| first.is_ascii_alphanumeric())
                && segment.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        if text.len() <= LONGEST && text.split('/').all(fine) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BlobError::BadKey(text.escape_debug().take(LONGEST).collect()))
        }
    }
}

impl TryFrom<String> for BlobKey {
    type Error = BlobError;

    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_else() {
        for bad in
            ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".hidden", "a/.b", "a b", "ä", "a\0", "a\\b", "a+b", "-a"]
        {
            assert!(bad.parse::<BlobKey>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(181).parse::<BlobKey>().is_err());
        let key = BlobKey::of(&["backups", "20261125T030000Z", "dump.age"]).expect("a key");
        assert_eq!((key.as_str(), key.name()), ("backups/20261125T030000Z/dump.age", "dump.age"));
        assert_eq!(key.join("x").expect("a key").as_str(), "backups/20261125T030000Z/dump.age/x");
    }
}
