//! `pulsecal import`: files of others.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use pulsecal_core::context::Context;
use pulsecal_core::fhir::{self, Effect, Entry, Limits, Problem, Record};
use pulsecal_core::ids::OrgId;
use pulsecal_core::imports::{self, NotStored, Target};
use pulsecal_core::ledger::NewJob;
use pulsecal_core::process::Failure;
use pulsecal_core::store::Scope;
use pulsecal_core::store::organizations::{self, OrganizationRow};
use pulsecal_core::store::reminders;
use pulsecal_core::time::Zone;
use pulsecal_jobs::AppointmentMail;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::output::{Output, say};
use crate::setup::{context, db, operator};

/// What to read.
#[derive(Subcommand)]
pub enum Import {
    /// FHIR R4: a Bundle, or NDJSON with one resource a line. What is not understood is listed; the rest goes in. Importing
    /// again changes what changed and doubles nothing. Ends with 0, or with 3 when something was left out.
    Fhir {
        /// The file.
        file: PathBuf,
        /// Into this organization; when there is just one, it is taken; when there is none, the file's first is made.
        #[arg(long)]
        org: Option<String>,
        /// Into the organization of this name; it is made, in the zone of --zone, when there is none.
        #[arg(long, conflicts_with = "org")]
        new_org: Option<String>,
        /// The system that gave the ids, if you import from several.
        #[arg(long, default_value = "fhir")]
        source: String,
        /// The zone of an organization that the file makes, if the file does not say.
        #[arg(long)]
        zone: Option<String>,
        /// Send no mail about visits that were moved or called off since the last import. Reminders are planned all the same.
        #[arg(long)]
        quietly: bool,
    },
}

#[derive(Serialize)]
struct Line {
    effect: &'static str,
    resource: String,
    path: String,
    reason: String,
}

impl From<&Problem> for Line {
    fn from(problem: &Problem) -> Self {
        let effect = match problem.effect {
            Effect::Stopped => "stopped",
            Effect::Skipped => "skipped",
            Effect::Partial => "partial",
        };
        Self { effect, resource: problem.resource.clone(), path: problem.path.clone(), reason: problem.reason.clone() }
    }
}

/// Runs `pulsecal import`.
///
/// # Errors
/// A file that cannot be opened, an organization that there is not, Postgres.
pub async fn run(what: Import, out: Output) -> Result<ExitCode, Failure> {
    let Import::Fhir { file, org, new_org, source, zone, quietly } = what;
    let opened = File::open(&file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    let zone =
        zone.map(|name| name.parse::<Zone>().map_err(|error| Failure::new(format!("--zone: {error}")))).transpose()?;
    let ctx = context()?;
    let into = |org| Target { org, source: source.clone(), by: operator(), tell: !quietly };
    let mut target = match new_org {
        Some(name) => Some(organization_named(&ctx, name, zone).await?),
        None => find_organization(&ctx, org.as_deref()).await?,
    }
    .map(into);

    // Reading blocks, storing does not; a bounded channel keeps what is in between small.
    let (send, mut entries) = mpsc::channel(64);
    let reading = tokio::task::spawn_blocking(move || {
        let mut reader = fhir::read(BufReader::with_capacity(1 << 16, opened), Limits::default());
        for entry in reader.by_ref() {
            if send.blocking_send(entry).is_err() {
                break;
            }
        }
        reader.ignored().clone()
    });
    let (mut stored, mut left_out, mut stopped) =
        (std::collections::BTreeMap::<&str, u64>::new(), Vec::<Line>::new(), false);
    while let Some(entry) = entries.recv().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(problem) => {
                stopped |= problem.effect == Effect::Stopped;
                left_out.push(Line::from(&problem));
                continue;
            }
        };
        let resource = format!("{}/{}", entry.record.kind().as_str(), entry.record.source_id().as_str());
        let line = |effect, reason: String| Line { effect, resource: resource.clone(), path: String::new(), reason };
        if target.is_none() {
            target = match &entry.record {
                Record::Organization(_) => Some(into(make_organization(&ctx, &entry, zone).await?)),
                _ => {
                    return Err(Failure::new(
                        "there is no organization yet, and this file has none: make one with --new-org NAME --zone ZONE",
                    ));
                }
            };
        }
        let Some(target) = &target else { continue };
        left_out.extend(entry.notes.iter().map(Line::from));
        if matches!(entry.record, Record::Organization(_)) && *stored.get("Organization").unwrap_or(&0) > 0 {
            left_out.push(line("skipped", "another organization; everything of this file goes into one".into()));
            continue;
        }
        match imports::store(&ctx, target, &entry, AppointmentMail::make).await {
            Ok(note) => {
                *stored.entry(entry.record.kind().as_str()).or_default() += 1;
                left_out.extend(note.map(|reason| line("partial", reason)));
            }
            Err(NotStored::Missing(reason)) => left_out.push(line("skipped", reason)),
            Err(NotStored::Refused(reason)) => left_out.push(line("skipped", reason.to_owned())),
            Err(NotStored::Db(error)) => return Err(db(error)),
        }
    }
    if let Some(target) = target.as_ref().filter(|_| !stored.is_empty()) {
        let plan = NewJob::of(&pulsecal_jobs::MaterialiseDoses {}).map_err(|error| Failure::new(error.to_string()))?;
        let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
        reminders::plan_soon(&mut tx, target.org, plan).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
    }
    let ignored = reading.await.map_err(|error| Failure::new(format!("reading the file failed: {error}")))?;
    if out.json {
        out.one(&json!({"stored": stored, "left_out": left_out, "not_used": ignored, "organization": target.map(|target| target.org)}), "");
    } else {
        for (kind, count) in &stored {
            say(&format!("{count:>8}  {kind}"));
        }
        if !ignored.is_empty() {
            let all = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
            say(&format!("Not used by PulseCal: {all}"));
        }
        if !left_out.is_empty() {
            say("\nNot understood:");
            out.rows(&["effect", "resource", "path", "reason"], &left_out);
        }
    }
    Ok(match (stopped, left_out.is_empty()) {
        (true, _) => ExitCode::FAILURE,
        (false, false) => ExitCode::from(3),
        (false, true) => ExitCode::SUCCESS,
    })
}

async fn find_organization(ctx: &Context, wanted: Option<&str>) -> Result<Option<OrgId>, Failure> {
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let all = organizations::all(tx.conn()).await.map_err(db)?;
    let org = match wanted {
        Some(text) => {
            let id = OrgId::from_str(text).map_err(|_| Failure::new("--org: is no id"))?;
            Some(
                all.iter()
                    .find(|row| row.id == id)
                    .ok_or_else(|| Failure::new("--org: there is no such organization"))?
                    .id,
            )
        }
        None if all.len() > 1 => return Err(Failure::new("there are several organizations: say which with --org")),
        None => all.first().map(|row| row.id),
    };
    Ok(org)
}

async fn make_organization(ctx: &Context, entry: &Entry, fallback: Option<Zone>) -> Result<OrgId, Failure> {
    let Record::Organization(record) = &entry.record else { return Err(Failure::new("no organization")) };
    let zone = record.zone.map(|zone| zone.name().to_owned()).or(fallback.map(|zone| zone.name().to_owned()));
    put_organization(ctx, record.name.clone(), zone, record.phone.clone()).await
}

async fn organization_named(ctx: &Context, name: String, zone: Option<Zone>) -> Result<OrgId, Failure> {
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let known = organizations::all(tx.conn()).await.map_err(db)?.into_iter().find(|row| row.name == name);
    drop(tx);
    match known {
        Some(row) => Ok(row.id),
        None => put_organization(ctx, name, zone.map(|zone| zone.name().to_owned()), None).await,
    }
}

async fn put_organization(
    ctx: &Context,
    name: String,
    zone: Option<String>,
    phone: Option<String>,
) -> Result<OrgId, Failure> {
    let zone =
        zone.ok_or_else(|| Failure::new("a new organization needs a zone: --zone, as in --zone Europe/Berlin"))?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let row = OrganizationRow { id: tx.new_id(), name, discreet_name: None, zone, phone };
    let now = tx.now();
    organizations::put(tx.conn(), &row, now).await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    Ok(row.id)
}
