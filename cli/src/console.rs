//! Jobs, queues, schedules, messages: what the ledger says.

use std::str::FromStr;

use clap::Subcommand;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::Queue;
use pulsecal_core::operate::{self, RunNow};
use pulsecal_core::process::Failure;
use pulsecal_core::store::console::JobFilter;
use pulsecal_core::store::control::{self, Cancelled};
use pulsecal_core::store::{Scope, console, ops, schedules as schedule_rows};
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
        /// Only this queue.
        #[arg(long)]
        queue: Option<Queue>,
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
    /// Cancel a job: one that waits ends at once, one that runs is stopped within a second or two.
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
        Jobs::List { state, kind, queue, limit } => {
            let queue = queue.map(|queue| queue.as_str().to_owned());
            let wanted = JobFilter { state, kind, queue, before: None };
            let rows = console::jobs(tx.conn(), &wanted, i64::from(limit)).await.map_err(db)?;
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
            let freed = operate::retry(&mut tx, operator(), job).await.map_err(db)?;
            let freed = freed.ok_or_else(|| Failure::new("there is no such dead job, or it is live again already"))?;
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
            let said = match operate::cancel(&mut tx, operator(), job).await.map_err(db)? {
                Cancelled::Ended => "It has ended as cancelled.",
                Cancelled::Told => "It runs, and is stopped within a second or two.",
                Cancelled::ToldBefore => "It runs, and was told to stop before.",
                Cancelled::NotLive => return Err(Failure::new("there is no such job that waits or runs")),
            };
            tx.commit().await.map_err(db)?;
            out.one(&json!({"cancelled": id}), said);
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

/// The queues.
#[derive(Subcommand)]
pub enum Queues {
    /// The queues at this moment.
    List,
    /// Claim nothing of a queue any more. What runs goes on, and what is enqueued waits.
    Pause {
        /// reminders, mail, exports, backups or maintenance.
        queue: Queue,
    },
    /// Let a paused queue go on.
    Resume {
        /// The queue.
        queue: Queue,
    },
}

/// Runs `pulsecal queues`.
///
/// # Errors
/// Postgres.
pub async fn queues(what: Queues, out: Output) -> Result<(), Failure> {
    let mut tx = context()?.begin(Scope::Platform).await.map_err(db)?;
    let (queue, pause) = match what {
        Queues::List => {
            let rows = console::queues(tx.conn()).await.map_err(db)?;
            let paused = control::paused(tx.conn()).await.map_err(db)?;
            let rows: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    json!({"queue": row.queue, "paused": paused.contains(&row.queue), "ready": row.ready, "scheduled": row.scheduled,
                        "running": row.running, "oldest_seconds": row.oldest_seconds})
                })
                .collect();
            out.rows(&["queue", "paused", "ready", "scheduled", "running", "oldest_seconds"], &rows);
            return Ok(());
        }
        Queues::Pause { queue } => (queue, true),
        Queues::Resume { queue } => (queue, false),
    };
    let changed = operate::set_paused(&mut tx, operator(), queue, pause).await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    let said = match (pause, changed) {
        (true, true) => "Within two seconds nothing of it is claimed any more. What runs goes on.",
        (true, false) => "It was paused before.",
        (false, true) => "It goes on.",
        (false, false) => "It was not paused.",
    };
    out.one(&json!({"queue": queue.as_str(), "paused": pause, "changed": changed}), said);
    Ok(())
}

/// What runs at which times.
#[derive(Subcommand)]
pub enum Schedules {
    /// Every schedule, with its last and next slot.
    List,
    /// Fire a schedule no more. Its slots count as missed when it goes on.
    Pause {
        /// Its name.
        name: String,
    },
    /// Let a paused schedule go on. What it missed is judged by its misfire policy.
    Resume {
        /// Its name.
        name: String,
    },
    /// Run a schedule's job now, beside its slots and under its overlap rule.
    RunNow {
        /// Its name.
        name: String,
    },
    /// When a schedule fires next.
    Preview {
        /// Its name.
        name: String,
        /// So many slots.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
}

/// Runs `pulsecal schedules`.
///
/// # Errors
/// Postgres, or a schedule that there is not.
pub async fn schedules(what: Schedules, out: Output) -> Result<(), Failure> {
    let mut tx = context()?.begin(Scope::Platform).await.map_err(db)?;
    let unknown = || Failure::new("there is no such schedule; `pulsecal schedules` lists them");
    let (name, enable) = match what {
        Schedules::List => {
            let rows = ops::schedules(tx.conn()).await.map_err(db)?;
            out.rows(
                &[
                    "name",
                    "cron",
                    "zone",
                    "job",
                    "enabled",
                    "overlap",
                    "misfire",
                    "last_slot",
                    "last_state",
                    "next_slot",
                ],
                &rows,
            );
            return Ok(());
        }
        Schedules::Preview { name, count } => {
            let row = schedule_rows::lock(tx.conn(), &name).await.map_err(db)?.ok_or_else(unknown)?;
            let slots = operate::preview(&row, tx.now(), usize::from(count));
            let slots = slots.ok_or_else(|| Failure::new("its row cannot be read; is its cron expression right?"))?;
            let rows: Vec<_> = slots.iter().map(|slot| json!({"slot": slot})).collect();
            out.rows(&["slot"], &rows);
            return Ok(());
        }
        Schedules::RunNow { name } => {
            let press = tx.now();
            let done =
                operate::run_now(&mut tx, operator(), &pulsecal_jobs::registry(), &name, press).await.map_err(db)?;
            let job = match done {
                RunNow::Enqueued(job) => job,
                RunNow::Unknown => return Err(unknown()),
                RunNow::Overlap | RunNow::Already => {
                    return Err(Failure::new("its job runs or waits already, and its rule is one at a time"));
                }
                RunNow::Unreadable => {
                    return Err(Failure::new("its job's kind or args are not understood by this version"));
                }
            };
            tx.commit().await.map_err(db)?;
            out.one(&json!({"schedule": name, "job": job}), &format!("Job {job} is in the ledger."));
            return Ok(());
        }
        Schedules::Pause { name } => (name, false),
        Schedules::Resume { name } => (name, true),
    };
    let changed = operate::set_enabled(&mut tx, operator(), &name, enable).await.map_err(db)?.ok_or_else(unknown)?;
    tx.commit().await.map_err(db)?;
    let said = if changed { "Done." } else { "It was so before." };
    out.one(&json!({"schedule": name, "enabled": enable, "changed": changed}), said);
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
