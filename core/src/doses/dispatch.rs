//! Doses that fall due become jobs.

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::doses::ladder::next_step;
use crate::ids::{OccurrenceId, OrgId};
use crate::ledger::NewJob;
use crate::store::ladder;
use crate::store::{DbError, Scope};

/// One message of one dose, to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoseStep {
    /// Whose.
    pub org: OrgId,
    /// The dose.
    pub occurrence: OccurrenceId,
    /// Where its steps count from: seconds since 1970. A snooze or a move starts anew, and older messages lapse.
    pub ladder: i64,
    /// 0: the reminder, 1 and up: nudges.
    pub step: i16,
}

/// What a look for due doses came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatched {
    /// How many doses were taken.
    pub taken: usize,
    /// When the next step of any dose falls due, if none was taken; none then: no dose has a step to come.
    pub next_at: Option<DateTime<Utc>>,
}

/// Takes up to `limit` doses whose next step has come, makes a job of each step that is to be sent, and moves the doses on:
/// all in one transaction.
///
/// # Errors
/// Postgres.
pub async fn dispatch_due(
    ctx: &Context,
    limit: i64,
    job: impl Fn(DoseStep) -> Result<NewJob, serde_json::Error>,
) -> Result<Dispatched, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let now = tx.now();
    let due = ladder::due_doses(tx.conn(), now, limit).await?;
    if due.is_empty() {
        let next_at = ladder::next_due(tx.conn()).await?;
        tx.commit().await?;
        return Ok(Dispatched { taken: 0, next_at });
    }
    let mut jobs = Vec::with_capacity(due.len());
    let mut moves = Vec::with_capacity(due.len());
    for dose in &due {
        let step = next_step(dose, now);
        if let Some(send) = step.send {
            let message =
                DoseStep { org: dose.org, occurrence: dose.id, ladder: dose.ladder_at.timestamp(), step: send.step };
            jobs.push(job(message).map_err(|error| DbError::Encode(error.into()))?.expires_at(send.expires_at));
        }
        moves.push(step.advance);
    }
    tx.enqueue_all(jobs).await?;
    ladder::advance(tx.conn(), &moves, now).await?;
    tx.commit().await?;
    Ok(Dispatched { taken: due.len(), next_at: None })
}
