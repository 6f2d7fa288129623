//! `pulsecal backup`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use pulsecal_core::backup::{self, BackupError};
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ids::BackupId;
use pulsecal_core::process::{self, Failure};
use pulsecal_core::sealing::Identities;
use pulsecal_core::store::audit::Actor;
use serde_json::json;

use crate::output::Output;

/// Backups of the database. Ends with 0 when all is well, with 1 when it could not be done, with 2 when a backup is not what
/// it must be, with 3 when another backup or drill runs.
#[derive(Subcommand)]
pub enum Backup {
    /// Make one now, and read it back.
    Create,
    /// The backups in the store. The database is not asked, and may be gone.
    List,
    /// Read a backup whole, and compare it with its signed manifest; with a secret key also decrypt it.
    Verify {
        /// Which; without it, the newest.
        id: Option<BackupId>,
    },
    /// Restore a backup into a scratch database, compare each table, and drop it.
    Drill {
        /// Which; without it, the newest.
        id: Option<BackupId>,
    },
    /// Restore a backup into a database that is empty or not there yet.
    Restore {
        /// Which; without it, the newest.
        id: Option<BackupId>,
        /// The name of the database, on the server of DATABASE_URL.
        #[arg(long)]
        database: String,
    },
    /// Remove what BACKUP_KEEP does not keep.
    Prune {
        /// Only say which.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a pair of keys: the secret one goes to a file, the public one is printed.
    Keygen {
        /// The file, which must not be there.
        file: PathBuf,
    },
}

/// Runs `pulsecal backup`.
///
/// # Errors
/// What could not be done.
pub async fn run(what: Backup, out: Output) -> Result<ExitCode, Failure> {
    if let Backup::Keygen { file } = what {
        return keygen(&file, out);
    }
    match work(what, out).await? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(problem) => {
            let code = match &problem {
                BackupError::Busy(_) => 3,
                about if about.is_about_the_backup() || matches!(about, BackupError::Seal(_)) => 2,
                _ => 1,
            };
            if out.json {
                out.one(&json!({"problem": problem.to_string(), "exit": code}), "");
            }
            eprintln!("pulsecal: {problem}");
            Ok(ExitCode::from(code))
        }
    }
}

async fn work(what: Backup, out: Output) -> Result<Result<(), BackupError>, Failure> {
    let ctx = context()?;
    let actor = Actor::Operator { run: ctx.ids.new_id() };
    let done = async {
        match what {
            Backup::Create => {
                let made = backup::create(&ctx, actor).await?;
                backup::verify(&ctx, made.id, ctx.backups.identity_file.is_some()).await?;
                let said = format!(
                    "Backup {} is stored and was read back: {} tables, {} rows, {} bytes.",
                    made.id,
                    made.tables.len(),
                    made.rows(),
                    made.bytes
                );
                out.one(&made, &said);
            }
            Backup::List => {
                let rows: Vec<_> = backup::list(&ctx)
                    .await?
                    .into_iter()
                    .map(|listed| {
                        let manifest = listed.manifest.as_ref();
                        json!({"id": listed.id, "of": manifest.map(|m| m.seen.at), "bytes": manifest.map(|m| m.bytes), "tables": manifest.map(|m| m.tables.len()),
                            "rows": manifest.map(backup::Manifest::rows), "problem": listed.problem})
                    })
                    .collect();
                out.rows(&["id", "of", "bytes", "tables", "rows", "problem"], &rows);
            }
            Backup::Verify { id } => {
                let done =
                    backup::verify(&ctx, or_newest(&ctx, id).await?, ctx.backups.identity_file.is_some()).await?;
                let how = if done.decrypted {
                    "and decrypts to its end"
                } else {
                    "(not decrypted: BACKUP_IDENTITY_FILE is not set)"
                };
                out.one(&done, &format!("Backup {} is what was written, all {} bytes, {how}.", done.id, done.bytes));
            }
            Backup::Drill { id } => {
                let done = backup::drill(&ctx, or_newest(&ctx, id).await?, actor).await?;
                out.one(
                    &done,
                    &format!(
                        "Backup {} was restored in {:.1} s; all {} tables with {} rows are the same.",
                        done.id, done.seconds, done.tables, done.rows
                    ),
                );
            }
            Backup::Restore { id, database } => {
                let done = backup::restore(&ctx, or_newest(&ctx, id).await?, &database, actor).await?;
                out.one(&done, &format!("Backup {} is in the database {database}: {} tables, {} rows, each compared. Point DATABASE_URL at it.", done.id, done.tables, done.rows));
            }
            Backup::Prune { dry_run } => {
                let removed = backup::keep(&ctx, actor, dry_run).await?;
                let verb = if dry_run { "would be removed" } else { "removed" };
                out.one(&json!({"removed": removed, "dry_run": dry_run}), &format!("{} {verb}.", removed.len()));
            }
            Backup::Keygen { .. } => {}
        }
        Ok(())
    };
    Ok(done.await)
}

async fn or_newest(ctx: &Context, id: Option<BackupId>) -> Result<BackupId, BackupError> {
    if let Some(id) = id {
        return Ok(id);
    }
    let newest = backup::list(ctx).await?.into_iter().find(|listed| listed.manifest.is_some());
    newest.map(|listed| listed.id).ok_or_else(|| BackupError::Setting("there is no backup in the store".into()))
}

/// Manifests are signed with SECRET_KEY, so unlike for other commands it must be the real one.
fn context() -> Result<Context, Failure> {
    let lookup = |name: &'static str| {
        let set = std::env::var(name).ok().filter(|text| !text.is_empty());
        if name == "REDIS_URL" { set.or_else(|| Some("redis://127.0.0.1:1".to_owned())) } else { set }
    };
    let config = Config::read(&lookup).map_err(|problem| Failure::new(problem.to_string()))?;
    process::context(&config, "cli")
}

fn keygen(file: &PathBuf, out: Output) -> Result<ExitCode, Failure> {
    let keys = Identities::generate();
    let cannot = |error: std::io::Error| Failure::new(format!("cannot write {}: {error}", file.display()));
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(0o600).open(file).map_err(cannot)?;
    written.write_all(keys.to_file_text().as_bytes()).and_then(|()| written.sync_all()).map_err(cannot)?;
    let public = keys.recipients().ids().join(",");
    out.one(
        &json!({"recipient": public, "identity_file": file}),
        &format!(
            "{public}\nAdd it to BACKUP_RECIPIENT. Keep {} where the backups are not: without it nobody can read them.",
            file.display()
        ),
    );
    Ok(ExitCode::SUCCESS)
}
