//! Whether a backup is still what was written, down to its last byte; and if not, what happened to it.

use std::process::Stdio;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{BackupError, Manifest, store};
use crate::blobs::{BlobError, BlobReader, TAIL, hex};
use crate::context::Context;
use crate::ids::BackupId;
use crate::sealing::{Packing, SealedReader};
use crate::store::{Scope, backups};

/// How far a backup was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The backup.
    pub id: BackupId,
    /// Its bytes, all of which were read.
    pub bytes: u64,
    /// Whether it was also decrypted to its end, and read by pg_restore to its end.
    pub decrypted: bool,
}

/// Checks signature, size and SHA-256; with `decrypt` also that it can be decrypted to its end and that pg_restore
/// reads all of it: a pg_dump that stopped in the middle and said that all is well is found here.
///
/// # Errors
/// What is wrong with it.
pub async fn verify(ctx: &Context, id: BackupId, decrypt: bool) -> Result<Verified, BackupError> {
    let checked = async {
        let manifest = store::manifest(ctx, id).await?;
        whole(ctx, &manifest).await?;
        if decrypt {
            contents(ctx, &manifest).await?;
        }
        Ok(Verified { id, bytes: manifest.bytes, decrypted: decrypt })
    };
    let checked: Result<Verified, BackupError> = checked.await;
    note(ctx, id, checked.as_ref().err()).await;
    checked
}

/// Writes down that it is proven, or that it is so no longer. What is found is told also when Postgres is away.
async fn note(ctx: &Context, id: BackupId, problem: Option<&BackupError>) {
    let noted = async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        match problem {
            None => backups::verified(tx.conn(), id, now).await?,
            Some(problem) if problem.is_about_the_backup() => {
                backups::disproved(tx.conn(), id, &problem.to_string()).await?;
            }
            Some(_) => {}
        }
        tx.commit().await
    };
    if let Err(error) = noted.await {
        tracing::warn!(backup.id = %id, error = %error, "backup.verify: what was found could not be written down");
    }
}

impl BackupError {
    /// Whether it says that the backup is no good, and not that it could not be looked at.
    pub fn is_about_the_backup(&self) -> bool {
        use crate::sealing::SealError;
        match self {
            Self::Wrong(_) | Self::Differs(_) => true,
            Self::Seal(error) => matches!(error, SealError::Damaged(_)),
            Self::Blob(error) => matches!(error, BlobError::NotFound(_) | BlobError::Changed(_)),
            Self::Setting(_) | Self::Busy(_) | Self::Db(_) | Self::Tool(_) => false,
        }
    }
}

/// Reads all of the dump and compares it with the manifest.
pub(super) async fn whole(ctx: &Context, manifest: &Manifest) -> Result<(), BackupError> {
    let key = store::dump_key(ctx, manifest.id)?;
    let mut reader = match ctx.blobs.reader(&key, 0).await {
        Err(BlobError::NotFound(_)) => {
            return Err(BackupError::Wrong(format!(
                "the dump of {} is not in the store (missing object)",
                manifest.id
            )));
        }
        other => other?,
    };
    let bytes = reader.bytes();
    let sha256 = sha256_of_rest(&mut reader).await?;
    if sha256 == manifest.sha256 && bytes == manifest.bytes {
        return Ok(());
    }
    Err(BackupError::Wrong(diagnosis(ctx, manifest, bytes, &sha256).await?))
}

async fn sha256_of(ctx: &Context, id: BackupId) -> Result<String, BackupError> {
    Ok(sha256_of_rest(&mut ctx.blobs.reader(&store::dump_key(ctx, id)?, 0).await?).await?)
}

async fn sha256_of_rest(reader: &mut BlobReader) -> Result<String, BlobError> {
    let mut hash = Sha256::new();
    while let Some(piece) = reader.next().await? {
        hash.update(&piece);
    }
    Ok(hex(&hash.finalize()))
}

/// What happened to a dump that is not as it was.
async fn diagnosis(ctx: &Context, manifest: &Manifest, bytes: u64, sha256: &str) -> Result<String, BackupError> {
    let id = manifest.id;
    for other in store::list(ctx).await?.into_iter().filter_map(|listed| listed.manifest) {
        if other.sha256 == sha256 && other.id != id {
            let theirs = sha256_of(ctx, other.id).await.ok();
            let swapped = theirs.is_some_and(|theirs| theirs == manifest.sha256);
            let what = match (swapped, other.id < id) {
                (true, _) => "swapped object",
                (false, true) => "older object under the same name",
                (false, false) => "another object under the same name",
            };
            return Ok(format!(
                "the dump of {id} is that of backup {} of {} ({what})",
                other.id,
                other.seen.at.to_rfc3339()
            ));
        }
    }
    if bytes == manifest.bytes {
        return Ok(format!(
            "the dump of {id} has its size and other bytes: its SHA-256 is not that of the manifest (changed, as by a bit flip)"
        ));
    }
    if bytes > manifest.bytes {
        return Ok(format!(
            "the dump of {id} is {} bytes too long (another object, or something was added)",
            bytes - manifest.bytes
        ));
    }
    let missing = manifest.bytes - bytes;
    let start = bytes.saturating_sub(TAIL as u64);
    let mut reader = ctx.blobs.reader(&store::dump_key(ctx, id)?, start).await?;
    Ok(if sha256_of_rest(&mut reader).await? == manifest.tail_sha256 {
        format!("of the dump of {id} {missing} bytes are missing within: its end is there (missing part)")
    } else {
        format!("the dump of {id} is {missing} bytes too short: its end is missing (truncated)")
    })
}

/// Decrypts to the end, while pg_restore reads the table of contents.
async fn contents(ctx: &Context, manifest: &Manifest) -> Result<(), BackupError> {
    let mut reader = open(ctx, manifest).await?;
    let mut tool = ctx.backups.start("pg_restore", None, &["--file=/dev/null"], (Stdio::piped(), Stdio::null()))?;
    let mut stdin = tool.child.stdin.take();
    let mut bytes = 0_u64;
    while let Some(piece) = reader.next().await? {
        bytes += piece.len() as u64;
        if let Some(pipe) = &mut stdin
            && pipe.write_all(&piece).await.is_err()
        {
            stdin = None; // it has read what it wants
        }
    }
    drop(stdin);
    tool.ended()
        .await
        .map_err(|error| BackupError::Wrong(format!("the dump of {} cannot be read: {error}", manifest.id)))?;
    if bytes != manifest.plain_bytes {
        return Err(BackupError::Wrong(format!(
            "the dump of {} has {bytes} bytes, and {} were written",
            manifest.id, manifest.plain_bytes
        )));
    }
    Ok(())
}

/// The dump, decrypted.
pub(super) async fn open(ctx: &Context, manifest: &Manifest) -> Result<SealedReader, BackupError> {
    let blob = ctx.blobs.reader(&store::dump_key(ctx, manifest.id)?, 0).await?;
    Ok(SealedReader::start(blob, ctx.backups.identities()?, Packing::Zstd))
}
