//! What a patient says to a dose: taken, skip, later.

use chrono::{DateTime, TimeDelta, Utc};

use crate::context::Context;
use crate::ids::{OccurrenceId, OrgId, RequestId};
use crate::mail::DoseAnswer;
use crate::store::audit::{self, Actor, Entry};
use crate::store::{DbError, Scope, ladder};

/// A dose may be snoozed so often.
pub const MOST_SNOOZES: i16 = 6;

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is on record; with a snooze, when the next reminder comes.
    Recorded(Option<DateTime<Utc>>),
    /// It said so already; nothing changed.
    Already,
    /// The time for an answer is over.
    TooLate,
    /// It was snoozed too often.
    TooManySnoozes,
    /// There is no such dose.
    Unknown,
}

/// Records an answer that came with `request`, with its audit entry, in one transaction. The same answer twice changes nothing; another answer
/// corrects the first while the time for answers lasts.
///
/// # Errors
/// Postgres.
pub async fn answer(
    ctx: &Context,
    org: OrgId,
    dose: OccurrenceId,
    said: DoseAnswer,
    request: RequestId,
) -> Result<Answered, DbError> {
    let mut tx = ctx.begin(Scope::Org(org)).await?;
    let now = tx.now();
    let Some(row) = ladder::dose_to_answer(tx.conn(), dose).await? else {
        return Ok(Answered::Unknown);
    };
    let (state, again_at) = match said {
        DoseAnswer::Taken => ("taken", None),
        DoseAnswer::Skip => ("skipped", None),
        DoseAnswer::Snooze(minutes) => ("snoozed", Some(now + TimeDelta::minutes(i64::from(minutes)))),
    };
    if again_at.is_none() && row.state == state {
        return Ok(Answered::Already);
    }
    if now >= row.answer_until || again_at.is_some_and(|at| at >= row.answer_until) {
        return Ok(Answered::TooLate);
    }
    if again_at.is_some() && row.snoozes >= MOST_SNOOZES {
        return Ok(Answered::TooManySnoozes);
    }
    ladder::answer(tx.conn(), dose, state, again_at, now).await?;
    let entry = Entry {
        org: Some(org),
        actor: Actor::PatientLink { request },
        action: match said {
            DoseAnswer::Taken => "dose.taken",
            DoseAnswer::Skip => "dose.skipped",
            DoseAnswer::Snooze(_) => "dose.snoozed",
        },
        subject_type: "dose_occurrence",
        subject: dose.0,
        outcome: "success",
        detail: Some(serde_json::json!({"before": row.state})),
    };
    audit::write(tx.conn(), ctx.ids, &[entry], now).await?;
    tx.commit().await?;
    Ok(Answered::Recorded(again_at))
}
