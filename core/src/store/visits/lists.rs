//! Lists of visits.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Visit, VisitFilter};
use crate::ids::{AppointmentId, OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::Way;

macro_rules! list_visits {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        select_visits!(
            "WHERE a.org_id = $1 AND ($2::timestamptz IS NULL OR a.starts_at >= $2) AND ($3::timestamptz IS NULL OR a.starts_at < $3)
               AND ($4::uuid IS NULL OR a.doctor_id = $4) AND ($5::uuid IS NULL OR a.patient_id = $5) AND ($6::text IS NULL OR a.status = $6)
               AND ($7::timestamptz IS NULL OR (a.starts_at, a.appointment_id) " + $past + " ($7, $8::uuid))
             ORDER BY a.starts_at " + $way + ", a.appointment_id " + $way + " LIMIT $9",
            $org.0,
            $filter.from,
            $filter.to,
            $filter.doctor.map(|id| id.0),
            $filter.patient.map(|id| id.0),
            $filter.status,
            $after.map(|(at, _)| at),
            $after.map(|(_, id)| id),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Visits of `org` after a place (start, id), by their start.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: VisitFilter,
    way: Way,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Visit>, DbError> {
    match (way, filter.doctor, filter.patient) {
        (Way::Up, Some(doctor), None) => of_doctor(conn, org, doctor, filter, after, limit).await,
        (Way::Up, ..) => list_visits!(conn, org, filter, after, limit, ">", "ASC"),
        (Way::Down, ..) => list_visits!(conn, org, filter, after, limit, "<", "DESC"),
    }
}

/// [`list`] for the agenda of a doctor, which is asked for most: without conditions that may be left out, Postgres keeps its plan.
async fn of_doctor(
    conn: &mut PgConnection,
    org: OrgId,
    doctor: PersonId,
    filter: VisitFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Visit>, DbError> {
    // All visits lie within these years.
    let from = filter.from.unwrap_or(DateTime::UNIX_EPOCH - TimeDelta::days(70 * 366));
    let (after, after_id) = after.unwrap_or((from - TimeDelta::seconds(1), Uuid::nil()));
    let to = filter.to.unwrap_or(DateTime::UNIX_EPOCH + TimeDelta::days(8030 * 366));
    select_visits!(
        "WHERE a.org_id = $1 AND a.doctor_id = $2 AND a.starts_at >= $3 AND (a.starts_at, a.appointment_id) > ($4, $5) AND a.starts_at < $6
           AND ($7::text IS NULL OR a.status = $7)
         ORDER BY a.starts_at, a.appointment_id LIMIT $8",
        org.0,
        doctor.0,
        from.max(after),
        after,
        after_id,
        to,
        filter.status,
        limit
    )
    .fetch_all(conn)
    .await
}
