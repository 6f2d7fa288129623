//! The planner: keeps every active reminder's doses stored 14 days ahead, and plans again when a reminder, a zone or the
//! tz database changes. Only doses that are still to come are touched, and the difference is logged.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::json;

use crate::context::Context;
use crate::doses::{PlanChange, PlanError, PlanRule, Planned, TimeMeaning, Timing, occurrences, replan, resume};
use crate::ids::ReminderId;
use crate::store::doses::{self, NewDose, PlannedWith, ReminderToPlan, StoredDose};
use crate::store::{DbError, Scope};
use crate::time::{Zone, tzdb_version};

/// Doses are stored so far ahead …
pub const HORIZON: TimeDelta = TimeDelta::days(14);
/// … and topped up when a day of it is used.
const TOP_UP: TimeDelta = TimeDelta::days(13);
/// A change logs no more single moves and drops than this.
const DETAIL_LIMIT: usize = 20;

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planning {
    /// Reminders looked at.
    pub reminders: usize,
    /// Doses added.
    pub added: usize,
    /// Doses moved.
    pub moved: usize,
    /// Doses dropped.
    pub dropped: usize,
}

/// Plans up to `limit` reminders that are due for planning, in one transaction.
///
/// # Errors
/// Postgres.
pub async fn plan_due(ctx: &Context, limit: i64) -> Result<Planning, DbError> {
    plan_due_at(ctx, ctx.clock.now(), limit).await
}

/// As [`plan_due`], as if it were `now`: doses from then on are stored.
///
/// # Errors
/// Postgres.
pub async fn plan_due_at(ctx: &Context, now: DateTime<Utc>, limit: i64) -> Result<Planning, DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let reminders = doses::reminders_to_plan(tx.conn(), now, limit).await?;
    if reminders.is_empty() {
        return Ok(Planning::default());
    }
    let ids: Vec<ReminderId> = reminders.iter().map(|reminder| reminder.id).collect();
    let mut stored: HashMap<ReminderId, Vec<StoredDose>> = HashMap::new();
    for dose in doses::stored_doses(tx.conn(), &ids, now).await? {
        stored.entry(dose.reminder).or_default().push(dose);
    }
    let mut done = Planning { reminders: reminders.len(), ..Planning::default() };
    let (mut adds, mut moves, mut drops, mut planned) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for reminder in &reminders {
        let known = stored.get(&reminder.id).map_or(&[][..], Vec::as_slice);
        let plan = plan_one(reminder, known, now);
        done.added += plan.adds.len();
        done.moved += plan.moves.len();
        done.dropped += plan.drops.len();
        adds.extend(plan.adds);
        moves.extend(plan.moves);
        drops.extend(plan.drops);
        planned.push(plan.with);
    }
    for chunk in adds.chunks(2000) {
        let ids: Vec<_> = chunk.iter().map(|_| tx.new_id()).collect();
        doses::add_doses(tx.conn(), &ids, chunk, now).await?;
    }
    if !moves.is_empty() {
        doses::move_doses(tx.conn(), &moves, now).await?;
    }
    if !drops.is_empty() {
        doses::drop_doses(tx.conn(), &drops).await?;
    }
    let ids: Vec<uuid::Uuid> = planned.iter().map(|_| tx.new_id()).collect();
    doses::set_planned(tx.conn(), &ids, &planned, tzdb_version(), now).await?;
    tx.commit().await?;
    Ok(done)
}

struct OnePlan {
    adds: Vec<NewDose>,
    moves: Vec<(ReminderId, NaiveDateTime, DateTime<Utc>, String)>,
    drops: Vec<(ReminderId, NaiveDateTime)>,
    with: PlannedWith,
}

fn plan_one(reminder: &ReminderToPlan, known: &[StoredDose], now: DateTime<Utc>) -> OnePlan {
    let horizon = now + HORIZON;
    let zone_name = zone_in_force(reminder);
    let zone_changed = reminder.planned_zone.as_deref().is_some_and(|planned| planned != zone_name);
    let tzdb_changed = reminder.planned_tzdb.as_deref().is_some_and(|planned| planned != tzdb_version());
    let cause = match (reminder.planned_through, reminder.replan) {
        (None, _) => "first",
        (_, true) => "reminder",
        _ if zone_changed => "zone",
        _ if tzdb_changed => "tzdb",
        _ => "rolling",
    };
    let wanted = if reminder.wanted { plan_from(reminder, known, now, horizon, cause) } else { Ok(Vec::new()) };
    let wanted = wanted.unwrap_or_else(|error| {
        // The API and the import refuse such timings; one that is here all the same must not stop the others.
        tracing::error!(reminder.id = %reminder.id, error = %error, "doses.plan: this reminder cannot be planned");
        Vec::new()
    });
    let settled: HashSet<NaiveDateTime> = known.iter().filter(|dose| !dose.open).map(|dose| dose.slot).collect();
    let wanted: Vec<Planned> = wanted.into_iter().filter(|dose| !settled.contains(&dose.slot)).collect();
    let open: Vec<(NaiveDateTime, DateTime<Utc>)> =
        known.iter().filter(|dose| dose.open).map(|dose| (dose.slot, dose.due_at)).collect();
    let (mut adds, mut moves, mut drops, mut detail) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in replan(&open, &wanted) {
        match change {
            PlanChange::Add(dose) => adds.push(NewDose {
                reminder: reminder.id,
                org: reminder.org,
                patient: reminder.patient,
                slot: dose.slot,
                due_at: dose.due,
                zone: zone_name.clone(),
            }),
            PlanChange::Move { slot, from, to } => {
                detail.push(json!({"slot": slot, "from": from, "to": to}));
                moves.push((reminder.id, slot, to, zone_name.clone()));
            }
            PlanChange::Drop { slot, .. } => {
                detail.push(json!({"slot": slot, "dropped": true}));
                drops.push((reminder.id, slot));
            }
        }
    }
    detail.truncate(DETAIL_LIMIT);
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let with = PlannedWith {
        reminder: reminder.id,
        org: reminder.org,
        through: horizon,
        zone: zone_name,
        next_plan_at: (reminder.wanted && goes_on(reminder, horizon)).then(|| now + (HORIZON - TOP_UP)),
        cause,
        changed: (count(adds.len()), count(moves.len()), count(drops.len())),
        detail: json!(detail),
    };
    OnePlan { adds, moves, drops, with }
}

fn plan_from(
    reminder: &ReminderToPlan,
    known: &[StoredDose],
    now: DateTime<Utc>,
    horizon: DateTime<Utc>,
    cause: &str,
) -> Result<Vec<Planned>, Unplannable> {
    let timing = reminder.timing.as_ref().ok_or(Unplannable::Timing)?;
    let rule = rule(reminder, timing)?;
    // A dose may have been answered before it was due: what is no longer open and comes earlier in the plan was the one before.
    let first_open = known.iter().filter(|dose| dose.open).map(|dose| dose.slot).min();
    let came_before =
        |dose: &&StoredDose| !dose.open && first_open.map_or(dose.due_at <= now, |first| dose.slot < first);
    let previous = known.iter().filter(came_before).map(|dose| dose.due_at).max();
    Ok(match first_open.filter(|_| !matches!(cause, "first" | "reminder")) {
        Some(slot) => resume(&rule, slot, now, horizon, previous)?,
        None => occurrences(&rule, now, horizon, previous)?,
    })
}

/// Why a reminder has no doses.
#[derive(Debug, thiserror::Error)]
pub enum Unplannable {
    /// The stored timing cannot be read.
    #[error("its timing cannot be read")]
    Timing,
    /// Its zone is none.
    #[error("its zone is none that the tz database knows")]
    Zone,
    /// The rule says so.
    #[error(transparent)]
    Rule(#[from] PlanError),
}

fn zone_in_force(reminder: &ReminderToPlan) -> String {
    match &reminder.home_zone {
        Some(home) if reminder.meaning == "home_zone" => home.clone(),
        // Elapsed doses are anchored where they began; travel does not move them.
        _ if reminder.meaning == "elapsed" => {
            reminder.planned_zone.clone().unwrap_or_else(|| reminder.patient_zone.clone())
        }
        _ => reminder.patient_zone.clone(),
    }
}

/// The rule of a reminder, in the zone that is in force now.
///
/// # Errors
/// A zone that is none.
pub fn rule<'a>(reminder: &ReminderToPlan, timing: &'a Timing) -> Result<PlanRule<'a>, Unplannable> {
    let zone = zone_in_force(reminder).parse::<Zone>().map_err(|_| Unplannable::Zone)?;
    let meaning = match reminder.meaning.as_str() {
        "elapsed" => TimeMeaning::Elapsed,
        "home_zone" => TimeMeaning::HomeZone,
        _ => TimeMeaning::WallClock,
    };
    Ok(PlanRule { timing, meaning, zone, min_interval: TimeDelta::seconds(i64::from(reminder.min_interval_seconds)) })
}

/// Whether doses may come after `horizon`.
fn goes_on(reminder: &ReminderToPlan, horizon: DateTime<Utc>) -> bool {
    let end = match &reminder.timing {
        Some(Timing::TimesOfDay { end, .. } | Timing::EveryHours { end, .. }) => *end,
        Some(Timing::AsNeeded) | None => return false,
    };
    // Two days more than the end, since a local day ends up to a day later than its date in UTC.
    end.is_none_or(|end| end.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::days(2) > horizon)
}
