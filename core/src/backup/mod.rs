//! Database backups: one snapshot, dumped, packed, encrypted and stored in one go; and the proof that it can be restored.
//!
//! A backup is two blobs in `backups/DATABASE/ID/`: the dump, and the manifest, which is written last and signed. A dump
//! without a valid manifest is no backup.

mod create;
mod drill;
mod keep;
mod manifest;
pub mod retention;
mod store;
mod tools;
mod verify;

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::blobs::BlobError;
use crate::config::{Config, Secret};
use crate::ids::BackupId;
use crate::sealing::{Identities, Recipients, SealError};
use crate::store::DbError;
use crate::store::audit::{Actor, Entry};

pub use create::create;
pub use drill::{Drilled, drill, restore};
pub use keep::keep;
pub use manifest::Manifest;
pub use store::{Listed, list, remove};
pub use verify::{Verified, verify};

/// What backups are made and read with. Cheap enough to clone.
#[derive(Clone, Debug)]
pub struct Backups {
    database_url: Secret<String>,
    /// For whom they are encrypted; none: no backups are made.
    pub recipients: Option<Recipients>,
    /// Where the secret key lies; none: they are not drilled here.
    pub identity_file: Option<PathBuf>,
    /// How many are kept.
    pub keep: retention::Keep,
    pg_bin: Option<PathBuf>,
    signing_key: Secret<Vec<u8>>,
}

impl Backups {
    /// By the environment.
    pub fn of(config: &Config) -> Self {
        let mut mac = mac(config.secret_key.expose());
        mac.update(b"pulsecal backup manifest");
        Self {
            database_url: config.database_url.clone(),
            recipients: config.backup_recipients.clone(),
            identity_file: config.backup_identity_file.clone(),
            keep: config.backup_keep,
            pg_bin: config.pg_bin.clone(),
            signing_key: Secret::new(mac.finalize().into_bytes().to_vec()),
        }
    }

    /// The secret keys.
    ///
    /// # Errors
    /// None is set, or its file is not as it must be.
    pub fn identities(&self) -> Result<Identities, BackupError> {
        let file = self.identity_file.as_ref().ok_or_else(|| {
            BackupError::Setting(
                "BACKUP_IDENTITY_FILE is not set: to decrypt a backup, name the file with the secret age key".into(),
            )
        })?;
        Identities::read(file).map_err(|problem| BackupError::Setting(format!("BACKUP_IDENTITY_FILE: {problem}")))
    }

    /// The database that is backed up.
    ///
    /// # Errors
    /// A URL without one.
    pub fn database(&self) -> Result<String, BackupError> {
        tools::database_of(self.database_url.expose())
            .ok_or_else(|| BackupError::Setting("DATABASE_URL: names no database".into()))
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("a key of any length is fine")
}

/// What was done with a backup, for the audit.
fn entry(actor: Actor, action: &'static str, id: BackupId, outcome: &'static str) -> Entry {
    Entry { org: None, actor, action, subject_type: "backup", subject: id.0, outcome, detail: None }
}

/// Why there is no backup, or why it is none.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is not set up.
    #[error("{0}")]
    Setting(String),
    /// Another backup or drill of this database runs.
    #[error("another {0} of this database runs; wait for its end")]
    Busy(&'static str),
    /// The store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Encryption or decryption.
    #[error(transparent)]
    Seal(SealError),
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
    /// A program of Postgres.
    #[error("{0}")]
    Tool(String),
    /// The backup is not what its manifest says, or not a backup.
    #[error("{0}")]
    Wrong(String),
    /// Restored, it is not what was backed up.
    #[error("the restored database differs from the manifest: {0}")]
    Differs(String),
}

impl From<SealError> for BackupError {
    fn from(error: SealError) -> Self {
        match error {
            // That the store is full, or away, says nothing about what is sealed.
            SealError::Blob(error) => Self::Blob(error),
            other => Self::Seal(other),
        }
    }
}
