//! How second factors are kept: nothing that is in the database opens anything without the server's secret.

use super::super::password::mac;
use super::totp::{TotpKey, base32, grouped};
use crate::config::Secret;
use crate::ids::{AccountId, Ids};
use crate::sealing::{Identities, SealError};

/// Of a recovery code: 80 bits, so that guessing needs no bound.
const CODE_BYTES: usize = 10;

/// Seals the keys of apps, and knows recovery codes again. Cheap to clone.
#[derive(Clone)]
pub struct FactorKeys {
    sealing: Identities,
    codes: Secret<[u8; 32]>,
}

impl FactorKeys {
    /// With keys that follow from the server's secret. With another one no app's code and no recovery code is right any more.
    pub fn new(secret: &Secret<Vec<u8>>) -> Self {
        Self {
            sealing: Identities::derived(secret.expose(), "second factors"),
            codes: Secret::new(mac(secret.expose(), b"pulsecal recovery codes")),
        }
    }

    /// For the account's row.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, account: AccountId, key: &TotpKey) -> Result<Vec<u8>, SealError> {
        self.sealing.seal_short(&[account.0.as_bytes(), key.bytes()].concat())
    }

    /// From the account's row.
    ///
    /// # Errors
    /// It was sealed under another secret, changed, or is another account's.
    pub fn open(&self, account: AccountId, sealed: &[u8]) -> Result<TotpKey, SealError> {
        let plain = self.sealing.open_short(sealed)?;
        let key = plain.strip_prefix(account.0.as_bytes()).and_then(TotpKey::of);
        key.ok_or_else(|| SealError::Damaged("it is not this account's".to_owned()))
    }

    /// A new recovery code, as it is shown once.
    pub fn recovery_code(ids: Ids) -> String {
        grouped(&base32(&ids.secret()[..CODE_BYTES]), "-")
    }

    /// What is kept of a recovery code, however it is typed.
    pub fn hash(&self, account: AccountId, code: &str) -> [u8; 32] {
        let letters: String =
            code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
        mac(self.codes.expose(), &[account.0.as_bytes(), letters.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> FactorKeys {
        FactorKeys::new(&Secret::new(secret.as_bytes().to_vec()))
    }

    #[test]
    fn a_key_is_opened_for_its_account_only() {
        let (ours, key) = (keys("0123456789abcdef0123456789abcdef"), TotpKey::new(Ids));
        let [one, other]: [AccountId; 2] = [Ids.new_id(), Ids.new_id()];
        let sealed = ours.seal(one, &key).expect("sealed");
        assert!(sealed.len() <= 1000 && !sealed.windows(20).any(|part| part == key.bytes()));
        assert_eq!(ours.open(one, &sealed).expect("opened").bytes(), key.bytes());
        assert!(ours.open(other, &sealed).is_err());
        assert!(keys("another secret of at least 32 characters").open(one, &sealed).is_err());
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_typed() {
        let (ours, account) = (keys("0123456789abcdef0123456789abcdef"), AccountId(uuid::Uuid::from_u128(1)));
        let code = FactorKeys::recovery_code(Ids);
        assert_eq!((code.len(), code.matches('-').count()), (19, 3), "{code}");
        assert_ne!(code, FactorKeys::recovery_code(Ids));
        let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert_eq!(ours.hash(account, &code), ours.hash(account, &typed));
        assert_ne!(ours.hash(account, &code), ours.hash(AccountId(uuid::Uuid::from_u128(2)), &code));
    }
}
