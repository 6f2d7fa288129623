//! Medication reminders, as staff read and write them; what the planner makes of them is in [`crate::store::doses`].

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{OccurrenceId, OrgId, PersonId, PrescriptionId, ReminderId};
use crate::ledger::NewJob;
use crate::store::listing::Way;
use crate::store::{DbError, Tx};

/// A reminder.
#[derive(Clone, Debug)]
pub struct Reminder {
    /// The reminder.
    pub id: ReminderId,
    /// Of which prescription.
    pub prescription: PrescriptionId,
    /// The patient.
    pub patient: PersonId,
    /// When doses fall due, as [`crate::doses::Timing`].
    pub timing: Value,
    /// `wall_clock`, `elapsed` or `home_zone`.
    pub meaning: String,
    /// The home zone, if that is what it means.
    pub home_zone: Option<String>,
    /// The least time between two doses, in seconds.
    pub min_interval_seconds: i32,
    /// When nudges come, in seconds after the dose is due.
    pub nudge_after_seconds: Vec<i32>,
    /// When the dose is missed, in seconds after it is due.
    pub window_seconds: i32,
    /// On or off.
    pub active: bool,
    /// Doses are stored up to here.
    pub planned_through: Option<DateTime<Utc>>,
    /// They were planned in this zone.
    pub planned_zone: Option<String>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

/// Stores a new reminder of `org`; the planner looks at it from `plan_at` on.
///
/// # Errors
/// Postgres.
pub async fn insert(
    conn: &mut PgConnection,
    org: OrgId,
    new: &Reminder,
    plan_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, home_zone, min_interval_seconds,
           nudge_after_seconds, window_seconds, active, next_plan_at, created_at, updated_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        new.id.0,
        org.0,
        new.prescription.0,
        new.patient.0,
        new.timing,
        new.meaning,
        new.home_zone,
        new.min_interval_seconds,
        &new.nudge_after_seconds,
        new.window_seconds,
        new.active,
        plan_at,
        new.created_at,
        new.updated_at,
        new.version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which reminders to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReminderFilter {
    /// Of this patient.
    pub patient: Option<PersonId>,
    /// Of this prescription.
    pub prescription: Option<PrescriptionId>,
    /// On, or off.
    pub active: Option<bool>,
}

macro_rules! list_reminders {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        sqlx::query_as!(
            Reminder,
            r#"SELECT reminder_id AS "id: ReminderId", prescription_id AS "prescription: PrescriptionId", patient_id AS "patient: PersonId", timing, meaning,
                 home_zone, min_interval_seconds, nudge_after_seconds, window_seconds, active, planned_through, planned_zone, created_at, updated_at, version
               FROM medication_reminders
               WHERE org_id = $1 AND ($2::uuid IS NULL OR reminder_id "# + $past + r#" $2) AND ($3::uuid IS NULL OR patient_id = $3)
                 AND ($4::uuid IS NULL OR prescription_id = $4) AND ($5::bool IS NULL OR active = $5)
               ORDER BY reminder_id "# + $way + " LIMIT $6",
            $org.0,
            $after.map(|id| id.0),
            $filter.patient.map(|id| id.0),
            $filter.prescription.map(|id| id.0),
            $filter.active,
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Reminders of `org` after `after`, by when they were set, which is the order of their ids.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: ReminderFilter,
    way: Way,
    after: Option<ReminderId>,
    limit: i64,
) -> Result<Vec<Reminder>, DbError> {
    match way {
        Way::Up => list_reminders!(conn, org, filter, after, limit, ">", "ASC"),
        Way::Down => list_reminders!(conn, org, filter, after, limit, "<", "DESC"),
    }
}

/// One reminder.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: ReminderId) -> Result<Option<Reminder>, DbError> {
    sqlx::query_as!(
        Reminder,
        r#"SELECT reminder_id AS "id: ReminderId", prescription_id AS "prescription: PrescriptionId", patient_id AS "patient: PersonId", timing, meaning,
             home_zone, min_interval_seconds, nudge_after_seconds, window_seconds, active, planned_through, planned_zone, created_at, updated_at, version
           FROM medication_reminders WHERE reminder_id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// One reminder, locked until the transaction ends; the planner passes it by meanwhile.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: ReminderId) -> Result<Option<Reminder>, DbError> {
    let locked =
        sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM medication_reminders WHERE reminder_id = $1 FOR UPDATE"#, id.0)
            .fetch_optional(&mut *conn)
            .await?;
    match locked {
        Some(_) => one(conn, id).await,
        None => Ok(None),
    }
}

/// Writes what may change of a reminder, and has it planned anew from `plan_at` on; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save(
    conn: &mut PgConnection,
    reminder: &mut Reminder,
    plan_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    reminder.version = sqlx::query_scalar!(
        "UPDATE medication_reminders SET timing = $2, meaning = $3, home_zone = $4, min_interval_seconds = $5, nudge_after_seconds = $6,
           window_seconds = $7, active = $8, replan = true, next_plan_at = $9, updated_at = $10, version = version + 1
         WHERE reminder_id = $1 RETURNING version",
        reminder.id.0,
        reminder.timing,
        reminder.meaning,
        reminder.home_zone,
        reminder.min_interval_seconds,
        &reminder.nudge_after_seconds,
        reminder.window_seconds,
        reminder.active,
        plan_at,
        now
    )
    .fetch_one(conn)
    .await?;
    reminder.updated_at = now;
    Ok(())
}

/// A stored dose beside its slot.
#[derive(Clone, Debug)]
pub struct StoredOccurrence {
    /// The dose.
    pub id: OccurrenceId,
    /// Its name in the plan.
    pub slot: NaiveDateTime,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The zone it was planned in.
    pub zone: String,
    /// Its state.
    pub state: String,
    /// How often it was snoozed.
    pub snoozes: i16,
    /// Why it is in this state, where that needs saying.
    pub reason: Option<String>,
    /// When it was first reminded of.
    pub reminded_at: Option<DateTime<Utc>>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
}

/// The stored doses of these slots.
///
/// # Errors
/// Postgres.
pub async fn stored_at(
    conn: &mut PgConnection,
    id: ReminderId,
    slots: &[NaiveDateTime],
) -> Result<Vec<StoredOccurrence>, DbError> {
    sqlx::query_as!(
        StoredOccurrence,
        r#"SELECT occurrence_id AS "id: OccurrenceId", slot, due_at, zone, state, snoozes, reason, reminded_at, settled_at
           FROM dose_occurrences WHERE reminder_id = $1 AND slot = ANY ($2)"#,
        id.0,
        slots
    )
    .fetch_all(conn)
    .await
}

/// Whose a dose is, and whether it is one to be given.
#[derive(Clone, Debug)]
pub struct DoseAbout {
    /// The reminder whose plan has it.
    pub reminder: ReminderId,
    /// The patient.
    pub patient: PersonId,
    /// Reminder, prescription and patient are such that doses are reminded of.
    pub in_force: bool,
}

/// One stored dose, and whose it is.
///
/// # Errors
/// Postgres.
pub async fn stored(
    conn: &mut PgConnection,
    id: OccurrenceId,
) -> Result<Option<(DoseAbout, StoredOccurrence)>, DbError> {
    let row = sqlx::query!(
        r#"SELECT o.reminder_id AS "reminder: ReminderId", o.patient_id AS "patient: PersonId",
             (r.active AND x.status = 'active' AND p.active AND NOT p.deceased) AS "in_force!",
             o.slot, o.due_at, o.zone, o.state, o.snoozes, o.reason, o.reminded_at, o.settled_at
           FROM dose_occurrences o JOIN medication_reminders r USING (reminder_id) JOIN prescriptions x USING (prescription_id)
           JOIN people p ON p.person_id = o.patient_id WHERE o.occurrence_id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let about = DoseAbout { reminder: row.reminder, patient: row.patient, in_force: row.in_force };
        let dose = StoredOccurrence {
            id,
            slot: row.slot,
            due_at: row.due_at,
            zone: row.zone,
            state: row.state,
            snoozes: row.snoozes,
            reason: row.reason,
            reminded_at: row.reminded_at,
            settled_at: row.settled_at,
        };
        (about, dose)
    }))
}

/// Enqueues planning on behalf of `org`. `planning` is the job that plans whatever is due for it; here it belongs to the
/// organization, as all rows do that the organization's own transactions write, and has no unique key: one that is
/// running may have looked already and would not see what this transaction commits.
///
/// # Errors
/// Postgres.
pub async fn plan_soon(tx: &mut Tx, org: OrgId, planning: NewJob) -> Result<(), DbError> {
    tx.enqueue_all(vec![planning.for_org(org).beside_others()]).await?;
    Ok(())
}
