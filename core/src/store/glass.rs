//! Who treats whom, and who broke the glass to read the records of a patient whom they do not treat.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{GlassId, OrgId, PersonId};
use crate::store::DbError;

/// A broken glass. No `Debug`: the reason may tell of the patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Glass {
    /// The break.
    pub id: GlassId,
    /// The organization.
    pub org: OrgId,
    /// Who reads.
    pub person: PersonId,
    /// Whose records.
    pub patient: PersonId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub broken_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
    /// When operators were told.
    pub told_at: Option<DateTime<Utc>>,
}

/// What somebody has to do with a patient, as the rows have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation {
    /// They treat the patient.
    pub treats: bool,
    /// A glass that they broke, and that is open.
    pub glass: Option<GlassId>,
}

/// The relation of `person` to `patient`. Within the last year, or 90 days ahead: a visit with them; within the last year a
/// prescription by them, or one in force, or a record that they wrote without breaking the glass. `on_duty`: a visit of the
/// patient, with whomever, within a day of now counts as well.
///
/// # Errors
/// Postgres.
pub async fn relation(
    conn: &mut PgConnection,
    org: OrgId,
    person: PersonId,
    patient: PersonId,
    on_duty: bool,
    now: DateTime<Utc>,
) -> Result<Relation, DbError> {
    sqlx::query_as!(
        Relation,
        r#"SELECT EXISTS (SELECT FROM appointments WHERE org_id = $1 AND patient_id = $2 AND doctor_id = $3
               AND status NOT IN ('cancelled', 'noshow', 'entered-in-error', 'declined')
               AND starts_at BETWEEN $4::timestamptz - interval '365 days' AND $4::timestamptz + interval '90 days')
             OR EXISTS (SELECT FROM prescriptions WHERE org_id = $1 AND patient_id = $2 AND prescriber_id = $3
               AND (status IN ('active', 'on_hold') OR updated_at > $4::timestamptz - interval '365 days'))
             OR EXISTS (SELECT FROM medical_records WHERE org_id = $1 AND patient_id = $2 AND author_id = $3 AND glass_id IS NULL
               AND state = 'active' AND recorded_at > $4::timestamptz - interval '365 days')
             OR ($5 AND EXISTS (SELECT FROM appointments WHERE org_id = $1 AND patient_id = $2
               AND status NOT IN ('cancelled', 'noshow', 'entered-in-error', 'declined')
               AND starts_at BETWEEN $4::timestamptz - interval '1 day' AND $4::timestamptz + interval '1 day')) AS "treats!",
             (SELECT glass_id FROM glass_breaks WHERE patient_id = $2 AND person_id = $3 AND ends_at > $4::timestamptz
               ORDER BY ends_at DESC LIMIT 1) AS "glass: GlassId""#,
        org.0,
        patient.0,
        person.0,
        now,
        on_duty
    )
    .fetch_one(conn)
    .await
}

/// Stores a broken glass.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, new: &Glass) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO glass_breaks (glass_id, org_id, person_id, patient_id, reason, broken_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        new.id.0,
        new.org.0,
        new.person.0,
        new.patient.0,
        new.reason,
        new.broken_at,
        new.ends_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One broken glass.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: GlassId) -> Result<Option<Glass>, DbError> {
    sqlx::query_as!(
        Glass,
        r#"SELECT glass_id AS "id: GlassId", org_id AS "org: OrgId", person_id AS "person: PersonId", patient_id AS "patient: PersonId",
             reason, broken_at, ends_at, told_at FROM glass_breaks WHERE glass_id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// Notes that operators were told. False: they had been.
///
/// # Errors
/// Postgres.
pub async fn told(conn: &mut PgConnection, id: GlassId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let told = sqlx::query!("UPDATE glass_breaks SET told_at = $2 WHERE glass_id = $1 AND told_at IS NULL", id.0, now);
    Ok(told.execute(conn).await?.rows_affected() > 0)
}

/// When the last of all that are open ends; none: none is.
///
/// # Errors
/// Postgres.
pub async fn last_end(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, DbError> {
    sqlx::query_scalar!("SELECT max(ends_at) FROM glass_breaks WHERE ends_at > $1", now).fetch_one(conn).await
}

/// The addresses of the administrators of an organization, 20 at most.
///
/// # Errors
/// Postgres.
pub async fn administrators(conn: &mut PgConnection, org: OrgId) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT email AS "email!" FROM people WHERE org_id = $1 AND role = 'admin' AND active AND NOT deceased AND email IS NOT NULL
           ORDER BY person_id LIMIT 20"#,
        org.0
    )
    .fetch_all(conn)
    .await
}
