//! What is said to a dose, by its patient or by staff: taken, skip, later.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::context::Context;
use crate::ids::{OccurrenceId, OrgId, RequestId};
use crate::mail::DoseAnswer;
use crate::store::audit::{self, Actor, Entry};
use crate::store::{DbError, Scope, ladder};

/// A dose may be snoozed so often.
pub const MOST_SNOOZES: i16 = 6;

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is on record.
    Recorded {
        /// The state before.
        before: String,
        /// With a snooze, when the next reminder comes.
        again_at: Option<DateTime<Utc>>,
    },
    /// It said so already; nothing changed.
    Already,
    /// The time for an answer is over.
    TooLate,
    /// It was snoozed too often.
    TooManySnoozes,
    /// There is no such dose.
    Unknown,
}

/// What an answer is called in the audit trail.
pub fn action(said: DoseAnswer) -> &'static str {
    match said {
        DoseAnswer::Taken => "dose.taken",
        DoseAnswer::Skip => "dose.skipped",
        DoseAnswer::Snooze(_) => "dose.snoozed",
    }
}

/// Records a patient's answer that came with `request`, with its audit entry, in one transaction.
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
    let answered = record(tx.conn(), dose, said, now).await?;
    if let Answered::Recorded { before, .. } = &answered {
        let entry = Entry {
            org: Some(org),
            actor: Actor::PatientLink { request },
            action: action(said),
            subject_type: "dose_occurrence",
            subject: dose.0,
            outcome: "success",
            detail: Some(serde_json::json!({"before": before})),
        };
        audit::write(tx.conn(), ctx.ids, &[entry], now).await?;
        tx.commit().await?;
    }
    Ok(answered)
}

/// Records an answer; whoever calls writes the audit entry in the same transaction. The same answer twice changes nothing; another answer
/// corrects the first while the time for answers lasts.
///
/// # Errors
/// Postgres.
pub async fn record(
    conn: &mut PgConnection,
    dose: OccurrenceId,
    said: DoseAnswer,
    now: DateTime<Utc>,
) -> Result<Answered, DbError> {
    let Some(row) = ladder::dose_to_answer(conn, dose).await? else {
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
    ladder::answer(conn, dose, state, again_at, now).await?;
    Ok(Answered::Recorded { before: row.state, again_at })
}
