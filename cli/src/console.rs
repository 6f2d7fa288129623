//! Jobs, queues, schedules, messages: what the ledger says.

use std::str::FromStr;

use clap::Subcommand;
use pulsecal_core::ids::JobId;
use pulsecal_core::process::Failure;
use pulsecal_core::store::audit::{self, Entry};
use pulsecal_core::store::console::FreedMessage;
use pulsecal_core::store::{Scope, Tx, console, schedules as schedule_rows};
use pulsecal_jobs::{Does, Trial};
use serde_json::json;

use crate::output::Output;
use crate::setup::{context, db, operator};

/// The jobs of the ledger.
#[derive(Subcommand)]
pub enum Jobs {
    /// The newest jobs.
    List {
        /// scheduled, ready, running, done, dead, cancelled or expired.
        #[arg(long)]
        state: Option<String>,
        /// Only this kind.
        #[arg(long)]
        kind: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// One job with all its attempts.
    Show {
        /// The job's id.
        id: String,
    },
    /// Give a dead job its attempts anew. A message of it that had failed is sent, unless it is stale; one that was sent, or
    /// perhaps was, is not.
    Retry {
        /// The job's id.
        id: String,
    },
    /// Cancel a job that waits.
    Cancel {
        /// The job's id.
        id: String,
    },
    /// Enqueue jobs that try a set-up: they do nothing, or misbehave as told.
    Try {
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: u64,
        /// As JSON: "nothing", {"sleep_ms": 500}, {"block_ms": 500}, {"fail_times": 2}, "panic" or "abort". The last one kills
        /// a worker that runs with PULSECAL_ALLOW_ABORT=1; elsewhere it ends dead.
        #[arg(long, default_value = "\"nothing\"", value_parser = does)]
        does: Does,
    },
}

const JOB_COLUMNS: &[&str] = &["id", "kind", "queue", "state", "attempt", "run_at", "ended_at", "last_error"];

fn does(text: &str) -> Result<Does, String> {
    serde_json::from_str(text).map_err(|problem| format!("{problem}; it is JSON, so a word stands in double quotes"))
}

/// Runs `pulsecal jobs`.
///
/// # Errors
/// Postgres, or a job that there is not.
pub async fn jobs(what: Jobs, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let id_of = |id: &str| JobId::from_str(id).map_err(|_| Failure::new(format!("{id:?} is no job id")));
    match what {
        Jobs::List { state, kind, limit } => {
            let rows =
                console::jobs(tx.conn(), state.as_deref(), kind.as_deref(), i64::from(limit)).await.map_err(db)?;
            out.rows(JOB_COLUMNS, &rows);
        }
        Jobs::Show { id } => {
            let found = console::job(tx.conn(), id_of(&id)?).await.map_err(db)?;
            let (job, attempts) = found.ok_or_else(|| Failure::new("there is no such job"))?;
            if out.json {
                out.one(&json!({"job": job, "attempts": attempts}), "");
            } else {
                out.rows(JOB_COLUMNS, &[job]);
                out.rows(&["attempt", "worker", "started_at", "ended_at", "outcome", "error"], &attempts);
            }
        }
        Jobs::Retry { id } => {
            let job = id_of(&id)?;
            let freed = console::retry_dead(tx.conn(), job).await.map_err(db)?;
            let freed = freed.ok_or_else(|| Failure::new("there is no such dead job, or it is live again already"))?;
            note(&mut tx, "job.retry", job, &freed).await?;
            tx.commit().await.map_err(db)?;
            let messages: Vec<_> = freed.iter().map(|message| message.id).collect();
            let said = match messages.is_empty() {
                true => "It will run again.",
                false => "It will run again, and its message, which had failed, will be sent if that is still right.",
            };
            out.one(&json!({"retried": id, "messages": messages}), said);
        }
        Jobs::Cancel { id } => {
            let job = id_of(&id)?;
            if !console::cancel(tx.conn(), job).await.map_err(db)? {
                return Err(Failure::new("there is no such waiting job; a running one cannot be cancelled yet"));
            }
            note(&mut tx, "job.cancel", job, &[]).await?;
            tx.commit().await.map_err(db)?;
            out.one(&json!({"cancelled": id}), "It will end as cancelled.");
        }
        Jobs::Try { count, does } => {
            let mut done = 0;
            while done < count {
                let end = count.min(done + 1000);
                let jobs: Vec<_> = (done..end).map(|i| Trial { i, does }).collect();
                let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
                tx.enqueue_many(&jobs).await.map_err(|error| Failure::new(error.to_string()))?;
                tx.commit().await.map_err(db)?;
                done = end;
            }
            out.one(&json!({"enqueued": count}), &format!("{count} jobs enqueued."));
        }
    }
    Ok(())
}

/// Writes down what was done to a job, and that these messages are planned again.
async fn note(tx: &mut Tx, action: &'static str, job: JobId, freed: &[FreedMessage]) -> Result<(), Failure> {
    let (now, ids) = (tx.now(), pulsecal_core::ids::Ids);
    let entry = |org, action, subject_type, subject| Entry {
        org,
        actor: operator(),
        action,
        subject_type,
        subject,
        outcome: "success",
        detail: None,
    };
    let mut entries = vec![entry(None, action, "job", job.0)];
    entries.extend(freed.iter().map(|message| entry(message.org, "message.retry", "message", message.id.0)));
    audit::write(tx.conn(), ids, &entries, now).await.map_err(db)
}

/// Runs `pulsecal queues`.
///
/// # Errors
/// Postgres.
pub async fn queues(out: Output) -> Result<(), Failure> {
    let mut tx = context()?.begin(Scope::Platform).await.map_err(db)?;
    let rows = console::queues(tx.conn()).await.map_err(db)?;
    out.rows(&["queue", "ready", "scheduled", "running", "oldest_seconds"], &rows);
    Ok(())
}

/// Runs `pulsecal schedules`.
///
/// # Errors
/// Postgres.
pub async fn schedules(out: Output) -> Result<(), Failure> {
    let mut tx = context()?.begin(Scope::Platform).await.map_err(db)?;
    let rows = schedule_rows::all(tx.conn()).await.map_err(db)?;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"name": row.name, "cron": row.cron, "zone": row.zone, "job": row.job_kind, "enabled": row.enabled, "overlap": row.overlap,
                "misfire": row.misfire, "next_slot": row.next_slot})
        })
        .collect();
    out.rows(&["name", "cron", "zone", "job", "enabled", "overlap", "misfire", "next_slot"], &rows);
    Ok(())
}

/// Runs `pulsecal messages`.
///
/// # Errors
/// Postgres.
pub async fn messages(state: Option<&str>, limit: u32, out: Output) -> Result<(), Failure> {
    let mut tx = context()?.begin(Scope::Platform).await.map_err(db)?;
    let rows = console::messages(tx.conn(), state, i64::from(limit)).await.map_err(db)?;
    out.rows(&["id", "kind", "subject", "recipient", "state", "reason", "created_at"], &rows);
    Ok(())
}
