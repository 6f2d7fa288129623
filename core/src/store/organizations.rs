//! Organizations.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::clinic::{ClinicRules, Holiday, Hours, OpeningHours, VisitRules};
use crate::ids::OrgId;
use crate::store::DbError;
use crate::time::ZoneError;

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
    replan_for_zone(conn, o.id, &o.zone, now).await
}

/// Has the planner look at the doses whose times follow the organization's zone, if they were planned in another one.
///
/// # Errors
/// Postgres.
pub async fn replan_for_zone(
    conn: &mut PgConnection,
    org: OrgId,
    zone: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE medication_reminders r SET next_plan_at = $2 FROM people p WHERE p.person_id = r.patient_id AND p.org_id = $1 AND p.zone IS NULL
           AND r.planned_zone IS DISTINCT FROM $3 AND r.meaning = 'wall_clock'",
        org.0,
        now,
        zone
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

/// The currency in which an organization asks for money.
///
/// # Errors
/// Postgres, or no such organization.
pub async fn currency(conn: &mut PgConnection, org: OrgId) -> Result<String, DbError> {
    sqlx::query_scalar!("SELECT currency FROM organizations WHERE org_id = $1", org.0).fetch_one(conn).await
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

/// An organization with all that it decides for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// The row.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// The name it uses where its own tells too much.
    pub discreet_name: Option<String>,
    /// clinic, hospital or solo_practice.
    pub kind: String,
    /// Its zone.
    pub zone: String,
    /// Its telephone number.
    pub phone: Option<String>,
    /// Where it is.
    pub address: Option<String>,
    /// When it is open.
    pub opening_hours: OpeningHours,
    /// When it is not, by day.
    pub holidays: Vec<Holiday>,
    /// The rules of its visits.
    pub visit_rules: VisitRules,
    /// So many minutes after its end a visit to which nobody came is a no-show by itself; none: staff say so.
    pub no_show_after_minutes: Option<i32>,
    /// Where its online visits take place: an https address with `{room}` in it.
    pub meeting_url_template: Option<String>,
    /// The currency in which it asks for money, by its code.
    pub currency: String,
    /// Its staff get to the pages with a second factor only.
    pub second_factor_required: bool,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1.
    pub version: i32,
}

impl Organization {
    /// What holds for its visits.
    ///
    /// # Errors
    /// Its zone is none.
    pub fn rules(self) -> Result<ClinicRules, DbError> {
        let zone = self.zone.parse().map_err(|error: ZoneError| DbError::Decode(error.into()))?;
        let hours = Hours { zone, opening: self.opening_hours, holidays: self.holidays };
        Ok(ClinicRules { visits: self.visit_rules, hours, meeting_url_template: self.meeting_url_template })
    }
}

macro_rules! select_organization {
    ($conn:expr, $org:expr, $tail:literal) => {{
        let row = sqlx::query!(
            r#"SELECT org_id AS "id: OrgId", name, discreet_name, kind, zone, phone, address, opening_hours AS "opening_hours: Json<OpeningHours>",
                 holidays AS "holidays: Json<Vec<Holiday>>", patient_move_minutes, patient_cancel_minutes, longest_visit_minutes, book_ahead_days,
                 offer_days, offer_every_minutes, offers, offers_a_day, first_reminder_minutes, last_reminder_minutes, join_before_minutes,
                 join_after_minutes, no_show_after_minutes, meeting_url_template, currency, second_factor_required,
                 created_at, updated_at, version
               FROM organizations WHERE org_id = $1 "# + $tail,
            $org.0
        )
        .fetch_optional($conn)
        .await?;
        row.map(|row| Organization {
            id: row.id,
            name: row.name,
            discreet_name: row.discreet_name,
            kind: row.kind,
            zone: row.zone,
            phone: row.phone,
            address: row.address,
            opening_hours: row.opening_hours.0,
            holidays: row.holidays.0,
            visit_rules: VisitRules {
                patient_move_minutes: row.patient_move_minutes,
                patient_cancel_minutes: row.patient_cancel_minutes,
                longest_visit_minutes: row.longest_visit_minutes,
                book_ahead_days: row.book_ahead_days,
                offer_days: row.offer_days,
                offer_every_minutes: row.offer_every_minutes,
                offers: row.offers,
                offers_a_day: row.offers_a_day,
                first_reminder_minutes: row.first_reminder_minutes,
                last_reminder_minutes: row.last_reminder_minutes,
                join_before_minutes: row.join_before_minutes,
                join_after_minutes: row.join_after_minutes,
            },
            no_show_after_minutes: row.no_show_after_minutes,
            meeting_url_template: row.meeting_url_template,
            currency: row.currency,
            second_factor_required: row.second_factor_required,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }};
}

/// One organization.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, org: OrgId) -> Result<Option<Organization>, DbError> {
    Ok(select_organization!(conn, org, ""))
}

/// One organization, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, org: OrgId) -> Result<Option<Organization>, DbError> {
    Ok(select_organization!(conn, org, "FOR NO KEY UPDATE"))
}

/// What holds for the visits of an organization, at this moment.
///
/// # Errors
/// Postgres, or no such organization.
pub async fn rules(conn: &mut PgConnection, org: OrgId) -> Result<ClinicRules, DbError> {
    one(conn, org).await?.ok_or(DbError::RowNotFound)?.rules()
}

/// Writes what may change of an organization; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save(conn: &mut PgConnection, o: &mut Organization, now: DateTime<Utc>) -> Result<(), DbError> {
    let rules = &o.visit_rules;
    o.version = sqlx::query_scalar!(
        "UPDATE organizations SET name = $2, discreet_name = $3, kind = $4, zone = $5, phone = $6, address = $7, opening_hours = $8, holidays = $9,
           patient_move_minutes = $10, patient_cancel_minutes = $11, longest_visit_minutes = $12, book_ahead_days = $13, offer_days = $14,
           offer_every_minutes = $15, offers = $16, offers_a_day = $17, first_reminder_minutes = $18, last_reminder_minutes = $19,
           no_show_after_minutes = $20, meeting_url_template = $21, join_before_minutes = $22, join_after_minutes = $23, updated_at = $24, currency = $25, second_factor_required = $26, version = version + 1
         WHERE org_id = $1 RETURNING version",
        o.id.0,
        o.name,
        o.discreet_name,
        o.kind,
        o.zone,
        o.phone,
        o.address,
        Json(&o.opening_hours) as _,
        Json(&o.holidays) as _,
        rules.patient_move_minutes,
        rules.patient_cancel_minutes,
        rules.longest_visit_minutes,
        rules.book_ahead_days,
        rules.offer_days,
        rules.offer_every_minutes,
        rules.offers,
        rules.offers_a_day,
        rules.first_reminder_minutes,
        rules.last_reminder_minutes,
        o.no_show_after_minutes,
        o.meeting_url_template,
        rules.join_before_minutes,
        rules.join_after_minutes,
        now,
        o.currency,
        o.second_factor_required
    )
    .fetch_one(conn)
    .await?;
    o.updated_at = now;
    Ok(())
}
