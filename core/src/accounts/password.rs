//! Passwords as they are kept: Argon2id over an HMAC of the password, whose key is not in the database. What takes time and
//! memory runs on threads of its own, on half of the cores at once and behind all other work: a crowd that tries passwords must not
//! make others wait.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::Secret;
use crate::ids::Ids;

/// KiB of memory for each.
const MEMORY: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Whose password is tried in vain where there is none to try. Its salt and its hash are zeros, which no password makes.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// For a turn one waits so long …
const PATIENCE: Duration = Duration::from_secs(2);
/// … and so many wait at once, for each turn.
const WAITING: usize = 16;
/// What the threads yield to others, as `nice` counts: 0 to 19.
const NICE: i32 = 15;

/// Makes and checks what is kept of passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    pepper: Secret<[u8; 32]>,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// Why a password was neither hashed nor checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many are at it.
    #[error("too many passwords are being checked at this moment")]
    Busy,
    /// A fault of ours, without anything of the password.
    #[error("a password could not be hashed: {0}")]
    Broken(String),
}

/// What came of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the one.
    Right {
        /// What is kept of it was made with other parameters than today's, and is to be made anew.
        outdated: bool,
    },
    /// It is not, or there is none.
    Wrong,
}

impl Passwords {
    /// With a key that follows from the server's secret. With another secret no password is right any more.
    pub fn new(secret: &Secret<Vec<u8>>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (cores / 2).max(1);
        Self {
            pepper: Secret::new(mac(secret.expose(), b"pulsecal password pepper")),
            places: Arc::new(Semaphore::new(at_once * (1 + WAITING))),
            turns: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// What is to be kept of a password: a PHC string.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, ids: Ids, password: &str) -> Result<String, PasswordError> {
        let (seasoned, salt) = (self.season(password), ids.secret());
        self.run(move || {
            let params = Params::new(MEMORY, PASSES, 1, Some(32)).map_err(broken)?;
            let made = Argon2::from(params).hash_password_with_salt(&seasoned, &salt[..16]).map_err(broken)?;
            Ok(made.to_string())
        })
        .await
    }

    /// Whether it is the password of which `kept` was made. With none it takes as long, and the password is wrong.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn check(&self, password: &str, kept: Option<&str>) -> Result<Checked, PasswordError> {
        let of = if kept.is_some() { "account" } else { "nobody" };
        let (seasoned, kept) = (self.season(password), kept.unwrap_or(NOBODYS).to_owned());
        let checked = self
            .run(move || {
                let kept = PasswordHash::new(&kept).map_err(broken)?;
                let right = Argon2::default().verify_password(&seasoned, &kept).is_ok();
                let today = ["m", "t", "p"].map(|name| kept.params.get_decimal(name));
                let outdated = today != [Some(MEMORY), Some(PASSES), Some(1)] || kept.algorithm.as_str() != "argon2id";
                Ok(if right { Checked::Right { outdated } } else { Checked::Wrong })
            })
            .await?;
        metrics::counter!("account_passwords_checked_total", "of" => of).increment(1);
        Ok(checked)
    }

    /// As an older release might have kept it, for tests.
    ///
    /// # Panics
    /// Never: the parameters are good.
    #[cfg(any(test, feature = "testing"))]
    pub fn weak_hash(&self, password: &str) -> String {
        let weak = Argon2::from(Params::new(64, 1, 1, Some(32)).expect("good parameters"));
        weak.hash_password_with_salt(&self.season(password), &[7; 16]).expect("hashed").to_string()
    }

    /// The password with what is not in the database. Also makes long ones short.
    fn season(&self, password: &str) -> [u8; 32] {
        mac(self.pepper.expose(), password.as_bytes())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let busy = |_| PasswordError::Busy;
        let place = self.places.clone().try_acquire_owned().map_err(|_full| PasswordError::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await.map_err(busy)?;
        let turn: OwnedSemaphorePermit = turn.map_err(|closed| PasswordError::Broken(closed.to_string()))?;
        let (say, done) = oneshot::channel();
        // The thread holds its turn to its end, also when who asked has gone. It is one of its own, since it could not rise again.
        let thread = std::thread::Builder::new().name("password".to_owned()).spawn(move || {
            let _until_the_end = (place, turn);
            // Where it is not allowed, it takes its share as others do.
            let _lower = rustix::process::setpriority_process(None, NICE);
            let _gone = say.send(work());
        });
        let _runs = thread.map_err(broken)?;
        done.await.map_err(broken)?
    }
}

fn broken(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Broken(error.to_string())
}

/// HMAC-SHA-256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mut mac| {
        mac.update(message);
        mac.finalize().into_bytes().into()
    });
    mac.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(secret: &str) -> Passwords {
        Passwords::new(&Secret::new(secret.as_bytes().to_vec()))
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let ours = passwords("0123456789abcdef0123456789abcdef");
        let kept = ours.hash(Ids, " pässwört \u{1f511} ").await.expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, ours.hash(Ids, " pässwört \u{1f511} ").await.expect("hashed"), "each has a salt of its own");
        let right = Checked::Right { outdated: false };
        assert_eq!(ours.check(" pässwört \u{1f511} ", Some(&kept)).await.expect("checked"), right);
        for wrong in ["pässwört \u{1f511}", "", " PÄSSWÖRT \u{1f511} ", " passwort \u{1f511} "] {
            assert_eq!(ours.check(wrong, Some(&kept)).await.expect("checked"), Checked::Wrong, "{wrong:?}");
        }
        let stolen = passwords("another secret of at least 32 characters");
        assert_eq!(stolen.check(" pässwört \u{1f511} ", Some(&kept)).await.expect("checked"), Checked::Wrong);
    }

    #[tokio::test]
    async fn where_there_is_no_password_one_is_checked_all_the_same() {
        let ours = passwords("0123456789abcdef0123456789abcdef");
        assert_eq!(ours.check("anything", None).await.expect("checked"), Checked::Wrong);
    }

    #[tokio::test]
    async fn what_was_made_with_less_is_outdated() {
        let ours = passwords("0123456789abcdef0123456789abcdef");
        let kept = ours.weak_hash("correct horse");
        let checked = ours.check("correct horse", Some(&kept)).await.expect("checked");
        assert_eq!(checked, Checked::Right { outdated: true });
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_and_not_kept_waiting() {
        let mut ours = passwords("0123456789abcdef0123456789abcdef");
        ours.places = Arc::new(Semaphore::new(2));
        let all = futures_util::future::join_all((0..8).map(|_| ours.check("anything", None))).await;
        let busy = all.iter().filter(|one| matches!(one, Err(PasswordError::Busy))).count();
        assert_eq!(busy, 6);
    }
}
