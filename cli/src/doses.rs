//! Dose plans: what a reminder means for any range of time, without storing it.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use pulsecal_core::doses::{occurrences, planner};
use pulsecal_core::ids::ReminderId;
use pulsecal_core::process::Failure;
use pulsecal_core::store::{Scope, doses};
use serde_json::json;

use crate::output::Output;
use crate::setup::{clock, context, db};

/// Dose plans.
#[derive(Subcommand)]
pub enum Doses {
    /// When doses of a reminder are due in a range, past or future.
    Preview {
        /// The reminder's id.
        reminder: String,
        /// From this instant, as 2026-03-01T00:00:00Z; now when absent.
        #[arg(long)]
        from: Option<DateTime<Utc>>,
        /// Until this instant; 14 days after the start when absent.
        #[arg(long)]
        to: Option<DateTime<Utc>>,
    },
    /// Plan now what is due for planning, without waiting for the schedule.
    Plan,
}

/// Runs `pulsecal doses`.
///
/// # Errors
/// Postgres, or a reminder or range that there is not.
pub async fn run(what: Doses, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    match what {
        Doses::Preview { reminder, from, to } => {
            let id =
                ReminderId::from_str(&reminder).map_err(|_| Failure::new(format!("{reminder:?} is no reminder id")))?;
            let from = from.unwrap_or_else(|| clock().now());
            let to = to.unwrap_or(from + TimeDelta::days(14));
            if to <= from {
                return Err(Failure::new("--to must come after --from"));
            }
            let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
            let row = doses::reminder(tx.conn(), id)
                .await
                .map_err(db)?
                .ok_or_else(|| Failure::new("there is no such reminder"))?;
            let timing = row.timing.as_ref().ok_or_else(|| Failure::new("its timing cannot be read"))?;
            let rule = planner::rule(&row, timing).map_err(|error| Failure::new(error.to_string()))?;
            let planned = occurrences(&rule, from, to, None).map_err(|error| Failure::new(error.to_string()))?;
            let rows: Vec<_> = planned
                .iter()
                .map(|dose| {
                    json!({"slot": dose.slot, "due_at": dose.due, "local": rule.zone.local(dose.due).format("%a %Y-%m-%d %H:%M").to_string(),
                        "zone": rule.zone.name(), "note": dose.explain(rule.zone)})
                })
                .collect();
            out.rows(&["slot", "due_at", "local", "zone", "note"], &rows);
        }
        Doses::Plan => {
            let mut all = planner::Planning::default();
            loop {
                let done = planner::plan_due(&ctx, 500).await.map_err(db)?;
                if done.reminders == 0 {
                    break;
                }
                all.reminders += done.reminders;
                all.added += done.added;
                all.moved += done.moved;
                all.dropped += done.dropped;
            }
            let sentence = format!(
                "{} reminders planned: {} doses added, {} moved, {} dropped.",
                all.reminders, all.added, all.moved, all.dropped
            );
            out.one(
                &json!({"reminders": all.reminders, "added": all.added, "moved": all.moved, "dropped": all.dropped}),
                &sentence,
            );
        }
    }
    Ok(())
}
