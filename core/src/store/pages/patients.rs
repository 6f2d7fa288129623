//! Patients by their names, and the names of people.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId};
use crate::store::DbError;

/// A patient, as a line of a page. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct PatientLine {
    /// The patient.
    pub id: PersonId,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Day of birth.
    pub birth_date: Option<chrono::NaiveDate>,
    /// Takes part.
    pub active: bool,
    /// Has died.
    pub deceased: bool,
}

/// Patients by family name; those only whose name holds each of `words`, whatever the case. `after` is the last patient of the
/// page before.
///
/// # Errors
/// Postgres.
pub async fn by_name(
    conn: &mut PgConnection,
    org: OrgId,
    words: &[String],
    after: Option<PersonId>,
    most: i64,
) -> Result<Vec<PatientLine>, DbError> {
    sqlx::query_as!(
        PatientLine,
        r#"SELECT p.person_id AS "id: PersonId", p.given_name, p.family_name, p.birth_date, p.active, p.deceased
           FROM people p
           WHERE p.org_id = $1 AND p.role = 'patient'
             AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS w (word) WHERE strpos(lower(p.given_name || ' ' || p.family_name), lower(word)) = 0)
             AND ($3::uuid IS NULL OR (p.family_name, p.given_name, p.person_id) >
               (SELECT l.family_name, l.given_name, l.person_id FROM people l WHERE l.person_id = $3))
           ORDER BY p.family_name, p.given_name, p.person_id LIMIT $4"#,
        org.0,
        words,
        after.map(|id| id.0),
        most
    )
    .fetch_all(conn)
    .await
}

/// The names of these people, as far as they are of `org`.
///
/// # Errors
/// Postgres.
pub async fn names(conn: &mut PgConnection, org: OrgId, of: &[Uuid]) -> Result<Vec<(PersonId, String)>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT person_id AS "id: PersonId", given_name || ' ' || family_name AS "name!" FROM people WHERE org_id = $1 AND person_id = ANY ($2)"#,
        org.0,
        of
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}
