//! Where signed heads are kept: in the blob store, each under the time it was made, never written twice.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;

use crate::audit::head::{HeadError, Heads, superfluous};
use crate::blobs::{BlobError, BlobKey};
use crate::context::Context;
use crate::store::audit::chain::{self, Head};
use crate::store::{DbError, Scope};

/// The folder of the heads.
const FOLDER: &str = "audit/heads";
/// No document of heads is longer, in bytes: some 100,000 organizations.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;
/// So many documents are looked at, the newest of them.
const MOST_HEADS: usize = 5_000;

/// Why heads cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The blob store.
    #[error("the blob store: {0}")]
    Blobs(#[from] BlobError),
    /// A document that is not ours.
    #[error("{0}: {1}")]
    Head(String, HeadError),
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// How far the chains are now.
///
/// # Errors
/// Postgres.
pub async fn chains(ctx: &Context) -> Result<Vec<Head>, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let heads = chain::heads(tx.conn()).await?;
    tx.commit().await?;
    Ok(heads)
}

/// Signs how far the chains are and puts the document into the blob store. Says under which name.
///
/// # Errors
/// The blob store.
pub async fn put(ctx: &Context, chains: Vec<Head>) -> Result<String, KeepError> {
    let heads = ctx.head_key.sign(chains, ctx.clock.now());
    let key = key(&heads.name())?;
    // Two schedulers at the same millisecond say the same.
    let text = serde_json::to_vec(&heads)
        .map_err(|error| KeepError::Head(key.to_string(), HeadError::Unreadable(error.to_string())))?;
    let mut writer = match ctx.blobs.create(&key).await {
        Err(BlobError::Exists(_)) => return Ok(key.to_string()),
        other => other?,
    };
    writer.write(text.into()).await?;
    writer.finish().await?;
    Ok(key.to_string())
}

/// The heads in the blob store, from old to new. Each was signed by this `SECRET_KEY`.
///
/// # Errors
/// The blob store, or a document that was changed or is signed otherwise.
pub async fn all(ctx: &Context) -> Result<Vec<Heads>, KeepError> {
    let times = times(ctx).await?;
    let mut heads = Vec::new();
    for (_, key) in times.iter().rev().take(MOST_HEADS).rev() {
        let text = ctx.blobs.read_small(key, MOST_BYTES).await?;
        heads.push(ctx.head_key.read(&text).map_err(|error| KeepError::Head(key.to_string(), error))?);
    }
    Ok(heads)
}

/// Removes heads that newer ones make superfluous. Says how many.
///
/// # Errors
/// The blob store; one that keeps objects for a set time refuses, which does no harm.
pub async fn thin(ctx: &Context) -> Result<usize, KeepError> {
    let kept = times(ctx).await?;
    let times: Vec<DateTime<Utc>> = kept.iter().map(|(at, _)| *at).collect();
    let gone = superfluous(&times, ctx.clock.now());
    for at in &gone {
        if let Some((_, key)) = kept.iter().find(|(time, _)| time == at) {
            ctx.blobs.delete(key).await?;
        }
    }
    Ok(gone.len())
}

/// The documents' times and names, from old to new.
async fn times(ctx: &Context) -> Result<Vec<(DateTime<Utc>, BlobKey)>, KeepError> {
    let mut found = Vec::new();
    let mut listed = ctx.blobs.list(&FOLDER.parse()?)?;
    while let Some(info) = listed.try_next().await? {
        let name = info.key.name();
        found.extend(Heads::time_of(name).map(|at| (at, info.key.clone())));
    }
    found.sort_by_key(|one| one.0);
    Ok(found)
}

fn key(name: &str) -> Result<BlobKey, BlobError> {
    format!("{FOLDER}/{name}").parse()
}
