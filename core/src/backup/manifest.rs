//! The manifest: what a backup holds, signed.

use chrono::{DateTime, Utc};
use hmac::Mac;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{BackupError, Backups, mac};
use crate::blobs::hex;
use crate::ids::BackupId;
use crate::store::snapshot::{Seen, TableContent};

/// The form of the text, and how tables are hashed. A backup of another form could not be compared.
pub(super) const FORM: u32 = 2;

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORM`].
    pub version: u32,
    /// The backup.
    pub id: BackupId,
    /// The database.
    pub database: String,
    /// The state that was backed up.
    pub seen: Seen,
    /// When the work began.
    pub started_at: DateTime<Utc>,
    /// When the dump was stored.
    pub ended_at: DateTime<Utc>,
    /// Bytes that pg_dump wrote.
    pub plain_bytes: u64,
    /// Bytes after zstd.
    pub packed_bytes: u64,
    /// Bytes of the blob.
    pub bytes: u64,
    /// SHA-256 of the blob, in hex.
    pub sha256: String,
    /// SHA-256 of its last [`crate::blobs::TAIL`] bytes: by it a cut is told from a hole.
    pub tail_sha256: String,
    /// Rows and hash of every table, as the dump's snapshot has them.
    pub tables: Vec<TableContent>,
    /// The public keys that it is encrypted for.
    pub recipients: Vec<String>,
    /// What wrote it.
    pub tools: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    /// HMAC-SHA256 over the text of the manifest, byte for byte.
    signature: String,
    manifest: Box<RawValue>,
}

impl Manifest {
    /// Rows of all tables.
    pub fn rows(&self) -> i64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// As it is stored.
    ///
    /// # Errors
    /// None in practice: all of it serializes.
    pub(super) fn signed(&self, backups: &Backups) -> Result<Vec<u8>, BackupError> {
        let wrong = |error: serde_json::Error| BackupError::Wrong(format!("the manifest does not serialize: {error}"));
        let manifest = serde_json::value::to_raw_value(self).map_err(wrong)?;
        let mut mac = mac(backups.signing_key.expose());
        mac.update(manifest.get().as_bytes());
        let signed = Signed { signature: hex(&mac.finalize().into_bytes()), manifest };
        serde_json::to_vec(&signed).map_err(wrong)
    }

    /// The manifest of `id`, its signature checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &[u8], id: BackupId, backups: &Backups) -> Result<Self, BackupError> {
        let signed: Signed = serde_json::from_slice(text).map_err(|_| {
            BackupError::Wrong(format!("the manifest of {id} is damaged: it is not the JSON that was written"))
        })?;
        let mut mac = mac(backups.signing_key.expose());
        mac.update(signed.manifest.get().as_bytes());
        let signature: Vec<u8> = (0..signed.signature.len() / 2)
            .filter_map(|i| u8::from_str_radix(signed.signature.get(2 * i..2 * i + 2)?, 16).ok())
            .collect();
        mac.verify_slice(&signature).map_err(|_| {
            BackupError::Wrong(format!(
                "the signature of the manifest of {id} is wrong: it was changed, or signed with another SECRET_KEY"
            ))
        })?;
        let manifest: Self = serde_json::from_str(signed.manifest.get())
            .map_err(|error| BackupError::Wrong(format!("the manifest of {id} is of another release: {error}")))?;
        if manifest.version != FORM {
            return Err(BackupError::Wrong(format!(
                "the manifest of {id} is of another release: its form is {}, and this one reads {FORM}",
                manifest.version
            )));
        }
        if manifest.id != id {
            return Err(BackupError::Wrong(format!(
                "under the name of {id} lies the manifest of backup {}",
                manifest.id
            )));
        }
        Ok(manifest)
    }
}
