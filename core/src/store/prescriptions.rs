//! Prescriptions, as staff read and write them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{OrgId, PersonId, PrescriptionId};
use crate::store::DbError;
use crate::store::listing::Way;
use crate::store::people::IdentifierWanted;

/// The states of a prescription.
pub const STATUSES: [&str; 4] = ["active", "on_hold", "completed", "stopped"];

/// A prescription. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct Prescription {
    /// The prescription.
    pub id: PrescriptionId,
    /// For whom.
    pub patient: PersonId,
    /// By whom.
    pub prescriber: Option<PersonId>,
    /// The medicine's name.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// When it is taken, as [`crate::doses::Timing`]; none: not structured.
    pub timing: Option<Value>,
    /// One of [`STATUSES`].
    pub status: String,
    /// What the patient is told about taking it.
    pub instructions: Option<String>,
    /// How much is handed out at a time, in units of the medicine.
    pub quantity: Option<i32>,
    /// How often it may be handed out again.
    pub refills_allowed: i32,
    /// How often it was.
    pub refills_used: i32,
    /// When it last was.
    pub refilled_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

/// Stores a new prescription of `org`.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, org: OrgId, new: &Prescription) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, timing, status, created_at, updated_at, version,
           instructions, quantity, refills_allowed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        new.id.0,
        org.0,
        new.patient.0,
        new.prescriber.map(|id| id.0),
        new.medicine,
        new.dosage,
        new.timing,
        new.status,
        new.created_at,
        new.updated_at,
        new.version,
        new.instructions,
        new.quantity,
        new.refills_allowed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which prescriptions to list.
#[derive(Clone, Copy, Default)]
pub struct PrescriptionFilter<'a> {
    /// Of this patient.
    pub patient: Option<PersonId>,
    /// With such an identifier.
    pub identifier: Option<IdentifierWanted<'a>>,
    /// In this state.
    pub status: Option<&'a str>,
}

macro_rules! select_prescriptions {
    ($which:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Prescription,
            r#"SELECT prescription_id AS "id: PrescriptionId", patient_id AS "patient: PersonId", prescriber_id AS "prescriber: PersonId",
                 medicine, dosage, timing, status, instructions, quantity, refills_allowed, refills_used, refilled_at, created_at, updated_at, version
               FROM prescriptions "# + $which $(+ $more)*,
            $($args),*
        )
    };
}

macro_rules! list_prescriptions {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $order:literal) => {{
        let wanted = $filter.identifier.unwrap_or_default();
        select_prescriptions!(
            "WHERE org_id = $1 AND ($2::uuid IS NULL OR prescription_id "
                + $past
                + " $2) AND ($3::uuid IS NULL OR patient_id = $3)
             AND ($4::text IS NULL OR status = $4)
             AND (NOT $5::bool OR prescription_id IN (
               SELECT subject_id FROM identifiers WHERE org_id = $1 AND subject_type = 'prescription'
                 AND ($6::text IS NULL OR system = $6) AND ($7::text IS NULL OR value = $7)))
             ORDER BY prescription_id "
                + $order
                + " LIMIT $8",
            $org.0,
            $after.map(|id| id.0),
            $filter.patient.map(|id| id.0),
            $filter.status,
            $filter.identifier.is_some(),
            wanted.system,
            wanted.value,
            $limit
        )
        .fetch_all($conn)
        .await
    }};
}

/// Prescriptions of `org` after `after`, by when they were written, which is the order of their ids.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: PrescriptionFilter<'_>,
    way: Way,
    after: Option<PrescriptionId>,
    limit: i64,
) -> Result<Vec<Prescription>, DbError> {
    match way {
        Way::Up => list_prescriptions!(conn, org, filter, after, limit, ">", "ASC"),
        Way::Down => list_prescriptions!(conn, org, filter, after, limit, "<", "DESC"),
    }
}

/// One prescription.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: PrescriptionId) -> Result<Option<Prescription>, DbError> {
    select_prescriptions!("WHERE prescription_id = $1", id.0).fetch_optional(conn).await
}

/// Writes what may change of a prescription, and how often it was refilled; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save(conn: &mut PgConnection, row: &mut Prescription, now: DateTime<Utc>) -> Result<(), DbError> {
    row.version = sqlx::query_scalar!(
        "UPDATE prescriptions SET instructions = $2, quantity = $3, refills_allowed = $4, refills_used = $5, refilled_at = $6, updated_at = $7,
           version = version + 1
         WHERE prescription_id = $1 RETURNING version",
        row.id.0,
        row.instructions,
        row.quantity,
        row.refills_allowed,
        row.refills_used,
        row.refilled_at,
        now
    )
    .fetch_one(conn)
    .await?;
    row.updated_at = now;
    Ok(())
}

/// One prescription, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: PrescriptionId) -> Result<Option<Prescription>, DbError> {
    let locked =
        sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM prescriptions WHERE prescription_id = $1 FOR UPDATE"#, id.0)
            .fetch_optional(&mut *conn)
            .await?;
    match locked {
        Some(_) => one(conn, id).await,
        None => Ok(None),
    }
}

/// Stops a prescription, and has the planner look at its reminders, which lose their coming doses. Gives the new version.
///
/// # Errors
/// Postgres.
pub async fn stop(
    conn: &mut PgConnection,
    id: PrescriptionId,
    plan_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i32, DbError> {
    let version = sqlx::query_scalar!(
        "UPDATE prescriptions SET status = 'stopped', updated_at = $2, version = version + 1 WHERE prescription_id = $1 RETURNING version",
        id.0,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!("UPDATE medication_reminders SET next_plan_at = $2 WHERE prescription_id = $1", id.0, plan_at)
        .execute(conn)
        .await?;
    Ok(version)
}
