//! Dose plans: what is to be planned, what falls due, what was answered.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::doses::Timing;
use crate::ids::{OccurrenceId, OrgId, PersonId, ReminderId};
use crate::store::DbError;

/// A reminder as the planner reads it.
#[derive(Clone, Debug)]
pub struct ReminderToPlan {
    /// The reminder.
    pub id: ReminderId,
    /// Whose.
    pub org: OrgId,
    /// The patient.
    pub patient: PersonId,
    /// Its timing; unreadable when none.
    pub timing: Option<Timing>,
    /// `wall_clock`, `elapsed` or `home_zone`.
    pub meaning: String,
    /// The home zone, if that is what it means.
    pub home_zone: Option<String>,
    /// The zone the patient is in.
    pub patient_zone: String,
    /// The least time between two doses, in seconds.
    pub min_interval_seconds: i32,
    /// Doses are wanted: reminder on, prescription active, patient alive and active.
    pub wanted: bool,
    /// Planned up to here.
    pub planned_through: Option<DateTime<Utc>>,
    /// In this zone.
    pub planned_zone: Option<String>,
    /// With this version of the tz database.
    pub planned_tzdb: Option<String>,
    /// The reminder itself changed since.
    pub replan: bool,
}

macro_rules! select_reminders {
    ($tail:literal, $($args:expr),*) => {
        sqlx::query!(
            r#"SELECT r.reminder_id AS "id: ReminderId", r.org_id AS "org: OrgId", r.patient_id AS "patient: PersonId", r.timing AS "timing: Value",
                 r.meaning, r.home_zone, coalesce(p.zone, c.zone) AS "patient_zone!", r.min_interval_seconds,
                 (r.active AND x.status = 'active' AND p.active AND NOT p.deceased) AS "wanted!",
                 r.planned_through, r.planned_zone, r.planned_tzdb, r.replan
               FROM medication_reminders r JOIN people p ON p.person_id = r.patient_id
               JOIN organizations c ON c.org_id = r.org_id JOIN prescriptions x USING (prescription_id) "# + $tail,
            $($args),*
        )
    };
}

macro_rules! reminder_of {
    ($row:ident) => {
        ReminderToPlan {
            id: $row.id,
            org: $row.org,
            patient: $row.patient,
            timing: serde_json::from_value($row.timing).ok(),
            meaning: $row.meaning,
            home_zone: $row.home_zone,
            patient_zone: $row.patient_zone,
            min_interval_seconds: $row.min_interval_seconds,
            wanted: $row.wanted,
            planned_through: $row.planned_through,
            planned_zone: $row.planned_zone,
            planned_tzdb: $row.planned_tzdb,
            replan: $row.replan,
        }
    };
}

/// Reminders that the planner has to look at by `now`, locked; others' planners skip them.
///
/// # Errors
/// Postgres.
pub async fn reminders_to_plan(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ReminderToPlan>, DbError> {
    let rows = select_reminders!(
        "WHERE r.next_plan_at <= $1 ORDER BY r.next_plan_at LIMIT $2 FOR UPDATE OF r SKIP LOCKED",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| reminder_of!(row)).collect())
}

/// One reminder, as the planner reads it.
///
/// # Errors
/// Postgres.
pub async fn reminder(conn: &mut PgConnection, id: ReminderId) -> Result<Option<ReminderToPlan>, DbError> {
    let row = select_reminders!("WHERE r.reminder_id = $1", id.0).fetch_optional(conn).await?;
    Ok(row.map(|row| reminder_of!(row)))
}

/// A stored occurrence, as the planner compares it.
#[derive(Clone, Copy, Debug)]
pub struct StoredDose {
    /// Whose plan.
    pub reminder: ReminderId,
    /// Its name in the plan.
    pub slot: NaiveDateTime,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// Still only planned, and in the future: the planner may move or drop it.
    pub open: bool,
}

/// The stored doses of reminders that are due after `after`, and of each the last one before.
///
/// # Errors
/// Postgres.
pub async fn stored_doses(
    conn: &mut PgConnection,
    reminders: &[ReminderId],
    after: DateTime<Utc>,
) -> Result<Vec<StoredDose>, DbError> {
    let ids: Vec<Uuid> = reminders.iter().map(|id| id.0).collect();
    sqlx::query_as!(
        StoredDose,
        r#"SELECT reminder_id AS "reminder!: ReminderId", slot AS "slot!", due_at AS "due_at!", state = 'planned' AND due_at > $2 AS "open!"
           FROM dose_occurrences WHERE reminder_id = ANY($1) AND due_at > $2
           UNION ALL
           SELECT o.reminder_id, o.slot, o.due_at, false FROM unnest($1) AS w (id)
           CROSS JOIN LATERAL (SELECT * FROM dose_occurrences WHERE reminder_id = w.id AND due_at <= $2 ORDER BY due_at DESC LIMIT 1) o"#,
        &ids,
        after
    )
    .fetch_all(conn)
    .await
}

/// A dose to store.
#[derive(Clone, Debug)]
pub struct NewDose {
    /// The reminder.
    pub reminder: ReminderId,
    /// Whose.
    pub org: OrgId,
    /// The patient.
    pub patient: PersonId,
    /// Its name in the plan.
    pub slot: NaiveDateTime,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The zone it is planned in.
    pub zone: String,
}

/// Stores doses; one that has its row already stays as it is.
///
/// # Errors
/// Postgres.
pub async fn add_doses(
    conn: &mut PgConnection,
    ids: &[OccurrenceId],
    doses: &[NewDose],
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, ladder_at, next_at, updated_at)
         SELECT id, org, reminder, patient, slot, due, zone, due, due, $8
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamp[], $6::timestamptz[], $7::text[])
           AS n (id, org, reminder, patient, slot, due, zone)
         ON CONFLICT (reminder_id, slot) DO NOTHING",
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.org.0).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.reminder.0).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.patient.0).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.slot).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.due_at).collect::<Vec<_>>(),
        &doses.iter().map(|d| d.zone.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Moves planned doses. What fell due meanwhile stays.
///
/// # Errors
/// Postgres.
pub async fn move_doses(
    conn: &mut PgConnection,
    moves: &[(ReminderId, NaiveDateTime, DateTime<Utc>, String)],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE dose_occurrences o SET due_at = n.due, ladder_at = n.due, next_at = n.due, zone = n.zone, updated_at = $5
         FROM unnest($1::uuid[], $2::timestamp[], $3::timestamptz[], $4::text[]) AS n (reminder, slot, due, zone)
         WHERE o.reminder_id = n.reminder AND o.slot = n.slot AND o.state = 'planned'",
        &moves.iter().map(|m| m.0.0).collect::<Vec<_>>(),
        &moves.iter().map(|m| m.1).collect::<Vec<_>>(),
        &moves.iter().map(|m| m.2).collect::<Vec<_>>(),
        &moves.iter().map(|m| m.3.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops planned doses that the plan no longer has.
///
/// # Errors
/// Postgres.
pub async fn drop_doses(conn: &mut PgConnection, drops: &[(ReminderId, NaiveDateTime)]) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM dose_occurrences o USING unnest($1::uuid[], $2::timestamp[]) AS n (reminder, slot)
         WHERE o.reminder_id = n.reminder AND o.slot = n.slot AND o.state = 'planned'",
        &drops.iter().map(|d| d.0.0).collect::<Vec<_>>(),
        &drops.iter().map(|d| d.1).collect::<Vec<_>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a reminder was planned with.
#[derive(Clone, Debug)]
pub struct PlannedWith {
    /// The reminder.
    pub reminder: ReminderId,
    /// Whose.
    pub org: OrgId,
    /// Up to here.
    pub through: DateTime<Utc>,
    /// In this zone.
    pub zone: String,
    /// The planner looks again then; none: never, the plan has ended or is off.
    pub next_plan_at: Option<DateTime<Utc>>,
    /// first, rolling, reminder, zone or tzdb.
    pub cause: &'static str,
    /// How many doses were added, moved, dropped.
    pub changed: (i32, i32, i32),
    /// The first moves and drops.
    pub detail: Value,
}

/// Remembers what reminders were planned with, and logs what changed.
///
/// # Errors
/// Postgres.
pub async fn set_planned(
    conn: &mut PgConnection,
    ids: &[Uuid],
    all: &[PlannedWith],
    tzdb: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE medication_reminders r SET planned_through = n.through, planned_zone = n.zone, planned_tzdb = $5, replan = false, next_plan_at = n.next
         FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::timestamptz[]) AS n (id, through, zone, next) WHERE r.reminder_id = n.id",
        &all.iter().map(|p| p.reminder.0).collect::<Vec<_>>(),
        &all.iter().map(|p| p.through).collect::<Vec<_>>(),
        &all.iter().map(|p| p.zone.clone()).collect::<Vec<_>>(),
        &all.iter().map(|p| p.next_plan_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        tzdb
    )
    .execute(&mut *conn)
    .await?;
    let changed: Vec<(&Uuid, &PlannedWith)> = ids.iter().zip(all).filter(|(_, p)| p.changed != (0, 0, 0)).collect();
    sqlx::query!(
        "INSERT INTO plan_changes (change_id, org_id, reminder_id, changed_at, cause, added, moved, dropped, detail)
         SELECT id, org, reminder, $9, cause, added, moved, dropped, detail
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int4[], $6::int4[], $7::int4[], $8::jsonb[])
           AS n (id, org, reminder, cause, added, moved, dropped, detail)",
        &changed.iter().map(|(id, _)| **id).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.org.0).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.reminder.0).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.cause.to_owned()).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.changed.0).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.changed.1).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.changed.2).collect::<Vec<_>>(),
        &changed.iter().map(|(_, p)| p.detail.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the planner look at every reminder that was planned with another tz database.
///
/// # Errors
/// Postgres.
pub async fn replan_for_tzdb(conn: &mut PgConnection, tzdb: &str, now: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "UPDATE medication_reminders SET next_plan_at = $2 WHERE planned_tzdb <> $1 AND active",
        tzdb,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Makes the planner look at a patient's reminders: their zone, or whether they are to be reminded, has changed.
///
/// # Errors
/// Postgres.
pub async fn replan_for_patient(conn: &mut PgConnection, patient: PersonId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE medication_reminders SET next_plan_at = $2 WHERE patient_id = $1", patient.0, now)
        .execute(conn)
        .await?;
    Ok(())
}
