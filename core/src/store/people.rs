//! Patients, as staff read and change them.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId};
use crate::store::DbError;
use crate::store::audit::Role;

mod lists;
pub use lists::{PatientOrder, patients};

/// A patient. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct Patient {
    /// The patient.
    pub id: PersonId,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Day of birth.
    pub birth_date: Option<NaiveDate>,
    /// The address; mail goes there.
    pub email: Option<String>,
    /// When the address was proven; none: mail says as little as it can.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Telephone number.
    pub phone: Option<String>,
    /// The zone the patient is in; none: the organization's.
    pub zone: Option<String>,
    /// The language to write in; none: the organization's.
    pub locale: Option<String>,
    /// What a mail may say, 0 to 3.
    pub privacy_level: i16,
    /// When the patient said yes to medicines being named.
    pub medicine_opt_in_at: Option<DateTime<Utc>>,
    /// Takes part.
    pub active: bool,
    /// Has died.
    pub deceased: bool,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

/// An identifier by which other systems know a row.
#[derive(Clone)]
pub struct IdentifierRow {
    /// Whose.
    pub subject: Uuid,
    /// Who gave it; empty: not said.
    pub system: String,
    /// The identifier.
    pub value: String,
}

/// Which identifiers are meant.
#[derive(Clone, Copy, Default)]
pub struct IdentifierWanted<'a> {
    /// The system; none: any, empty: without one.
    pub system: Option<&'a str>,
    /// The value; none: any.
    pub value: Option<&'a str>,
}

/// Which patients to list.
#[derive(Clone, Copy, Default)]
pub struct PatientFilter<'a> {
    /// With such an identifier.
    pub identifier: Option<IdentifierWanted<'a>>,
    /// With this in their name, whatever the case.
    pub name: Option<&'a str>,
}

/// One patient.
///
/// # Errors
/// Postgres.
pub async fn patient(conn: &mut PgConnection, id: PersonId) -> Result<Option<Patient>, DbError> {
    sqlx::query_as!(
        Patient,
        r#"SELECT person_id AS "id: PersonId", given_name, family_name, birth_date, email, email_verified_at, phone, zone, locale,
             privacy_level, medicine_opt_in_at, active, deceased, created_at, updated_at, version
           FROM people WHERE person_id = $1 AND role = 'patient'"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// One patient with the identifiers, in one statement.
///
/// # Errors
/// Postgres.
pub async fn patient_with_identifiers(
    conn: &mut PgConnection,
    id: PersonId,
) -> Result<Option<(Patient, Vec<IdentifierRow>)>, DbError> {
    let row = sqlx::query!(
        r#"SELECT given_name, family_name, birth_date, email, email_verified_at, phone, zone, locale, privacy_level, medicine_opt_in_at,
             active, deceased, created_at, updated_at, version,
             (SELECT json_agg(json_build_array(i.system, i.value) ORDER BY i.system, i.value) FROM identifiers i
              WHERE i.org_id = p.org_id AND i.subject_type = 'person' AND i.subject_id = p.person_id) AS "identifiers: Json<Vec<(String, String)>>"
           FROM people p WHERE person_id = $1 AND role = 'patient'"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let known = row.identifiers.map(|Json(known)| known).unwrap_or_default();
        let known = known.into_iter().map(|(system, value)| IdentifierRow { subject: id.0, system, value }).collect();
        let patient = Patient {
            id,
            given_name: row.given_name,
            family_name: row.family_name,
            birth_date: row.birth_date,
            email: row.email,
            email_verified_at: row.email_verified_at,
            phone: row.phone,
            zone: row.zone,
            locale: row.locale,
            privacy_level: row.privacy_level,
            medicine_opt_in_at: row.medicine_opt_in_at,
            active: row.active,
            deceased: row.deceased,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        };
        (patient, known)
    }))
}

/// One patient, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn patient_to_change(conn: &mut PgConnection, id: PersonId) -> Result<Option<Patient>, DbError> {
    let locked = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!" FROM people WHERE person_id = $1 AND role = 'patient' FOR UPDATE"#,
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    match locked {
        Some(_) => patient(conn, id).await,
        None => Ok(None),
    }
}

/// Writes what may change of a patient; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save_patient(conn: &mut PgConnection, patient: &mut Patient, now: DateTime<Utc>) -> Result<(), DbError> {
    patient.version = sqlx::query_scalar!(
        "UPDATE people SET email = $2, email_verified_at = $3, zone = $4, locale = $5, privacy_level = $6, medicine_opt_in_at = $7,
           active = $8, deceased = $9, updated_at = $10, given_name = $11, family_name = $12, birth_date = $13, phone = $14,
           version = version + 1
         WHERE person_id = $1 RETURNING version",
        patient.id.0,
        patient.email,
        patient.email_verified_at,
        patient.zone,
        patient.locale,
        patient.privacy_level,
        patient.medicine_opt_in_at,
        patient.active,
        patient.deceased,
        now,
        patient.given_name,
        patient.family_name,
        patient.birth_date,
        patient.phone
    )
    .fetch_one(conn)
    .await?;
    patient.updated_at = now;
    Ok(())
}

/// A patient of the same names and the same birth date; the oldest of them.
///
/// # Errors
/// Postgres.
pub async fn namesake(conn: &mut PgConnection, org: OrgId, of: &Patient) -> Result<Option<PersonId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT person_id AS "id: PersonId" FROM people
           WHERE org_id = $1 AND role = 'patient' AND family_name = $2 AND given_name = $3 AND birth_date IS NOT DISTINCT FROM $4
           ORDER BY created_at, person_id LIMIT 1"#,
        org.0,
        of.family_name,
        of.given_name,
        of.birth_date
    )
    .fetch_optional(conn)
    .await
}

/// Stores a new patient.
///
/// # Errors
/// Postgres.
pub async fn register(conn: &mut PgConnection, org: OrgId, p: &Patient) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, birth_date, email, phone, zone, locale, privacy_level,
           medicine_opt_in_at, created_at, updated_at)
         VALUES ($1, $2, 'patient', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
        p.id.0,
        org.0,
        p.given_name,
        p.family_name,
        p.birth_date,
        p.email,
        p.phone,
        p.zone,
        p.locale,
        p.privacy_level,
        p.medicine_opt_in_at,
        p.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks a patient until the transaction ends, for what belongs to them: it is added one after the other. False: there is no such
/// patient here.
///
/// # Errors
/// Postgres.
pub async fn lock_patient(conn: &mut PgConnection, id: PersonId) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!" FROM people WHERE person_id = $1 AND role = 'patient' FOR NO KEY UPDATE"#,
        id.0
    );
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// The role of a person, of those that the transaction sees.
///
/// # Errors
/// Postgres.
pub async fn role_of(conn: &mut PgConnection, id: PersonId) -> Result<Option<String>, DbError> {
    sqlx::query_scalar!("SELECT role FROM people WHERE person_id = $1", id.0).fetch_optional(conn).await
}

/// The identifiers of rows of one sort (`person`, `prescription`).
///
/// # Errors
/// Postgres.
pub async fn identifiers(
    conn: &mut PgConnection,
    org: OrgId,
    subject_type: &str,
    subjects: &[Uuid],
) -> Result<Vec<IdentifierRow>, DbError> {
    sqlx::query_as!(
        IdentifierRow,
        "SELECT subject_id AS subject, system, value FROM identifiers
         WHERE org_id = $1 AND subject_type = $2 AND subject_id = ANY ($3) ORDER BY system, value",
        org.0,
        subject_type,
        subjects
    )
    .fetch_all(conn)
    .await
}

/// The doctors of the organization that the transaction sees, by name; so many at most.
///
/// # Errors
/// Postgres.
pub async fn doctors(conn: &mut PgConnection, most: i64) -> Result<Vec<(PersonId, String)>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT person_id AS "id: PersonId", concat_ws(' ', given_name, family_name) AS "name!" FROM people
           WHERE role = 'doctor' AND active ORDER BY family_name, given_name, person_id LIMIT $1"#,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Somebody who has an address. No `Debug`: it holds personal data.
pub struct Addressee {
    /// Who.
    pub id: PersonId,
    /// In which role.
    pub role: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Takes part.
    pub active: bool,
}

/// Who of the staff of `org`, or else of its patients, has this address, whatever the case; the oldest of them.
///
/// # Errors
/// Postgres.
pub async fn with_address(
    conn: &mut PgConnection,
    org: OrgId,
    email: &str,
    staff: bool,
) -> Result<Option<Addressee>, DbError> {
    sqlx::query_as!(
        Addressee,
        r#"SELECT person_id AS "id: PersonId", role, given_name, family_name, active AND NOT deceased AS "active!" FROM people
           WHERE org_id = $1 AND (role <> 'patient') = $3 AND lower(email) = lower($2) ORDER BY person_id LIMIT 1"#,
        org.0,
        email,
        staff
    )
    .fetch_optional(conn)
    .await
}

/// A person to store. No `Debug`: it holds personal data.
pub struct NewPerson<'a> {
    /// Who.
    pub id: PersonId,
    /// Whose.
    pub org: OrgId,
    /// In which role.
    pub role: Role,
    /// Given name.
    pub given_name: &'a str,
    /// Family name.
    pub family_name: &'a str,
    /// The address.
    pub email: &'a str,
}

/// Stores a person.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, p: &NewPerson<'_>, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        p.id.0,
        p.org.0,
        p.role.as_str(),
        p.given_name,
        p.family_name,
        p.email,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
