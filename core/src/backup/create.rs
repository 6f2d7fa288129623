//! Making a backup.

use std::process::Stdio;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::manifest::{FORM, Manifest};
use super::{BackupError, entry, store};
use crate::context::Context;
use crate::ids::BackupId;
use crate::sealing::{Packing, Recipients, Sealed, SealedWriter};
use crate::store::audit::{self, Actor};
use crate::store::backups::{self, Size};
use crate::store::snapshot::{OwnConnection, Seen};
use crate::store::{DbError, Scope};

/// Read from pg_dump at once.
const PIECE: usize = 256 << 10;

/// Makes a backup of the database of `DATABASE_URL`, and says what it holds. Whatever goes wrong, there is no backup then;
/// what is left of a run that was killed is removed by the next one.
///
/// # Errors
/// What is not set up, what failed, or another that runs.
pub async fn create(ctx: &Context, actor: Actor) -> Result<Manifest, BackupError> {
    let recipients = ctx.backups.recipients.clone().ok_or_else(|| {
        BackupError::Setting("BACKUP_RECIPIENT is not set: without a public age key there are no backups; `pulsecal backup keygen` makes one".into())
    })?;
    let database = ctx.backups.database()?;
    let mut source = OwnConnection::open(ctx.backups.database_url.expose(), None).await?;
    if !source.lock("pulsecal backup").await? {
        return Err(BackupError::Busy("backup"));
    }
    let id: BackupId = ctx.ids.new_id();
    clear_up(ctx, id, actor).await?;
    let started_at = ctx.clock.now();
    let mut tx = ctx.begin(Scope::Platform).await?;
    backups::begin(tx.conn(), id, &database, started_at).await?;
    tx.commit().await?;
    let mut run = Run { ctx: ctx.clone(), id, actor, over: false };
    let made = make(ctx, id, &database, &mut source, recipients).await;
    run.over = true;
    match &made {
        Ok(manifest) => record(ctx, manifest, actor).await?,
        // If Postgres is away, the next run says it; this one says what came first.
        Err(error) => {
            if let Err(away) = failed(ctx, id, actor, &error.to_string()).await {
                tracing::warn!(backup.id = %id, error = %away, "backup.failed: could not be written down; the next run does it");
            }
        }
    }
    source.close().await;
    made
}

/// A run that is at work. Dropped before its end (it was cancelled, or is out of time, or its worker stops), it is put on
/// record as failed; what it wrote goes by itself.
struct Run {
    ctx: Context,
    id: BackupId,
    actor: Actor,
    over: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.over {
            return;
        }
        let (ctx, id, actor) = (self.ctx.clone(), self.id, self.actor);
        runtime.spawn(async move {
            if let Err(away) = failed(&ctx, id, actor, "it was stopped before its end: cancelled, or out of time").await {
                tracing::warn!(backup.id = %id, error = %away, "backup.stopped: could not be written down; the next run does it");
            }
        });
    }
}

async fn failed(ctx: &Context, id: BackupId, actor: Actor, problem: &str) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    backups::failed(tx.conn(), id, problem, now).await?;
    audit::write(tx.conn(), ctx.ids, &[entry(actor, "backup.create", id, "failed")], now).await?;
    tx.commit().await
}

/// What runs that were killed have left. The lock is held, so nobody writes there.
async fn clear_up(ctx: &Context, but: BackupId, actor: Actor) -> Result<(), BackupError> {
    let swept = ctx
        .blobs
        .sweep_unfinished(&store::folder(ctx)?, Duration::ZERO, ctx.clock.now() + chrono::TimeDelta::minutes(5))
        .await?;
    let mut dumps = 0;
    for (id, (_, has_manifest)) in store::blobs_by_id(ctx).await? {
        if !has_manifest {
            store::remove(ctx, id).await?;
            dumps += 1;
        }
    }
    if swept + dumps > 0 {
        tracing::warn!(uploads = swept, dumps, "backup.swept: an earlier run was killed; what it left is removed");
    }
    let mut tx = ctx.begin(Scope::Platform).await?;
    let left = backups::running(tx.conn(), but).await?;
    tx.commit().await?;
    for id in left {
        // The last step of a run is its row. If only that is missing, it is a backup all the same.
        match store::manifest(ctx, id).await {
            Ok(manifest) => record(ctx, &manifest, actor).await?,
            Err(BackupError::Wrong(_)) => {
                let mut tx = ctx.begin(Scope::Platform).await?;
                backups::failed(tx.conn(), id, "its process ended before it did", ctx.clock.now()).await?;
                tx.commit().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn record(ctx: &Context, manifest: &Manifest, actor: Actor) -> Result<(), BackupError> {
    let size = Size {
        bytes: i64::try_from(manifest.bytes).unwrap_or(i64::MAX),
        tables: i32::try_from(manifest.tables.len()).unwrap_or(i32::MAX),
        rows: manifest.rows(),
    };
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    backups::succeeded(tx.conn(), manifest.id, &manifest.database, manifest.started_at, size, now).await?;
    audit::write(tx.conn(), ctx.ids, &[entry(actor, "backup.create", manifest.id, "success")], now).await?;
    tx.commit().await?;
    Ok(())
}

async fn make(
    ctx: &Context,
    id: BackupId,
    database: &str,
    source: &mut OwnConnection,
    recipients: Recipients,
) -> Result<Manifest, BackupError> {
    let version = source.server_version().await?;
    let pg_dump = ctx.backups.tool_version("pg_dump", version).await?;
    let hidden = source.not_wholly_seen().await?;
    if !hidden.is_empty() {
        return Err(BackupError::Setting(format!(
            "row-level security may hide rows of {} from the login of DATABASE_URL, so a dump would miss them: give it a policy that lets every row pass",
            hidden.join(", ")
        )));
    }
    let started_at = ctx.clock.now();
    let seen = source.see().await?;
    let counted = async { source.contents().await.map_err(BackupError::from) };
    let (sealed, tables) = tokio::try_join!(dump(ctx, id, database, &seen, recipients.clone()), counted)?;
    let manifest = Manifest {
        version: FORM,
        id,
        database: database.to_owned(),
        seen,
        started_at,
        ended_at: ctx.clock.now(),
        plain_bytes: sealed.plain_bytes,
        packed_bytes: sealed.packed_bytes,
        bytes: sealed.written.bytes,
        sha256: sealed.written.sha256,
        tail_sha256: sealed.written.tail_sha256,
        tables,
        recipients: recipients.ids(),
        tools: vec![
            format!("pulsecal {}", env!("CARGO_PKG_VERSION")),
            pg_dump,
            "zstd 3".into(),
            "age v1 X25519".into(),
        ],
    };
    check_size(&manifest)?;
    let mut writer = ctx.blobs.create(&store::manifest_key(ctx, id)?).await?;
    writer.write(manifest.signed(&ctx.backups)?.into()).await?;
    writer.finish().await?;
    Ok(manifest)
}

/// A dump of tables with rows cannot be empty, whatever pg_dump says of itself.
fn check_size(manifest: &Manifest) -> Result<(), BackupError> {
    let least = u64::try_from(manifest.rows()).unwrap_or(0);
    if manifest.plain_bytes < 1024 || manifest.plain_bytes < least {
        return Err(BackupError::Tool(format!(
            "pg_dump wrote {} bytes for {least} rows: that is no dump",
            manifest.plain_bytes
        )));
    }
    Ok(())
}

async fn dump(
    ctx: &Context,
    id: BackupId,
    database: &str,
    seen: &Seen,
    recipients: Recipients,
) -> Result<Sealed, BackupError> {
    let blob = ctx.blobs.create(&store::dump_key(ctx, id)?).await?;
    let mut writer = SealedWriter::start(blob, recipients, Packing::Zstd);
    let snapshot = format!("--snapshot={}", seen.snapshot);
    let arguments = ["--format=custom", "--compress=0", "--no-owner", "--enable-row-security", &snapshot];
    let mut tool = ctx.backups.start("pg_dump", Some(database), &arguments, (Stdio::null(), Stdio::piped()))?;
    let piped = async {
        let mut stdout = tool.child.stdout.take().ok_or_else(|| BackupError::Tool("pg_dump has no output".into()))?;
        let mut piece = BytesMut::with_capacity(PIECE);
        loop {
            piece.reserve(PIECE);
            let read =
                stdout.read_buf(&mut piece).await.map_err(|error| BackupError::Tool(format!("pg_dump: {error}")))?;
            if read == 0 || piece.len() >= PIECE / 2 {
                let full: Bytes = piece.split().freeze();
                if !full.is_empty() {
                    writer.write(full).await?;
                }
            }
            if read == 0 {
                return Ok::<_, BackupError>(());
            }
        }
    };
    if let Err(error) = piped.await {
        tool.kill().await;
        writer.abort().await;
        return Err(error);
    }
    if let Err(error) = tool.ended().await {
        writer.abort().await;
        return Err(error);
    }
    Ok(writer.finish().await?)
}
