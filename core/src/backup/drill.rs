//! Restoring a backup: into a scratch database, to see whether it can be done, or in earnest.

use std::process::Stdio;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::{BackupError, Manifest, entry, store, verify};
use crate::context::Context;
use crate::ids::BackupId;
use crate::store::audit::{self, Actor};
use crate::store::snapshot::{OwnConnection, TableContent};
use crate::store::{DbError, Scope, backups};

/// What a drill showed.
#[derive(Clone, Debug, Serialize)]
pub struct Drilled {
    /// The backup.
    pub id: BackupId,
    /// Tables, all of which were compared.
    pub tables: usize,
    /// Their rows.
    pub rows: i64,
    /// How long reading, decrypting and restoring took: a recovery takes at least as long.
    pub seconds: f64,
    /// The youngest time that a row has.
    pub newest_row_at: Option<DateTime<Utc>>,
    /// How old that was when the drill ended: so much would be lost.
    pub newest_row_age_seconds: Option<i64>,
}

/// Restores a backup into a scratch database of the same server, compares every table with the manifest, and drops it.
///
/// # Errors
/// What is wrong with the backup, or with the drill.
pub async fn drill(ctx: &Context, id: BackupId, actor: Actor) -> Result<Drilled, BackupError> {
    let mut server = OwnConnection::open(ctx.backups.database_url.expose(), None).await?;
    if !server.lock("pulsecal backup drill").await? {
        return Err(BackupError::Busy("drill"));
    }
    let begins = format!(
        "pulsecal_drill_{}_",
        &crate::blobs::hex(&<sha2::Sha256 as sha2::Digest>::digest(ctx.backups.database()?))[..8]
    );
    // The lock is held, so these are of drills that were killed.
    for left in server.databases_of(&begins).await? {
        tracing::warn!(database = left, "backup.drill: an earlier drill was killed; its scratch database is dropped");
        server.drop_database(&left).await?;
    }
    let scratch = format!("{begins}{}", ctx.ids.new_id::<BackupId>().0.simple());
    let mut guard = Scratch { ctx: ctx.clone(), name: scratch.clone(), dropped: false };
    let drilled = async {
        let manifest = store::manifest(ctx, id).await?;
        verify::whole(ctx, &manifest).await?;
        ctx.backups.identities()?;
        server.make_database(&scratch).await?;
        drill_into(ctx, &manifest, &scratch).await
    };
    let drilled: Result<Drilled, BackupError> = drilled.await;
    server.drop_database(&scratch).await?;
    guard.dropped = true;
    server.close().await;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    match &drilled {
        Ok(done) => backups::drilled(tx.conn(), id, done.seconds, done.newest_row_at, now).await?,
        Err(error) if error.is_about_the_backup() => backups::disproved(tx.conn(), id, &error.to_string()).await?,
        Err(_) => {}
    }
    let outcome = if drilled.is_ok() { "success" } else { "failed" };
    audit::write(tx.conn(), ctx.ids, &[entry(actor, "backup.drill", id, outcome)], now).await?;
    tx.commit().await?;
    drilled
}

/// The scratch database of a drill that is at work. If the drill is stopped before its end (cancelled, or out of time), it is
/// dropped all the same; of one that was killed, the next drill drops it.
struct Scratch {
    ctx: Context,
    name: String,
    dropped: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.dropped {
            return;
        }
        let (ctx, name) = (self.ctx.clone(), self.name.clone());
        runtime.spawn(async move {
            let gone = async {
                let mut server = OwnConnection::open(ctx.backups.database_url.expose(), None).await?;
                server.drop_database(&name).await?;
                server.close().await;
                Ok::<_, DbError>(())
            };
            if let Err(error) = gone.await {
                tracing::warn!(error = %error, "backup.drill: its scratch database could not be dropped; the next drill does it");
            }
        });
    }
}

async fn drill_into(ctx: &Context, manifest: &Manifest, scratch: &str) -> Result<Drilled, BackupError> {
    let began = tokio::time::Instant::now();
    load(ctx, manifest, scratch).await?;
    let seconds = began.elapsed().as_secs_f64();
    let newest_row_at = compare(ctx, manifest, scratch).await?;
    let now = ctx.clock.now();
    Ok(Drilled {
        id: manifest.id,
        tables: manifest.tables.len(),
        rows: manifest.rows(),
        seconds,
        newest_row_at,
        newest_row_age_seconds: newest_row_at.map(|at| (now - at).num_seconds()),
    })
}

/// Restores a backup into `database`, which is made if it is not there, and must have no tables if it is. What was restored
/// is compared with the manifest as in a drill.
///
/// # Errors
/// What is wrong with the backup or the database. Nothing is left in the database then, unless only the comparison failed.
pub async fn restore(ctx: &Context, id: BackupId, database: &str, actor: Actor) -> Result<Drilled, BackupError> {
    if database.is_empty()
        || database.len() > 63
        || !database.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        return Err(BackupError::Setting(
            "the name of the database may have letters, digits, '_' and '-' only, 63 at most".into(),
        ));
    }
    let manifest = store::manifest(ctx, id).await?;
    verify::whole(ctx, &manifest).await?;
    ctx.backups.identities()?;
    let url = ctx.backups.database_url.expose();
    // The database of DATABASE_URL may be the one that is gone.
    let mut server = match OwnConnection::open(url, None).await {
        Ok(server) => server,
        Err(_) => OwnConnection::open(url, Some("postgres")).await?,
    };
    if server.has_database(database).await? {
        let mut target = OwnConnection::open(url, Some(database)).await?;
        let tables = target.tables().await?;
        target.close().await;
        if !tables.is_empty() {
            return Err(BackupError::Setting(format!(
                "the database {database} has {} tables: a backup is restored into an empty one only; name another, or drop that one",
                tables.len()
            )));
        }
    } else {
        server.make_database(database).await?;
    }
    server.close().await;
    let restored = drill_into(ctx, &manifest, database).await;
    let outcome = if restored.is_ok() { "success" } else { "failed" };
    let noted = async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let now = tx.now();
        audit::write(tx.conn(), ctx.ids, &[entry(actor, "backup.restore", id, outcome)], now).await?;
        tx.commit().await
    };
    if noted.await.is_err() {
        tracing::warn!(backup.id = %id, "backup.restore: the database of DATABASE_URL is away, so no audit entry was written");
    }
    restored
}

/// pg_restore in one transaction. The last piece is given to it only when all of the dump was decrypted and checked, so that it
/// cannot commit what came before an error.
async fn load(ctx: &Context, manifest: &Manifest, database: &str) -> Result<(), BackupError> {
    ctx.backups.tool_version("pg_restore", manifest.seen.server_version).await?;
    let arguments = ["--format=custom", "--exit-on-error", "--single-transaction", "--no-owner"];
    let mut reader = verify::open(ctx, manifest).await?;
    let mut tool = ctx.backups.start("pg_restore", Some(database), &arguments, (Stdio::piped(), Stdio::null()))?;
    let mut stdin = tool.child.stdin.take().ok_or_else(|| BackupError::Tool("pg_restore has no input".into()))?;
    let mut held = None;
    loop {
        let next = match reader.next().await {
            Ok(next) => next,
            Err(error) => {
                tool.kill().await;
                return Err(error.into());
            }
        };
        let ended = next.is_none();
        if let Some(piece) = std::mem::replace(&mut held, next)
            && stdin.write_all(&piece).await.is_err()
        {
            break; // it ended, and says why
        }
        if ended {
            break;
        }
    }
    if reader.read().is_some_and(|read| read.sha256 != manifest.sha256) {
        tool.kill().await;
        return Err(BackupError::Wrong(format!("the dump of {} changed while it was read", manifest.id)));
    }
    drop(stdin);
    tool.ended().await
}

/// Every table there and in the manifest, its rows and its hash. Gives the youngest time in it.
async fn compare(ctx: &Context, manifest: &Manifest, database: &str) -> Result<Option<DateTime<Utc>>, BackupError> {
    let mut restored = OwnConnection::open(ctx.backups.database_url.expose(), Some(database)).await?;
    let hidden = restored.not_wholly_seen().await?;
    let found = restored.contents().await?;
    let newest = restored.newest_row(manifest.ended_at).await?;
    restored.close().await;
    if !hidden.is_empty() {
        return Err(BackupError::Differs(format!("row-level security hides rows of {}", hidden.join(", "))));
    }
    let problems = differences(&manifest.tables, &found);
    if problems.is_empty() { Ok(newest) } else { Err(BackupError::Differs(problems.join("; "))) }
}

/// At most ten of them, and how many more.
fn differences(wanted: &[TableContent], found: &[TableContent]) -> Vec<String> {
    let of = |all: &[TableContent], name: &str| all.iter().find(|table| table.name == name).cloned();
    let mut problems = Vec::new();
    for table in wanted {
        match of(found, &table.name) {
            None => problems.push(format!("{} is missing", table.name)),
            Some(other) if other.rows != table.rows => {
                problems.push(format!("{} has {} rows instead of {}", table.name, other.rows, table.rows));
            }
            Some(other) if other.hash != table.hash => {
                problems.push(format!("{} has other content in its {} rows", table.name, table.rows))
            }
            Some(_) => {}
        }
    }
    problems.extend(
        found
            .iter()
            .filter(|table| of(wanted, &table.name).is_none())
            .map(|table| format!("{} is too many", table.name)),
    );
    let more = problems.len().saturating_sub(10);
    problems.truncate(10);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named() {
        let table = |name: &str, rows, hash: &str| TableContent { name: name.into(), rows, hash: hash.into() };
        let wanted = [table("a", 1, "x"), table("b", 2, "x"), table("c", 3, "x"), table("d", 4, "x")];
        assert!(differences(&wanted, &wanted).is_empty());
        let found = [table("a", 1, "x"), table("b", 1, "x"), table("c", 3, "y"), table("e", 0, "0")];
        assert_eq!(
            differences(&wanted, &found),
            ["b has 1 rows instead of 2", "c has other content in its 3 rows", "d is missing", "e is too many"]
        );
    }
}
