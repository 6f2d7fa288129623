//! `/v1/medication-reminders/{id}/occurrences`: the doses of any range, past or future, computed and not stored. `/v1/occurrences/{id}`:
//! what staff say to a stored one.

mod answers;

use std::collections::HashMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use pulsecal_core::doses::planner::{self, Unplannable};
use pulsecal_core::doses::{PlanError, Planned, Shift, occurrences};
use pulsecal_core::ids::{OccurrenceId, ReminderId};
use pulsecal_core::store::doses;
use pulsecal_core::store::reminders::{self, StoredOccurrence};
use pulsecal_core::time::{Zone, tzdb_version};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::reminders::missing;
use crate::access::Tenant;
use crate::app::App;
use crate::contract::examples::{DOSE, REMINDER};
use crate::contract::{Kind, Operation, kinds};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The longest range of one request.
const LONGEST: TimeDelta = TimeDelta::days(366);
/// The range when none is asked for.
const USUAL: TimeDelta = TimeDelta::days(14);

/// Doses are shown until the last day of the year 9999: what comes later, in whichever zone, cannot be written as RFC 3339 has it.
const LAST: i64 = 253_402_214_400;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/medication-reminders/{id}/occurrences", get(list))
        .route("/occurrences/{id}/taken", post(answers::taken))
        .route("/occurrences/{id}/skipped", post(answers::skipped))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let [taken, skipped] = answers::operations();
    vec![
        Operation::new("GET", "/v1/medication-reminders/{id}/occurrences", "Shows the doses of a range")
            .detail("Past and future ones are computed by the reminder as it is now; `stored` is what became of them.")
            .query("from", kinds::instant().about("From this instant on; now when nothing is said."))
            .query(
                "to",
                kinds::instant().about("Until before this instant; 14 days later when nothing is said, 366 at most."),
            )
            .fails([Problem::conflict("This reminder cannot be planned: the timing is not one.")])
            .shows::<Shown>("The doses.", example()),
        taken,
        skipped,
    ]
}

fn stored_example() -> Value {
    json!({
        "id": DOSE, "due_at": "2026-12-01T07:00:00Z", "zone": "Europe/Berlin", "state": "planned", "snoozes": 0, "reason": null,
        "reminded_at": null, "settled_at": null,
    })
}

fn example() -> Value {
    let stored = stored_example();
    let dose = json!({
        "slot": "2026-12-01T08:00:00", "due_at": "2026-12-01T07:00:00Z", "local": "2026-12-01T08:00:00+01:00", "shift": null,
        "explanation": null, "stored": stored,
    });
    json!({
        "reminder_id": REMINDER, "from": "2026-12-01T00:00:00Z", "to": "2026-12-02T00:00:00Z", "zone": "Europe/Berlin", "tzdb": tzdb_version(),
        "in_force": true, "items": [dose],
    })
}

fn slot() -> Object {
    kinds::like(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$", 19, "2026-12-01T08:00:00")
}

/// The doses of a range.
#[derive(Serialize, ToSchema)]
#[schema(as = Occurrences)]
struct Shown {
    reminder_id: ReminderId,
    /// Inclusive.
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    /// The zone that the times are reckoned in.
    zone: &'static str,
    /// The release of the tz database.
    tzdb: &'static str,
    /// Reminder, prescription and patient are such that these doses are reminded of.
    in_force: bool,
    items: Vec<Occurrence>,
}

#[derive(Serialize, ToSchema)]
struct Occurrence {
    /// The dose's name in its plan.
    #[schema(schema_with = slot)]
    slot: NaiveDateTime,
    /// When it is due by the reminder as it is now.
    due_at: DateTime<Utc>,
    /// The same, as clocks show it there.
    #[schema(format = DateTime)]
    local: String,
    /// Why that is not simply the time of the slot, in one word …
    shift: Option<&'static str>,
    /// … and in a sentence.
    explanation: Option<String>,
    /// The dose as it is stored; none: it is not.
    stored: Option<Stored>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StoredOccurrence)]
struct Stored {
    id: OccurrenceId,
    due_at: DateTime<Utc>,
    zone: String,
    state: String,
    snoozes: i16,
    reason: Option<String>,
    reminded_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
}

impl From<StoredOccurrence> for Stored {
    fn from(row: StoredOccurrence) -> Self {
        Self {
            id: row.id,
            due_at: row.due_at,
            zone: row.zone,
            state: row.state,
            snoozes: row.snoozes,
            reason: row.reason,
            reminded_at: row.reminded_at,
            settled_at: row.settled_at,
        }
    }
}

fn range(params: &mut Params, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let from = params.instant("from");
    let to = params.instant("to");
    let from = from.unwrap_or_else(|| to.map_or(now, |to| to - USUAL));
    let last = DateTime::from_timestamp(LAST, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let to = to.unwrap_or_else(|| from + USUAL).min(last);
    if from >= last {
        params.wrong("from", "is too far ahead");
    }
    if to <= from && from < last {
        params.wrong("to", "must be after from");
    } else if to - from > LONGEST {
        let days = LONGEST.num_days();
        params.wrong("to", format!("must be {days} days after from at most; ask for the rest by further requests"));
    }
    (from, to)
}

async fn list(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<ReminderId>,
    mut params: Params,
) -> Result<Json<Shown>, Problem> {
    let (from, to) = range(&mut params, app.ctx.clock.now());
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let reminder = doses::reminder(tx.conn(), id).await?.ok_or_else(missing)?;
    let timing = reminder.timing.clone();
    let timing = timing.ok_or_else(|| unplannable(&Unplannable::Timing))?;
    let rule = planner::rule(&reminder, &timing).map_err(|why| unplannable(&why))?;
    let planned = occurrences(&rule, from, to, None).map_err(|why| match why {
        PlanError::TooMany { .. } => Problem::field("to", why.to_string()),
        other => unplannable(&Unplannable::Rule(other)),
    })?;
    let slots: Vec<NaiveDateTime> = planned.iter().map(|dose| dose.slot).collect();
    let stored = reminders::stored_at(tx.conn(), id, &slots).await?;
    tenant.saw(&app, tx, "medication_reminder", id.0, reminder.patient).await?;
    let mut stored: HashMap<_, _> = stored.into_iter().map(|row| (row.slot, row)).collect();
    let items = planned
        .iter()
        .map(|dose| Occurrence { stored: stored.remove(&dose.slot).map(Stored::from), ..occurrence(dose, rule.zone) });
    Ok(Json(Shown {
        reminder_id: id,
        from,
        to,
        zone: rule.zone.name(),
        tzdb: tzdb_version(),
        in_force: reminder.wanted,
        items: items.collect(),
    }))
}

fn occurrence(dose: &Planned, zone: Zone) -> Occurrence {
    Occurrence {
        slot: dose.slot,
        due_at: dose.due,
        local: dose.due.with_timezone(&zone.tz()).to_rfc3339(),
        shift: dose.shifted.map(|shift| match shift {
            Shift::Gap => "gap",
            Shift::Fold => "fold",
            Shift::MinInterval => "min_interval",
            Shift::ZoneChange => "zone_change",
        }),
        explanation: dose.explain(zone),
        stored: None,
    }
}

fn unplannable(why: &Unplannable) -> Problem {
    Problem::conflict(format!("This reminder cannot be planned: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_bounded_and_has_a_usual_one() {
        let now = DateTime::UNIX_EPOCH;
        let mut params = Params::of("");
        assert_eq!(range(&mut params, now), (now, now + USUAL));
        params.finish().expect("fine");
        let mut params = Params::of("from=9999-12-30T00:00:00Z");
        assert_eq!(range(&mut params, now).1.to_rfc3339(), "9999-12-31T00:00:00+00:00");
        params.finish().expect("fine");
        for query in [
            "from=9999-12-31T23:59:00Z",
            "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            "from=2026-01-01T00:00:00Z&to=2027-01-02T00:00:01Z",
            "from=tomorrow",
        ] {
            let mut params = Params::of(query);
            range(&mut params, now);
            assert!(params.finish().is_err(), "{query}");
        }
    }
}
