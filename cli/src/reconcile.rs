//! `pulsecal reconcile`: whether ledger, belt, message log and dose plan agree.

use std::collections::HashSet;
use std::process::ExitCode;

use pulsecal_core::belt::{BeltError, DEPTH, list_key, suspects_key};
use pulsecal_core::context::Context;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Priority, Queue};
use pulsecal_core::process::Failure;
use pulsecal_core::store::Scope;
use pulsecal_core::store::reconcile::{self, Check, Found, Weight};
use serde::Serialize;
use serde_json::json;

use crate::output::{Output, say};
use crate::setup::{context, db};

/// What became of one check.
#[derive(Serialize)]
struct Line {
    check: &'static str,
    weight: &'static str,
    /// `agrees`, `differs`, or `not checked`.
    result: &'static str,
    count: i64,
    of: &'static str,
    ids: Vec<String>,
    meaning: &'static str,
    todo: &'static str,
    reads_whole: Option<&'static str>,
    /// Why it was not checked.
    problem: Option<String>,
}

impl Line {
    fn new(check: Check, found: Result<Found, BeltError>) -> Self {
        let words = check.words();
        let (found, problem) = match found {
            Ok(found) => (found, None),
            Err(error) => (Found::default(), Some(error.to_string())),
        };
        Self {
            check: words.name,
            weight: check.weight().as_str(),
            result: match (&problem, found.count) {
                (Some(_), _) => "not checked",
                (None, 0) => "agrees",
                (None, _) => "differs",
            },
            count: found.count,
            of: words.of,
            ids: found.ids.iter().map(ToString::to_string).collect(),
            meaning: words.meaning,
            todo: words.todo,
            reads_whole: words.reads_whole,
            problem,
        }
    }
}

/// Runs `pulsecal reconcile`: 0 when all agrees but for what is late or only worth knowing, else 1.
///
/// # Errors
/// Postgres.
pub async fn run(limit: u32, out: Output) -> Result<ExitCode, Failure> {
    let ctx = context()?;
    let now = ctx.clock.now();
    let mut lines = Vec::with_capacity(Check::ALL.len());
    let mut agree = true;
    for check in Check::ALL {
        let found = match check {
            Check::JobOffBelt => off_belt(&ctx, limit).await?,
            // A transaction each: one that lasts keeps the dead rows of every table.
            _ => {
                let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
                reconcile::take_time(tx.conn()).await.map_err(db)?;
                Ok(reconcile::find(tx.conn(), check, now, i64::from(limit)).await.map_err(db)?)
            }
        };
        agree &= check.weight() != Weight::Error || found.as_ref().is_ok_and(|found| found.count == 0);
        lines.push(Line::new(check, found));
    }
    if out.json {
        out.one(&json!({"agree": agree, "at": now, "checks": lines}), "");
    } else {
        show(&lines, agree, out);
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Due jobs that are on no list. Postgres is asked, then Redis, then Postgres again: what a worker took, or the sweep pushed,
/// between two looks is not told. Redis is asked while no transaction is open.
async fn off_belt(ctx: &Context, limit: u32) -> Result<Result<Found, BeltError>, Failure> {
    let mut waiting: Vec<(Queue, Priority, Vec<JobId>)> = Vec::new();
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    for queue in Queue::ALL {
        for priority in Priority::ALL {
            // A list holds no more than this, and the oldest first.
            let most = i64::try_from(DEPTH).unwrap_or(i64::MAX);
            let ids = reconcile::due_a_while(tx.conn(), queue, priority, most).await.map_err(db)?;
            waiting.push((queue, priority, ids));
        }
    }
    tx.commit().await.map_err(db)?;
    let missing = match not_listed(ctx, &waiting).await {
        Ok(missing) => missing,
        Err(error) => return Ok(Err(error)),
    };
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let missing = reconcile::still_due(tx.conn(), &missing).await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Ok(Found {
        count: i64::try_from(missing.len()).unwrap_or(i64::MAX),
        ids: missing.iter().take(most).map(|id| id.0).collect(),
    }))
}

/// Also when nothing waits Redis is asked, so that a belt that is away does not count as checked.
async fn not_listed(ctx: &Context, waiting: &[(Queue, Priority, Vec<JobId>)]) -> Result<Vec<JobId>, BeltError> {
    let belt = ctx.db.belt();
    let mut missing = Vec::new();
    for queue in Queue::ALL {
        let mut listed: HashSet<JobId> = belt.ids(&suspects_key(belt.prefix(), queue)).await?.into_iter().collect();
        for priority in Priority::ALL {
            listed.extend(belt.ids(&list_key(belt.prefix(), queue, priority.level())).await?);
        }
        let due = waiting.iter().filter(|(of, _, _)| *of == queue).flat_map(|(_, _, ids)| ids);
        missing.extend(due.filter(|id| !listed.contains(id)));
    }
    Ok(missing)
}

fn show(lines: &[Line], agree: bool, out: Output) {
    out.rows(&["check", "weight", "result", "count", "reads_whole"], lines);
    for line in lines.iter().filter(|line| line.result != "agrees") {
        let plural = if line.count == 1 { "" } else { "s" };
        match &line.problem {
            Some(problem) => say(&format!("\n{}: not checked. {problem}", line.check)),
            None => {
                say(&format!("\n{}: {} {}{plural} ({})", line.check, line.count, line.of, line.weight));
                say(&format!("  {}\n  {}", line.meaning, line.todo));
                line.ids.iter().for_each(|id| say(&format!("    {id}")));
                let shown = i64::try_from(line.ids.len()).unwrap_or(i64::MAX);
                if line.count > shown {
                    say(&format!("    and {} more; --limit shows more of them", line.count - shown));
                }
            }
        }
    }
    say(if agree { "\nLedger, belt, message log and dose plan agree." } else { "\nThey do not agree." });
}
