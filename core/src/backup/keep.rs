//! Removing backups that the retention does not keep.

use std::collections::HashSet;

use super::retention::{Kept, to_remove};
use super::{BackupError, entry, store};
use crate::context::Context;
use crate::ids::BackupId;
use crate::store::audit::{self, Actor};
use crate::store::{Scope, backups};

/// Removes the backups that `BACKUP_KEEP` does not keep, one audit entry each, and says which. With `dry_run` it only says.
/// What is no valid backup is left for a person to look at.
///
/// # Errors
/// The store, or Postgres: without it nobody knows which are proven, and nothing is removed.
pub async fn keep(ctx: &Context, actor: Actor, dry_run: bool) -> Result<Vec<BackupId>, BackupError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let proven: HashSet<BackupId> = backups::proven(tx.conn()).await?.into_iter().collect();
    tx.commit().await?;
    let all: Vec<Kept> = store::list(ctx)
        .await?
        .into_iter()
        .filter_map(|listed| listed.manifest)
        .map(|manifest| Kept { id: manifest.id, at: manifest.seen.at, proven: proven.contains(&manifest.id) })
        .collect();
    let removed = to_remove(&all, ctx.backups.keep);
    for id in removed.iter().filter(|_| !dry_run) {
        // The entry first: what is not written down is not removed. Removing again does no harm.
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        backups::deleted(tx.conn(), *id).await?;
        audit::write(tx.conn(), ctx.ids, &[entry(actor, "backup.delete", *id, "success")], now).await?;
        tx.commit().await?;
        store::remove(ctx, *id).await?;
        tracing::info!(backup.id = %id, "backup.removed: the retention does not keep it");
    }
    Ok(removed)
}
