//! `/v1/medication-reminders`: when doses of a prescription fall due.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use pulsecal_core::doses::{TimeMeaning, Timing};
use pulsecal_core::ids::{PersonId, PrescriptionId, ReminderId};
use pulsecal_core::store::prescriptions;
use pulsecal_core::store::reminders::{self, Reminder, ReminderFilter};
use pulsecal_core::time::Zone;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;
use uuid::Uuid;

use super::{created, plan_at, plan_soon, timing, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, PATIENT, PRESCRIPTION, REMINDER};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The most nudges of one dose.
const MOST_NUDGES: usize = 10;
/// The longest window of one dose, in seconds: a day.
const LONGEST_WINDOW: i32 = 86_400;

/// The longest least time between two doses, in seconds.
const MOST_SECONDS: i64 = i32::MAX as i64;

/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["created", "-created"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/medication-reminders", get(list).post(set))
        .route("/medication-reminders/{id}", get(one).patch(change))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let new = json!({"prescription_id": PRESCRIPTION, "timing": timing::example(), "meaning": "wall_clock"});
    let new = Body::new("NewMedicationReminder", new)
        .required("prescription_id", kinds::id(), "Of this prescription, which is active.")
        .other("timing", timing::named(), true)
        .required("meaning", meaning(), "What its times mean when the patient travels or clocks change.");
    let change = Body::new("MedicationReminderChange", json!({"active": false}))
        .other("timing", timing::named(), false)
        .set("meaning", meaning(), "What its times mean when the patient travels or clocks change.");
    vec![
        Operation::new("GET", "/v1/medication-reminders", "Lists reminders")
            .query("patient", kinds::id().about("Of this patient."))
            .query("prescription", kinds::id().about("Of this prescription."))
            .query("active", kinds::flag().about("Those that are active, or those that are not."))
            .query("sort", paging::sorts(&ORDERS, "By when they were set"))
            .lists::<Shown>("A page of reminders.", example()),
        Operation::new("POST", "/v1/medication-reminders", "Sets a reminder")
            .detail("Its doses are planned as soon as it is on record.")
            .body(common(new))
            .fails([Problem::conflict("The prescription is stopped: nothing is to be reminded of.")])
            .creates::<Shown>("The reminder.", example()),
        Operation::new("GET", "/v1/medication-reminders/{id}", "Shows a reminder")
            .shows_version::<Shown>("The reminder.", example()),
        Operation::new("PATCH", "/v1/medication-reminders/{id}", "Changes a reminder")
            .detail("A field that is left out stays as it is. Its doses are planned anew.")
            .if_match()
            .body(common(change))
            .shows_version::<Shown>("The reminder as it is now.", example()),
    ]
}

/// The fields that a new reminder and a change have in common.
fn common(body: Body) -> Body {
    let nudges = kinds::list(kinds::number(1..=(LONGEST_WINDOW - 1).into()), 0..=MOST_NUDGES);
    body.optional("home_zone", kinds::zone(), "The zone of its times, where the meaning is home_zone.")
        .set("min_interval_seconds", kinds::number(0..=MOST_SECONDS), "Doses are never closer than so many seconds.")
        .set(
            "nudge_after_seconds",
            nudges.build(),
            "After so many seconds each it is reminded again; rising, within the window.",
        )
        .set(
            "window_seconds",
            kinds::number(1..=LONGEST_WINDOW.into()),
            "So many seconds after it fell due a dose is missed.",
        )
        .set("active", kinds::flag(), "Whether doses are reminded of.")
}

fn meaning() -> Object {
    kinds::one_of(&MEANINGS.map(word))
}

fn example() -> Value {
    json!({
        "id": REMINDER, "prescription_id": PRESCRIPTION, "patient_id": PATIENT, "timing": timing::example(), "meaning": "wall_clock",
        "home_zone": null, "min_interval_seconds": 0, "nudge_after_seconds": [900, 1800], "window_seconds": 3600, "active": true,
        "planned_through": null, "planned_zone": null, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

/// A reminder, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = MedicationReminder)]
struct Shown {
    id: ReminderId,
    prescription_id: PrescriptionId,
    patient_id: PersonId,
    #[schema(schema_with = timing::named)]
    timing: Value,
    #[schema(schema_with = meaning)]
    meaning: String,
    home_zone: Option<String>,
    min_interval_seconds: i32,
    nudge_after_seconds: Vec<i32>,
    window_seconds: i32,
    active: bool,
    planned_through: Option<DateTime<Utc>>,
    planned_zone: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Reminder> for Shown {
    fn from(row: Reminder) -> Self {
        Self {
            id: row.id,
            prescription_id: row.prescription,
            patient_id: row.patient,
            timing: row.timing,
            meaning: row.meaning,
            home_zone: row.home_zone,
            min_interval_seconds: row.min_interval_seconds,
            nudge_after_seconds: row.nudge_after_seconds,
            window_seconds: row.window_seconds,
            active: row.active,
            planned_through: row.planned_through,
            planned_zone: row.planned_zone,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// Nobody has such a reminder, or another organization.
pub(super) fn missing() -> Problem {
    Problem::not_found("There is no such reminder.")
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let filter = ReminderFilter {
        patient: params.parsed("patient"),
        prescription: params.parsed("prescription"),
        active: params.parsed("active"),
    };
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let after = wanted.after.map(ReminderId);
    let rows = reminders::list(tx.conn(), tenant.org(), filter, way, after, wanted.rows).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient)).await?;
    Ok(wanted.page(rows, |row| row.id.0, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<ReminderId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = reminders::one(tx.conn(), id).await?.ok_or_else(missing)?;
    tenant.saw(&app, tx, "medication_reminder", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

/// What a request says about a reminder; none: nothing.
struct Said {
    timing: Option<Timing>,
    meaning: Option<TimeMeaning>,
    home_zone: Option<Option<Zone>>,
    min_interval: Option<i32>,
    nudges: Option<Vec<i32>>,
    window: Option<i32>,
    active: Option<bool>,
}

impl Said {
    fn read(fields: &mut Fields) -> Self {
        timing::check_whole(fields);
        let meaning: Option<String> = fields.set("meaning");
        Self {
            meaning: meaning.and_then(|meaning| meant(fields, &meaning)),
            timing: fields.set("timing"),
            home_zone: fields.change("home_zone"),
            min_interval: fields.set("min_interval_seconds"),
            nudges: fields.set("nudge_after_seconds"),
            window: fields.set("window_seconds"),
            active: fields.set("active"),
        }
    }

    /// Puts it into a reminder, and on record what is wrong with that as a whole.
    fn apply(self, row: &mut Reminder, fields: &mut Fields) -> Result<(), Problem> {
        let timing = match self.timing {
            Some(timing) => {
                row.timing = serde_json::to_value(&timing)?;
                Some(timing)
            }
            None => serde_json::from_value(row.timing.clone()).ok(),
        };
        let meaning = match self.meaning {
            Some(meaning) => Some(meaning),
            None => serde_json::from_value(json!(row.meaning)).ok(),
        };
        if let Some(meaning) = meaning {
            row.meaning = word(meaning).to_owned();
        }
        match self.home_zone {
            Some(zone) => row.home_zone = zone.map(|zone| zone.name().to_owned()),
            None if self.meaning.is_some_and(|meaning| meaning != TimeMeaning::HomeZone) => {
                row.home_zone = None;
            }
            None => {}
        }
        match (meaning, &row.home_zone) {
            (Some(TimeMeaning::HomeZone), None) => {
                fields.wrong("home_zone", "is needed when the meaning is home_zone");
            }
            (Some(TimeMeaning::WallClock | TimeMeaning::Elapsed), Some(_)) => {
                fields.wrong("home_zone", "has a meaning only when the meaning is home_zone");
            }
            _ => {}
        }
        row.min_interval_seconds = self.min_interval.unwrap_or(row.min_interval_seconds);
        row.nudge_after_seconds = self.nudges.unwrap_or_else(|| row.nudge_after_seconds.clone());
        row.window_seconds = self.window.unwrap_or(row.window_seconds);
        row.active = self.active.unwrap_or(row.active);
        if let (Some(timing), Some(meaning)) = (&timing, meaning) {
            timing::check_rule(fields, timing, meaning, row.min_interval_seconds);
        }
        check_ladder(row, fields);
        Ok(())
    }
}

fn check_ladder(row: &Reminder, fields: &mut Fields) {
    let (nudges, window) = (&row.nudge_after_seconds, row.window_seconds);
    if !(1..=LONGEST_WINDOW).contains(&window) {
        fields.wrong("window_seconds", format!("must be 1 to {LONGEST_WINDOW}"));
    }
    if nudges.len() > MOST_NUDGES {
        fields.wrong("nudge_after_seconds", format!("must be {MOST_NUDGES} at most"));
    }
    let rising = nudges.is_sorted_by(|one, next| one < next);
    if !rising || nudges.first().is_some_and(|first| *first < 1) {
        fields.wrong("nudge_after_seconds", "must be positive and rise");
    } else if nudges.last().is_some_and(|last| *last >= window) {
        fields.wrong("nudge_after_seconds", "must lie within the window, window_seconds");
    }
}

/// The meaning of this name; serde would take an object, too.
fn meant(fields: &mut Fields, name: &str) -> Option<TimeMeaning> {
    let found = MEANINGS.into_iter().find(|meaning| word(*meaning) == name);
    if found.is_none() {
        fields.wrong("meaning", format!("must be one of {}", MEANINGS.map(word).join(", ")));
    }
    found
}

const MEANINGS: [TimeMeaning; 3] = [TimeMeaning::WallClock, TimeMeaning::Elapsed, TimeMeaning::HomeZone];

fn word(meaning: TimeMeaning) -> &'static str {
    match meaning {
        TimeMeaning::WallClock => "wall_clock",
        TimeMeaning::Elapsed => "elapsed",
        TimeMeaning::HomeZone => "home_zone",
    }
}

async fn set(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let prescription = fields.required::<PrescriptionId>("prescription_id");
    let mut said = Said::read_new(&mut fields);
    let mut row = Reminder {
        id: app.ctx.ids.new_id(),
        prescription: prescription.unwrap_or(PrescriptionId(Uuid::nil())),
        patient: PersonId(Uuid::nil()),
        timing: Value::Null,
        meaning: String::new(),
        home_zone: None,
        min_interval_seconds: 0,
        nudge_after_seconds: vec![900, 1800],
        window_seconds: 3600,
        active: true,
        planned_through: None,
        planned_zone: None,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        version: 1,
    };
    // A window without nudges of its own keeps those of the usual ones that fit into it.
    if let (Some(window), None) = (said.window, &said.nudges) {
        let usual = row.nudge_after_seconds.iter().copied();
        said.nudges = Some(usual.filter(|nudge| *nudge < window).collect());
    }
    said.apply(&mut row, &mut fields)?;
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let (now, at) = (tx.now(), plan_at(&tx));
    let of = prescriptions::one_to_change(tx.conn(), row.prescription).await?;
    let of = of.ok_or_else(|| Problem::field("prescription_id", "there is no such prescription"))?;
    if of.status != "active" {
        let detail = format!("The prescription is {}: nothing is to be reminded of.", of.status);
        return Err(Problem::conflict(detail));
    }
    (row.patient, row.created_at, row.updated_at) = (of.patient, now, now);
    reminders::insert(tx.conn(), by.org(), &row, at).await?;
    let detail = json!({"prescription": row.prescription, "patient": row.patient});
    by.audit(&app, &mut tx, "reminder.set", "medication_reminder", row.id.0, detail).await?;
    plan_soon(&mut tx, &by).await?;
    let location = format!("{}/v1/medication-reminders/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

impl Said {
    /// As [`Said::read`], for a reminder that is new.
    fn read_new(fields: &mut Fields) -> Self {
        timing::check_whole(fields);
        let (timing, meaning) = (fields.required("timing"), fields.required::<String>("meaning"));
        let meaning = meaning.and_then(|meaning| meant(fields, &meaning));
        Self { timing, meaning, ..Self::read(fields) }
    }
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<ReminderId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let said = Said::read(&mut fields);
    let mut tx = by.begin(&app).await?;
    let (now, at) = (tx.now(), plan_at(&tx));
    let mut row = reminders::one_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    said.apply(&mut row, &mut fields)?;
    fields.finish()?;
    reminders::save(tx.conn(), &mut row, at, now).await?;
    let detail = json!({"version": row.version, "active": row.active});
    by.audit(&app, &mut tx, "reminder.changed", "medication_reminder", id.0, detail).await?;
    plan_soon(&mut tx, &by).await?;
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
