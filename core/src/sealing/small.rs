//! Short secrets, sealed as a whole for a row of the database.

use super::{Identities, SealError};

impl Identities {
    /// Seals a few bytes for the first of these keys.
    ///
    /// # Errors
    /// There is no key, or it cannot be written with.
    pub fn seal_short(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.first().ok_or(SealError::WrongKey)?;
        age::encrypt(&key.to_public(), plain).map_err(|error| SealError::Damaged(error.to_string()))
    }

    /// Opens what [`Identities::seal_short`] sealed.
    ///
    /// # Errors
    /// It was sealed for another key, or changed.
    pub fn open_short(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.first().ok_or(SealError::WrongKey)?;
        age::decrypt(key, sealed).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => SealError::WrongKey,
            other => SealError::Damaged(other.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_only() {
        let (ours, other) = (Identities::derived(b"a secret", "sample"), Identities::derived(b"a secret", "another"));
        let sealed = ours.seal_short(b"twenty bytes or so").expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"twenty"));
        assert_eq!(ours.open_short(&sealed).expect("opened"), b"twenty bytes or so");
        assert!(matches!(other.open_short(&sealed), Err(SealError::WrongKey)));
        let mut changed = sealed.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        assert!(matches!(ours.open_short(&changed), Err(SealError::Damaged(_))));
        assert!(ours.open_short(b"").is_err());
    }
}
