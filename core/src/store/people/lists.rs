//! Lists of patients.

use sqlx::PgConnection;

use super::{Patient, PatientFilter};
use crate::ids::{OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::Way;

/// What a list of patients is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientOrder {
    /// When they were registered, which is the order of their ids.
    Registered(Way),
    /// Family name, given name and id.
    Name(Way),
}

macro_rules! list_patients {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $order:literal) => {{
        let wanted = $filter.identifier.unwrap_or_default();
        sqlx::query_as!(
            Patient,
            r#"SELECT person_id AS "id: PersonId", given_name, family_name, birth_date, email, email_verified_at, phone, zone, locale,
                 privacy_level, medicine_opt_in_at, active, deceased, created_at, updated_at, version
               FROM people p
               WHERE org_id = $1 AND role = 'patient' AND ($2::uuid IS NULL OR "# + $past + r#")
                 AND (NOT $3::bool OR person_id IN (
                   SELECT subject_id FROM identifiers WHERE org_id = $1 AND subject_type = 'person'
                     AND ($4::text IS NULL OR system = $4) AND ($5::text IS NULL OR value = $5)))
                 AND ($6::text IS NULL OR strpos(lower(given_name || ' ' || family_name), lower($6)) > 0)
               ORDER BY "# + $order + " LIMIT $7",
            $org.0,
            $after.map(|id| id.0),
            $filter.identifier.is_some(),
            wanted.system,
            wanted.value,
            $filter.name,
            $limit
        )
        .fetch_all($conn)
        .await
    }};
}

/// Patients of `org` after `after`.
///
/// # Errors
/// Postgres.
pub async fn patients(
    conn: &mut PgConnection,
    org: OrgId,
    filter: PatientFilter<'_>,
    order: PatientOrder,
    after: Option<PersonId>,
    limit: i64,
) -> Result<Vec<Patient>, DbError> {
    match order {
        PatientOrder::Registered(Way::Up) => {
            list_patients!(conn, org, filter, after, limit, "person_id > $2", "person_id")
        }
        PatientOrder::Registered(Way::Down) => {
            list_patients!(conn, org, filter, after, limit, "person_id < $2", "person_id DESC")
        }
        PatientOrder::Name(Way::Up) => list_patients!(
            conn,
            org,
            filter,
            after,
            limit,
            "(family_name, given_name, person_id) > (SELECT m.family_name, m.given_name, m.person_id FROM people m WHERE m.person_id = $2)",
            "family_name, given_name, person_id"
        ),
        PatientOrder::Name(Way::Down) => list_patients!(
            conn,
            org,
            filter,
            after,
            limit,
            "(family_name, given_name, person_id) < (SELECT m.family_name, m.given_name, m.person_id FROM people m WHERE m.person_id = $2)",
            "family_name DESC, given_name DESC, person_id DESC"
        ),
    }
}
