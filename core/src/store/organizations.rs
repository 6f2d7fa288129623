//! Organizations.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::OrgId;
use crate::store::DbError;

/// An organization.
#[derive(Clone, Debug)]
pub struct OrganizationRow {
    /// The row.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// The name it uses where its own tells too much.
    pub discreet_name: Option<String>,
    /// Its zone.
    pub zone: String,
    /// Its telephone number.
    pub phone: Option<String>,
}

/// Stores an organization.
///
/// # Errors
/// Postgres.
pub async fn put(conn: &mut PgConnection, o: &OrganizationRow, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO organizations (org_id, name, discreet_name, zone, phone, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
         ON CONFLICT (org_id) DO UPDATE SET name = excluded.name, zone = excluded.zone, phone = coalesce(excluded.phone, organizations.phone),
           updated_at = $6, version = organizations.version + 1",
        o.id.0,
        o.name,
        o.discreet_name,
        o.zone,
        o.phone,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE medication_reminders r SET next_plan_at = $2 FROM people p WHERE p.person_id = r.patient_id AND p.org_id = $1 AND p.zone IS NULL
           AND r.planned_zone IS DISTINCT FROM $3 AND r.meaning = 'wall_clock'",
        o.id.0,
        now,
        o.zone
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every organization, oldest first.
///
/// # Errors
/// Postgres.
pub async fn all(conn: &mut PgConnection) -> Result<Vec<OrganizationRow>, DbError> {
    sqlx::query_as!(
        OrganizationRow,
        r#"SELECT org_id AS "id: OrgId", name, discreet_name, zone, phone FROM organizations ORDER BY created_at, org_id LIMIT 10000"#
    )
    .fetch_all(conn)
    .await
}

/// The zone of an organization.
///
/// # Errors
/// Postgres, or no such organization.
pub async fn zone(conn: &mut PgConnection, org: OrgId) -> Result<String, DbError> {
    sqlx::query_scalar!("SELECT zone FROM organizations WHERE org_id = $1", org.0).fetch_one(conn).await
}

/// Locks an organization until the transaction ends. False: there is none of that id.
///
/// # Errors
/// Postgres.
pub async fn lock(conn: &mut PgConnection, org: OrgId) -> Result<bool, DbError> {
    let found =
        sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM organizations WHERE org_id = $1 FOR NO KEY UPDATE"#, org.0);
    Ok(found.fetch_optional(conn).await?.is_some())
}
