//! Who pays for a patient.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::ids::{InsuranceId, OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::Way;

/// The kinds of policies.
pub const INSURANCE_KINDS: [&str; 5] = ["private", "public", "employer", "medicare", "medicaid"];
/// What the patient is to the subscriber.
pub const SUBSCRIBER_RELATIONSHIPS: [&str; 5] = ["self", "spouse", "child", "parent", "other"];

/// A policy. No `Debug`: it holds personal data, and a number that is as good as money.
#[derive(Clone, PartialEq, Eq)]
pub struct Insurance {
    /// The policy.
    pub id: InsuranceId,
    /// Who is insured.
    pub patient: PersonId,
    /// One of [`INSURANCE_KINDS`].
    pub kind: String,
    /// Who insures.
    pub provider: String,
    /// Its number.
    pub policy_number: String,
    /// The number of the group that it belongs to.
    pub group_number: Option<String>,
    /// Whose policy it is.
    pub subscriber_name: String,
    /// One of [`SUBSCRIBER_RELATIONSHIPS`].
    pub relationship: String,
    /// Its first day.
    pub effective_on: NaiveDate,
    /// Its last day; none: no end is known.
    pub expires_on: Option<NaiveDate>,
    /// The currency of its amounts.
    pub currency: String,
    /// What the patient pays of each visit, in the currency's smallest unit.
    pub copay: Option<i64>,
    /// What the patient pays of a year before the insurance does, in the currency's smallest unit.
    pub deductible: Option<i64>,
    /// When it was ended here.
    pub ended_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

macro_rules! select_insurances {
    ($tail:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Insurance,
            r#"SELECT insurance_id AS "id: InsuranceId", patient_id AS "patient: PersonId", kind, provider, policy_number, group_number,
                 subscriber_name, relationship, effective_on, expires_on, currency, copay, deductible, ended_at, created_at, updated_at, version
               FROM insurances "# + $tail $(+ $more)*,
            $($args),*
        )
    };
}

/// Which policies to list.
#[derive(Clone, Copy, Default)]
pub struct InsuranceFilter<'a> {
    /// Of this patient.
    pub patient: Option<PersonId>,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// That pay on this day.
    pub valid_on: Option<NaiveDate>,
}

macro_rules! list_insurances {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        select_insurances!(
            "WHERE org_id = $1 AND ($2::uuid IS NULL OR patient_id = $2) AND ($3::text IS NULL OR kind = $3)
               AND ($4::date IS NULL OR (effective_on <= $4 AND (expires_on IS NULL OR expires_on >= $4) AND ended_at IS NULL))
               AND ($5::uuid IS NULL OR insurance_id " + $past + " $5)
             ORDER BY insurance_id " + $way + " LIMIT $6",
            $org.0,
            $filter.patient.map(|id| id.0),
            $filter.kind,
            $filter.valid_on,
            $after.map(|id| id.0),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Policies of `org` after `after`, by when they were added, which is the order of their ids.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: InsuranceFilter<'_>,
    way: Way,
    after: Option<InsuranceId>,
    limit: i64,
) -> Result<Vec<Insurance>, DbError> {
    match way {
        Way::Up => list_insurances!(conn, org, filter, after, limit, ">", "ASC"),
        Way::Down => list_insurances!(conn, org, filter, after, limit, "<", "DESC"),
    }
}

/// All policies of a patient, oldest first; so many at most.
///
/// # Errors
/// Postgres.
pub async fn of_patient(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    most: i64,
) -> Result<Vec<Insurance>, DbError> {
    select_insurances!("WHERE org_id = $1 AND patient_id = $2 ORDER BY insurance_id LIMIT $3", org.0, patient.0, most)
        .fetch_all(conn)
        .await
}

/// How many policies of a patient have not ended.
///
/// # Errors
/// Postgres.
pub async fn count(conn: &mut PgConnection, org: OrgId, patient: PersonId) -> Result<i64, DbError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM insurances WHERE org_id = $1 AND patient_id = $2 AND ended_at IS NULL"#,
        org.0,
        patient.0
    )
    .fetch_one(conn)
    .await
}

/// One policy.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: InsuranceId) -> Result<Option<Insurance>, DbError> {
    select_insurances!("WHERE insurance_id = $1", id.0).fetch_optional(conn).await
}

/// One policy, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: InsuranceId) -> Result<Option<Insurance>, DbError> {
    select_insurances!("WHERE insurance_id = $1 FOR UPDATE", id.0).fetch_optional(conn).await
}

/// Stores a new policy.
///
/// # Errors
/// Postgres; such a policy of the patient is there (a unique violation).
pub async fn insert(conn: &mut PgConnection, org: OrgId, new: &Insurance) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO insurances (insurance_id, org_id, patient_id, kind, provider, policy_number, group_number, subscriber_name, relationship,
           effective_on, expires_on, currency, copay, deductible, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        new.id.0,
        org.0,
        new.patient.0,
        new.kind,
        new.provider,
        new.policy_number,
        new.group_number,
        new.subscriber_name,
        new.relationship,
        new.effective_on,
        new.expires_on,
        new.currency,
        new.copay,
        new.deductible,
        new.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what may change of a policy; its version goes up by one.
///
/// # Errors
/// Postgres; such a policy of the patient is there (a unique violation).
pub async fn save(conn: &mut PgConnection, row: &mut Insurance, now: DateTime<Utc>) -> Result<(), DbError> {
    row.version = sqlx::query_scalar!(
        "UPDATE insurances SET kind = $2, provider = $3, policy_number = $4, group_number = $5, subscriber_name = $6, relationship = $7,
           effective_on = $8, expires_on = $9, copay = $10, deductible = $11, ended_at = $12, updated_at = $13, version = version + 1
         WHERE insurance_id = $1 RETURNING version",
        row.id.0,
        row.kind,
        row.provider,
        row.policy_number,
        row.group_number,
        row.subscriber_name,
        row.relationship,
        row.effective_on,
        row.expires_on,
        row.copay,
        row.deductible,
        row.ended_at,
        now
    )
    .fetch_one(conn)
    .await?;
    row.updated_at = now;
    Ok(())
}
