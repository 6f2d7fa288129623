//! Backups in the blob store: where they lie, and which there are. All of it works without a database.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde::Serialize;

use super::{BackupError, Manifest};
use crate::blobs::{BlobError, BlobKey};
use crate::context::Context;
use crate::ids::BackupId;

/// No manifest is longer; one of 10,000 tables has about a megabyte.
const LONGEST_MANIFEST: usize = 16 << 20;

/// A backup, or what lies in the place of one.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: BackupId,
    /// What it holds; none: it cannot be trusted, and `problem` says why.
    pub manifest: Option<Manifest>,
    /// Why it is no backup.
    pub problem: Option<String>,
}

/// The folder of a database's backups. Its name may have letters that keys may not.
pub(super) fn folder(ctx: &Context) -> Result<BlobKey, BackupError> {
    let name: String = ctx
        .backups
        .database()?
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                char::from(byte).to_string()
            } else {
                format!("-{byte:02x}")
            }
        })
        .collect();
    Ok(BlobKey::of(&["backups", &format!("db.{name}")])?)
}

/// The dump of a backup.
pub(super) fn dump_key(ctx: &Context, id: BackupId) -> Result<BlobKey, BackupError> {
    Ok(folder(ctx)?.join(&format!("{id}/dump.zst.age"))?)
}

/// Its manifest.
pub(super) fn manifest_key(ctx: &Context, id: BackupId) -> Result<BlobKey, BackupError> {
    Ok(folder(ctx)?.join(&format!("{id}/manifest.json"))?)
}

/// What blobs each id has: whether a dump, whether a manifest. Ids are in the order of time.
pub(super) async fn blobs_by_id(ctx: &Context) -> Result<BTreeMap<BackupId, (bool, bool)>, BackupError> {
    let folder = folder(ctx)?;
    let mut listed = ctx.blobs.list(&folder)?;
    let mut found = BTreeMap::<BackupId, (bool, bool)>::new();
    while let Some(blob) = listed.next().await {
        let blob = blob?;
        let within = blob.key.as_str().strip_prefix(folder.as_str()).unwrap_or_default().trim_start_matches('/');
        let Some((id, name)) = within.split_once('/') else { continue };
        let Ok(id) = id.parse() else { continue };
        let entry = found.entry(id).or_default();
        match name {
            "dump.zst.age" => entry.0 = true,
            "manifest.json" => entry.1 = true,
            _ => {}
        }
    }
    Ok(found)
}

/// The manifest of a backup, its signature checked.
pub(super) async fn manifest(ctx: &Context, id: BackupId) -> Result<Manifest, BackupError> {
    let text = match ctx.blobs.read_small(&manifest_key(ctx, id)?, LONGEST_MANIFEST).await {
        Err(BlobError::NotFound(_)) => {
            return Err(BackupError::Wrong(format!("there is no backup {id}: it has no manifest")));
        }
        other => other?,
    };
    Manifest::read(&text, id, &ctx.backups)
}

/// The backups of this database, the newest first. What has a manifest that is not valid is shown as no backup; what has
/// none is not shown at all.
///
/// # Errors
/// The store.
pub async fn list(ctx: &Context) -> Result<Vec<Listed>, BackupError> {
    let mut all = Vec::new();
    for (id, (has_dump, has_manifest)) in blobs_by_id(ctx).await?.into_iter().rev() {
        if !has_manifest {
            continue;
        }
        all.push(match manifest(ctx, id).await {
            Ok(_) if !has_dump => {
                Listed { id, manifest: None, problem: Some("its dump is not in the store (missing object)".into()) }
            }
            Ok(manifest) => Listed { id, manifest: Some(manifest), problem: None },
            Err(BackupError::Wrong(problem)) => Listed { id, manifest: None, problem: Some(problem) },
            Err(error) => return Err(error),
        });
    }
    Ok(all)
}

/// Removes a backup: the manifest first, so that what is left if this breaks off is no backup any more.
///
/// # Errors
/// The store.
pub async fn remove(ctx: &Context, id: BackupId) -> Result<(), BackupError> {
    ctx.blobs.delete(&manifest_key(ctx, id)?).await?;
    ctx.blobs.delete(&dump_key(ctx, id)?).await?;
    Ok(())
}
