//! Rows of a demonstration clinic, many at a time.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::OrgId;
use crate::store::DbError;

/// An invented patient with one medicine.
#[derive(Clone, Debug)]
pub struct DemoPatient {
    /// The person.
    pub person: Uuid,
    /// The prescription.
    pub prescription: Uuid,
    /// The reminder.
    pub reminder: Uuid,
    /// Given name.
    pub given: String,
    /// Family name.
    pub family: String,
    /// Address.
    pub email: String,
    /// Zone, if it is not the clinic's.
    pub zone: Option<String>,
    /// What mail may say.
    pub privacy_level: i16,
    /// The medicine.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// When.
    pub timing: Value,
    /// `wall_clock` or `elapsed`.
    pub meaning: String,
}

/// A patient's reminders, as the demonstration wants them.
#[derive(Clone, Debug)]
pub struct DemoLadder {
    /// When nudges come, in seconds.
    pub nudge_after_seconds: Vec<i32>,
    /// When a dose is missed, in seconds.
    pub window_seconds: i32,
}

/// Stores patients with a prescription and a reminder each.
///
/// # Errors
/// Postgres.
pub async fn patients(
    conn: &mut PgConnection,
    org: OrgId,
    prescriber: Uuid,
    all: &[DemoPatient],
    ladder: &DemoLadder,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let persons: Vec<Uuid> = all.iter().map(|p| p.person).collect();
    let prescriptions: Vec<Uuid> = all.iter().map(|p| p.prescription).collect();
    sqlx::query!(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, zone, privacy_level, medicine_opt_in_at, created_at, updated_at)
         SELECT id, $1, 'patient', given, family, email, $8, zone, level, CASE WHEN level = 3 THEN $8::timestamptz END, $8, $8
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int2[]) AS n (id, given, family, email, zone, level)",
        org.0,
        &persons,
        &all.iter().map(|p| p.given.clone()).collect::<Vec<_>>(),
        &all.iter().map(|p| p.family.clone()).collect::<Vec<_>>(),
        &all.iter().map(|p| p.email.clone()).collect::<Vec<_>>(),
        &all.iter().map(|p| p.zone.clone()).collect::<Vec<_>>() as &[Option<String>],
        &all.iter().map(|p| p.privacy_level).collect::<Vec<_>>(),
        now
    )
    .execute(&mut *conn)
    .await?;
    let timings: Vec<Value> = all.iter().map(|p| p.timing.clone()).collect();
    sqlx::query!(
        "INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, timing, created_at, updated_at)
         SELECT id, $1, patient, $2, medicine, dosage, timing, $8, $8
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[]) AS n (id, patient, medicine, dosage, timing)",
        org.0,
        prescriber,
        &prescriptions,
        &persons,
        &all.iter().map(|p| p.medicine.clone()).collect::<Vec<_>>(),
        &all.iter().map(|p| p.dosage.clone()).collect::<Vec<_>>(),
        &timings,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, nudge_after_seconds, window_seconds, next_plan_at, created_at, updated_at)
         SELECT id, $1, prescription, patient, timing, meaning, $7, $8, $9, $9, $9
         FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::jsonb[], $6::text[]) AS n (id, prescription, patient, timing, meaning)",
        org.0,
        &all.iter().map(|p| p.reminder).collect::<Vec<_>>(),
        &prescriptions,
        &persons,
        &timings,
        &all.iter().map(|p| p.meaning.clone()).collect::<Vec<_>>(),
        &ladder.nudge_after_seconds,
        ladder.window_seconds,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
