//! Imported records become rows: each under the id that its source gave it, so that importing again changes, not doubles.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::OrgId;
use crate::store::DbError;

/// A resource of another system, by the id it has there.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a> {
    /// Into which organization it was imported.
    pub org: OrgId,
    /// The system that gave the id.
    pub source: &'a str,
    /// The resource type.
    pub kind: &'a str,
    /// The id.
    pub id: &'a str,
}

/// The row that an earlier import made of a resource.
///
/// # Errors
/// Postgres.
pub async fn known(conn: &mut PgConnection, f: Foreign<'_>) -> Result<Option<Uuid>, DbError> {
    sqlx::query_scalar!(
        "SELECT subject_id FROM imported_resources WHERE org_id = $1 AND source = $2 AND resource_type = $3 AND resource_id = $4",
        f.org.0,
        f.source,
        f.kind,
        f.id
    )
    .fetch_optional(conn)
    .await
}

/// Remembers the row of a resource; two imports at once agree on the first one's.
///
/// # Errors
/// Postgres.
pub async fn remember(
    conn: &mut PgConnection,
    f: Foreign<'_>,
    subject: Uuid,
    now: DateTime<Utc>,
) -> Result<Uuid, DbError> {
    sqlx::query_scalar!(
        "INSERT INTO imported_resources (org_id, source, resource_type, resource_id, subject_id, imported_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (org_id, source, resource_type, resource_id) DO UPDATE SET imported_at = excluded.imported_at RETURNING subject_id",
        f.org.0,
        f.source,
        f.kind,
        f.id,
        subject,
        now
    )
    .fetch_one(conn)
    .await
}

/// Remembers what a resource says, as a fingerprint. False: it said the same when it was last imported.
///
/// # Errors
/// Postgres.
pub async fn says_new(conn: &mut PgConnection, f: Foreign<'_>, fingerprint: &str) -> Result<bool, DbError> {
    let changed = sqlx::query!(
        "UPDATE imported_resources SET fingerprint = $5
         WHERE org_id = $1 AND source = $2 AND resource_type = $3 AND resource_id = $4 AND fingerprint IS DISTINCT FROM $5",
        f.org.0,
        f.source,
        f.kind,
        f.id,
        fingerprint
    )
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Sets the identifiers of a row.
///
/// # Errors
/// Postgres.
pub async fn set_identifiers(
    conn: &mut PgConnection,
    org: OrgId,
    subject_type: &str,
    subject: Uuid,
    all: &[(String, String)],
) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM identifiers WHERE org_id = $1 AND subject_type = $2 AND subject_id = $3",
        org.0,
        subject_type,
        subject
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO identifiers (org_id, subject_type, subject_id, system, value)
         SELECT $1, $2, $3, system, value FROM unnest($4::text[], $5::text[]) AS n (system, value) ON CONFLICT DO NOTHING",
        org.0,
        subject_type,
        subject,
        &all.iter().map(|(system, _)| system.clone()).collect::<Vec<_>>(),
        &all.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The row that has an identifier, if exactly one has.
///
/// # Errors
/// Postgres.
pub async fn by_identifier(
    conn: &mut PgConnection,
    org: OrgId,
    subject_type: &str,
    system: Option<&str>,
    value: &str,
) -> Result<Option<Uuid>, DbError> {
    let found = sqlx::query_scalar!(
        "SELECT DISTINCT subject_id FROM identifiers WHERE org_id = $1 AND subject_type = $2 AND system = $3 AND value = $4 LIMIT 2",
        org.0,
        subject_type,
        system.unwrap_or(""),
        value
    )
    .fetch_all(conn)
    .await?;
    Ok(if let [one] = found[..] { Some(one) } else { None })
}

/// A patient or a practitioner, to store. No `Debug`: it holds personal data.
pub struct PersonRow {
    /// The row.
    pub id: Uuid,
    /// patient, doctor …
    pub role: &'static str,
    /// Given names.
    pub given: String,
    /// Family name.
    pub family: String,
    /// Day of birth.
    pub birth_date: Option<NaiveDate>,
    /// Address.
    pub email: Option<String>,
    /// Telephone.
    pub phone: Option<String>,
    /// Zone, if it is not the organization's.
    pub zone: Option<String>,
    /// Language tag.
    pub locale: Option<String>,
    /// Active.
    pub active: bool,
    /// Deceased.
    pub deceased: bool,
}

/// Stores a person; a changed address is unproven again. Their reminders are planned anew.
///
/// # Errors
/// Postgres.
pub async fn put_person(conn: &mut PgConnection, org: OrgId, p: &PersonRow, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, birth_date, email, phone, zone, locale, active, deceased, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
         ON CONFLICT (person_id) DO UPDATE SET given_name = excluded.given_name, family_name = excluded.family_name, birth_date = excluded.birth_date,
           email_verified_at = CASE WHEN people.email = excluded.email THEN people.email_verified_at END, email = excluded.email, phone = excluded.phone,
           zone = excluded.zone, locale = excluded.locale, active = excluded.active, deceased = excluded.deceased, updated_at = $13, version = people.version + 1",
        p.id,
        org.0,
        p.role,
        p.given,
        p.family,
        p.birth_date,
        p.email,
        p.phone,
        p.zone,
        p.locale,
        p.active,
        p.deceased,
        now
    )
    .execute(&mut *conn)
    .await?;
    crate::store::doses::replan_for_patient(conn, p.id.into(), now).await
}

/// A prescription and its reminder, to store.
#[derive(Clone, Debug)]
pub struct PrescriptionRow {
    /// The row.
    pub id: Uuid,
    /// For whom.
    pub patient: Uuid,
    /// By whom.
    pub prescriber: Option<Uuid>,
    /// The medicine's name.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// Its timing; none: no plan can be made.
    pub timing: Option<Value>,
    /// active, on_hold, completed or stopped.
    pub status: &'static str,
    /// What the timing's times mean.
    pub meaning: &'static str,
}

/// Stores a prescription, and the reminder of its timing: a new one gets the id `reminder`. A reminder whose timing did
/// not change keeps its plan.
///
/// # Errors
/// Postgres.
pub async fn put_prescription(
    conn: &mut PgConnection,
    org: OrgId,
    p: &PrescriptionRow,
    reminder: Uuid,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, timing, status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
         ON CONFLICT (prescription_id) DO UPDATE SET patient_id = excluded.patient_id, prescriber_id = excluded.prescriber_id, medicine = excluded.medicine,
           dosage = excluded.dosage, timing = excluded.timing, status = excluded.status, updated_at = $9, version = prescriptions.version + 1",
        p.id,
        org.0,
        p.patient,
        p.prescriber,
        p.medicine,
        p.dosage,
        p.timing,
        p.status,
        now
    )
    .execute(&mut *conn)
    .await?;
    let planned = p.timing.as_ref().filter(|timing| timing["kind"] != "as_needed");
    let changed = sqlx::query!(
        "UPDATE medication_reminders SET replan = replan OR timing IS DISTINCT FROM coalesce($2, timing) OR meaning <> $3, timing = coalesce($2, timing), meaning = $3,
           active = $2::jsonb IS NOT NULL, next_plan_at = $4, updated_at = $4, version = version + 1
         WHERE prescription_id = $1",
        p.id,
        planned,
        p.meaning,
        now
    )
    .execute(&mut *conn)
    .await?;
    if let Some(timing) = planned.filter(|_| changed.rows_affected() == 0) {
        sqlx::query!(
            "INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, next_plan_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)",
            reminder,
            org.0,
            p.id,
            p.patient,
            timing,
            p.meaning,
            now
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// A visit, to store.
#[derive(Clone, Debug)]
pub struct VisitRow {
    /// The row.
    pub id: Uuid,
    /// Whose.
    pub patient: Uuid,
    /// With whom.
    pub doctor: Option<Uuid>,
    /// From.
    pub starts_at: DateTime<Utc>,
    /// Until.
    pub ends_at: DateTime<Utc>,
    /// The status, as FHIR names it.
    pub status: String,
}

/// Stores a visit. Another time, doctor, patient or status makes its sequence one higher, so that mail about the old ones lapses.
///
/// # Errors
/// Postgres.
pub async fn put_visit(conn: &mut PgConnection, org: OrgId, v: &VisitRow, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (appointment_id) DO UPDATE SET patient_id = excluded.patient_id, doctor_id = excluded.doctor_id, starts_at = excluded.starts_at,
           ends_at = excluded.ends_at, status = excluded.status, updated_at = $8, version = appointments.version + 1,
           cancelled_at = CASE WHEN excluded.status = 'cancelled' THEN coalesce(appointments.cancelled_at, $8) END,
           cancel_reason = CASE WHEN excluded.status = 'cancelled' THEN appointments.cancel_reason END,
           (sequence, confirmed_by_patient_at, clash_known) = (
             SELECT CASE WHEN same THEN appointments.sequence ELSE appointments.sequence + 1 END,
               CASE WHEN same THEN appointments.confirmed_by_patient_at END, same AND appointments.clash_known
             FROM (SELECT (appointments.patient_id, appointments.doctor_id, appointments.starts_at, appointments.ends_at, appointments.status)
               IS NOT DISTINCT FROM (excluded.patient_id, excluded.doctor_id, excluded.starts_at, excluded.ends_at, excluded.status) AS same) AS was)",
        v.id,
        org.0,
        v.patient,
        v.doctor,
        v.starts_at,
        v.ends_at,
        v.status,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The zone that holds for a person: their own, else the organization's.
///
/// # Errors
/// Postgres.
pub async fn zone_of(conn: &mut PgConnection, person: Uuid) -> Result<Option<String>, DbError> {
    sqlx::query_scalar!(r#"SELECT coalesce(p.zone, c.zone) AS "zone!" FROM people p JOIN organizations c USING (org_id) WHERE person_id = $1"#, person)
        .fetch_optional(conn)
        .await
}
