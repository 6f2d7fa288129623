//! Whom to call when something happens to a patient.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{ContactId, OrgId, PersonId};
use crate::store::DbError;

/// What somebody is to a patient.
pub const RELATIONSHIPS: [&str; 9] =
    ["spouse", "partner", "parent", "child", "sibling", "relative", "friend", "guardian", "other"];
/// Who says that a contact may be contacted.
pub const CONSENT_GIVERS: [&str; 3] = ["contact", "patient", "guardian"];

/// An emergency contact. No `Debug`: it holds personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// The contact.
    pub id: ContactId,
    /// Whose.
    pub patient: PersonId,
    /// Their name.
    pub name: String,
    /// One of [`RELATIONSHIPS`].
    pub relationship: String,
    /// Their telephone number.
    pub phone: String,
    /// Their address.
    pub email: Option<String>,
    /// They are called first.
    pub primary: bool,
    /// They decide about treatment when the patient cannot.
    pub may_decide: bool,
    /// One of [`CONSENT_GIVERS`].
    pub consent_given_by: Option<String>,
    /// When consent was given.
    pub consent_given_at: Option<DateTime<Utc>>,
    /// When it was withdrawn.
    pub consent_withdrawn_at: Option<DateTime<Utc>>,
    /// There is consent, so they may be contacted.
    pub may_contact: bool,
    /// When they were removed.
    pub removed_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

macro_rules! select_contacts {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Contact,
            r#"SELECT contact_id AS "id: ContactId", patient_id AS "patient: PersonId", name, relationship, phone, email, is_primary AS "primary",
                 may_decide, consent_given_by, consent_given_at, consent_withdrawn_at, may_contact AS "may_contact!", removed_at, created_at,
                 updated_at, version
               FROM emergency_contacts "# + $tail,
            $($args),*
        )
    };
}

/// The contacts of a patient that were not removed, oldest first, after `after`.
///
/// # Errors
/// Postgres.
pub async fn of_patient(
    conn: &mut PgConnection,
    patient: PersonId,
    after: Option<ContactId>,
    limit: i64,
) -> Result<Vec<Contact>, DbError> {
    select_contacts!(
        "WHERE patient_id = $1 AND removed_at IS NULL AND ($2::uuid IS NULL OR contact_id > $2) ORDER BY contact_id LIMIT $3",
        patient.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// All contacts of a patient that are on record, also those that were removed, oldest first.
///
/// # Errors
/// Postgres.
pub async fn held_of_patient(conn: &mut PgConnection, patient: PersonId, most: i64) -> Result<Vec<Contact>, DbError> {
    select_contacts!("WHERE patient_id = $1 ORDER BY contact_id LIMIT $2", patient.0, most).fetch_all(conn).await
}

/// How many contacts of a patient there are that were not removed.
///
/// # Errors
/// Postgres.
pub async fn count(conn: &mut PgConnection, patient: PersonId) -> Result<i64, DbError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "all!" FROM emergency_contacts WHERE patient_id = $1 AND removed_at IS NULL"#,
        patient.0
    )
    .fetch_one(conn)
    .await
}

/// One contact; one that was removed too.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: ContactId) -> Result<Option<Contact>, DbError> {
    select_contacts!("WHERE contact_id = $1", id.0).fetch_optional(conn).await
}

/// One contact. Its patient is locked until the transaction ends, by which all contacts of the patient are.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: ContactId) -> Result<Option<Contact>, DbError> {
    sqlx::query!(
        "SELECT FROM people WHERE person_id = (SELECT patient_id FROM emergency_contacts WHERE contact_id = $1) FOR NO KEY UPDATE",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    one(conn, id).await
}

/// Stores a new contact. Whoever calls holds the patient's row.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, org: OrgId, contact: &Contact) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO emergency_contacts (contact_id, org_id, patient_id, name, relationship, phone, email, is_primary, may_decide,
           consent_given_by, consent_given_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
        contact.id.0,
        org.0,
        contact.patient.0,
        contact.name,
        contact.relationship,
        contact.phone,
        contact.email,
        contact.primary,
        contact.may_decide,
        contact.consent_given_by,
        contact.consent_given_at,
        contact.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what may change of a contact; its version goes up by one. Whoever calls holds the patient's row.
///
/// # Errors
/// Postgres.
pub async fn save(conn: &mut PgConnection, contact: &mut Contact, now: DateTime<Utc>) -> Result<(), DbError> {
    let saved = sqlx::query!(
        r#"UPDATE emergency_contacts SET name = $2, relationship = $3, phone = $4, email = $5, is_primary = $6, may_decide = $7,
             consent_given_by = $8, consent_given_at = $9, consent_withdrawn_at = $10, removed_at = $11, updated_at = $12, version = version + 1
           WHERE contact_id = $1 RETURNING version, may_contact AS "may_contact!""#,
        contact.id.0,
        contact.name,
        contact.relationship,
        contact.phone,
        contact.email,
        contact.primary,
        contact.may_decide,
        contact.consent_given_by,
        contact.consent_given_at,
        contact.consent_withdrawn_at,
        contact.removed_at,
        now
    )
    .fetch_one(conn)
    .await?;
    (contact.version, contact.may_contact, contact.updated_at) = (saved.version, saved.may_contact, now);
    Ok(())
}

/// Has no contact of a patient be the first any more. Gives the one that was.
///
/// # Errors
/// Postgres.
pub async fn unset_primary(
    conn: &mut PgConnection,
    patient: PersonId,
    now: DateTime<Utc>,
) -> Result<Option<ContactId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE emergency_contacts SET is_primary = false, updated_at = $2, version = version + 1
           WHERE patient_id = $1 AND is_primary RETURNING contact_id AS "id: ContactId""#,
        patient.0,
        now
    )
    .fetch_optional(conn)
    .await
}
