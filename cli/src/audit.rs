//! `pulsecal audit`: seal, verify, export, roll up.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{Days, NaiveDate};
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use pulsecal_core::audit::head::Heads;
use pulsecal_core::audit::link::hex;
use pulsecal_core::audit::verify::{self, Verified, What, Wrong};
use pulsecal_core::audit::{keep, seal};
use pulsecal_core::context::Context;
use pulsecal_core::ids::OrgId;
use pulsecal_core::process::Failure;
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::chain::{self, EntryRow};
use pulsecal_core::store::audit::{self as entries, Entry, rollup};
use serde_json::json;
use uuid::Uuid;

use crate::output::{Output, say};
use crate::setup::{context, db, operator};

/// Could not be checked.
const NOT_CHECKED: u8 = 2;
/// So many differences are shown.
const MOST_DIFFERENCES: i64 = 100;

/// The audit entries.
#[derive(Subcommand)]
pub enum Audit {
    /// Compute every chain anew, and name the first entry that was changed, removed, inserted or swapped.
    ///
    /// Ends with 0 when all is as it was sealed, with 1 when something is not, with 2 when it could not be checked. Only signed
    /// heads show that the end of a chain was cut off, or that all of it was written anew: give --against.
    Verify(VerifyArgs),
    /// Write the chains as lines of JSON to standard output, for a verifier of others.
    Export {
        /// Only this organization; the nil id: the platform's own.
        #[arg(long)]
        org: Option<Uuid>,
    },
    /// Seal what can be sealed now, and write a signed head. Schedulers do it by themselves.
    Seal,
    /// Bring the counts by hour and day up to date, count days anew, or compare counts with entries.
    Rollup(RollupArgs),
}

/// What to verify.
#[derive(Args)]
pub struct VerifyArgs {
    /// Only this organization; the nil id: the platform's own.
    #[arg(long)]
    org: Option<Uuid>,
    /// From this number of the chain on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    from: i64,
    /// A file of signed heads, or `newest`: all heads in the blob store. Needs the SECRET_KEY under which they were signed.
    #[arg(long, value_name = "FILE|newest")]
    against: Option<String>,
}

/// What to count.
#[derive(Args)]
pub struct RollupArgs {
    /// Count anew from this day (UTC) on …
    #[arg(long, requires = "to")]
    from: Option<NaiveDate>,
    /// … until the day before this one.
    #[arg(long, requires = "from")]
    to: Option<NaiveDate>,
    /// Change nothing: compare the counts with one GROUP BY, of all days or of --from to --to. Ends with 1 when they differ.
    #[arg(long)]
    check: bool,
}

/// Runs `pulsecal audit`.
///
/// # Errors
/// Postgres; files that cannot be read or written.
pub async fn run(what: Audit, out: Output) -> Result<ExitCode, Failure> {
    match what {
        Audit::Verify(args) => Ok(match verify(&args, out).await {
            Ok(code) => code,
            Err(problem) => {
                eprintln!("pulsecal: not checked: {problem}");
                ExitCode::from(NOT_CHECKED)
            }
        }),
        Audit::Export { org } => export(&context()?, org).await.map(|()| ExitCode::SUCCESS),
        Audit::Seal => seal_now(&context()?, out).await.map(|()| ExitCode::SUCCESS),
        Audit::Rollup(args) => roll_up(&context()?, &args, out).await,
    }
}

async fn verify(args: &VerifyArgs, out: Output) -> Result<ExitCode, Failure> {
    let ctx = context()?;
    let heads = match args.against.as_deref() {
        None => Vec::new(),
        Some(_) if std::env::var_os("SECRET_KEY").is_none_or(|key| key.is_empty()) => {
            return Err(Failure::new("SECRET_KEY: is not set, and without it no signature can be checked"));
        }
        Some("newest") => {
            let all = keep::all(&ctx).await.map_err(|error| Failure::new(error.to_string()))?;
            if all.is_empty() {
                return Err(Failure::new("--against: there are no signed heads in the blob store"));
            }
            all
        }
        Some(file) => vec![read_heads(&ctx, Path::new(file))?],
    };
    let verified = verify::verify(&ctx, What { org: args.org, from: args.from }, &heads).await.map_err(db)?;
    if args.org.is_some() && verified.chains == 0 && verified.findings.is_empty() {
        return Err(Failure::new("--org: there is no chain of this organization"));
    }
    show(&verified, out);
    Ok(if verified.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_heads(ctx: &Context, file: &Path) -> Result<Heads, Failure> {
    let problem = |what: &dyn std::fmt::Display| Failure::new(format!("--against {}: {what}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| problem(&error))?.len();
    if size > keep::MOST_BYTES as u64 {
        return Err(problem(&"is too long for signed heads"));
    }
    let text = std::fs::read(PathBuf::from(file)).map_err(|error| problem(&error))?;
    ctx.head_key.read(&text).map_err(|error| problem(&error))
}

fn show(verified: &Verified, out: Output) {
    if out.json {
        out.one(verified, "");
        return;
    }
    say(&format!("{} entries in {} chains, {} signed heads", verified.links, verified.chains, verified.heads));
    for finding in &verified.findings {
        let what = match finding.wrong {
            Wrong::Changed => "was changed",
            Wrong::Removed => "was removed",
            Wrong::Inserted => "was inserted before it",
            Wrong::Swapped => "stands in another's place",
            Wrong::Truncated => "and what follows was cut off",
            Wrong::Rewritten => "or a later one was written anew, with all that follows",
        };
        let entry = finding.entry.map_or_else(String::new, |id| format!(" (entry {id})"));
        say(&format!("chain {}: number {} {what}{entry}", finding.org, finding.seq));
    }
    if verified.findings.is_empty() {
        say("All is as it was sealed.");
    }
}

/// One line for each link, then one for each entry that is in no chain yet.
async fn export(ctx: &Context, org: Option<Uuid>) -> Result<(), Failure> {
    let mut tx = ctx.begin(Scope::Batch).await.map_err(db)?;
    let mut to = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut line = |value: serde_json::Value| match writeln!(to, "{value}") {
        Ok(()) => Ok(()),
        Err(error) => Err(Failure::new(format!("standard output: {error}"))),
    };
    for head in chain::heads(tx.conn()).await.map_err(db)? {
        if org.is_some_and(|org| org != head.org) {
            continue;
        }
        let mut links = std::pin::pin!(chain::links(tx.conn(), head.org, 1, head.seq));
        while let Some(link) = links.try_next().await.map_err(db)? {
            line(json!({"chain": head.org, "seq": link.seq, "hash": hex(&link.hash), "entry_id": link.entry_id,
                "entry": link.entry.as_ref().map(entry_json)}))?;
        }
    }
    let mut loose = std::pin::pin!(chain::loose(tx.conn(), org));
    while let Some(entry) = loose.try_next().await.map_err(db)? {
        line(json!({"chain": entry.org_id.unwrap_or_default(), "seq": null, "entry": entry_json(&entry)}))?;
    }
    to.flush().map_err(|error| Failure::new(format!("standard output: {error}")))
}

/// Times in microseconds since 1970, the detail as text: what the hash covers, exactly.
fn entry_json(entry: &EntryRow) -> serde_json::Value {
    json!({"id": entry.id, "xid": entry.xid, "org_id": entry.org_id, "at": entry.at.timestamp_micros(), "actor_kind": entry.actor_kind,
        "actor_id": entry.actor_id, "role": entry.role, "action": entry.action, "subject_type": entry.subject_type,
        "subject_id": entry.subject_id, "outcome": entry.outcome, "request_id": entry.request_id, "detail": entry.detail})
}

async fn seal_now(ctx: &Context, out: Output) -> Result<(), Failure> {
    let sealed = seal::seal_all(ctx).await.map_err(db)?;
    let tail = seal::tail(ctx).await.map_err(db)?;
    let head = if ctx.blobs.is_set() && std::env::var_os("SECRET_KEY").is_some_and(|key| !key.is_empty()) {
        let chains = keep::chains(ctx).await.map_err(db)?;
        Some(keep::put(ctx, chains).await.map_err(|error| Failure::new(error.to_string()))?)
    } else {
        None
    };
    let said = head.as_ref().map_or_else(
        || "No signed head was written: that needs BLOB_URL and SECRET_KEY.".to_owned(),
        |name| format!("The signed head is {name}."),
    );
    out.one(
        &json!({"sealed": sealed, "unsealed": tail.entries, "head": head}),
        &format!("{sealed} entries sealed, {} not yet. {said}", tail.entries),
    );
    Ok(())
}

async fn roll_up(ctx: &Context, args: &RollupArgs, out: Output) -> Result<ExitCode, Failure> {
    let range = args.from.zip(args.to);
    if range.is_some_and(|(from, to)| from >= to) {
        return Err(Failure::new("--to: must be after --from"));
    }
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let now = tx.now();
    if args.check {
        let (from, to) = range.unwrap_or((first_day(), now.date_naive() + Days::new(366)));
        let found = rollup::differences(tx.conn(), from, to, MOST_DIFFERENCES).await.map_err(db)?;
        out.rows(&["grain", "starts", "org", "action", "role", "outcome", "entries", "counted"], &found);
        return Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let counted = match range {
        None => rollup::advance(tx.conn(), now).await.map_err(db)?,
        Some((from, to)) => {
            let counted = rollup::replace(tx.conn(), from, to).await.map_err(db)?;
            let entry = Entry {
                org: None,
                actor: operator(),
                action: "audit_rollup.replaced",
                subject_type: "audit_rollup",
                subject: tx.new_id::<OrgId>().0,
                outcome: "success",
                detail: Some(json!({"from": from, "to": to, "entries": counted.entries})),
            };
            entries::write(tx.conn(), ctx.ids, &[entry], now).await.map_err(db)?;
            counted
        }
    };
    tx.commit().await.map_err(db)?;
    out.one(&counted, &format!("{} entries counted.", counted.entries));
    Ok(ExitCode::SUCCESS)
}

/// Before any entry.
fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or(NaiveDate::MIN)
}
