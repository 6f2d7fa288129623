//! Visits with the names of who meets.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{AppointmentId, OrgId, PersonId};
use crate::store::DbError;

/// A visit, as a line of a page. No `Debug`: where somebody meets whom is theirs.
#[derive(Clone)]
pub struct VisitLine {
    /// The visit.
    pub id: AppointmentId,
    /// Who comes.
    pub patient: PersonId,
    /// Their name.
    pub patient_name: String,
    /// To whom; an imported visit may name nobody.
    pub doctor_name: Option<String>,
    /// From.
    pub starts_at: DateTime<Utc>,
    /// Until.
    pub ends_at: DateTime<Utc>,
    /// The zone its times are said in: its own, else the organization's.
    pub zone: String,
    /// As FHIR names it: `booked`, `cancelled` …
    pub status: String,
    /// new, follow_up, check_up, procedure or other.
    pub kind: String,
    /// in_person or virtual.
    pub mode: String,
    /// Where, if in person.
    pub place: Option<String>,
    /// Whether the patient said that they will come.
    pub confirmed: bool,
    /// Whether the patient asked for another time.
    pub move_asked: bool,
}

/// Which visits.
#[derive(Clone, Copy)]
pub struct Span {
    /// That begin at or after …
    pub from: DateTime<Utc>,
    /// … and before.
    pub to: DateTime<Utc>,
}

macro_rules! select_lines {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            VisitLine,
            r#"SELECT a.appointment_id AS "id: AppointmentId", a.patient_id AS "patient: PersonId", p.given_name || ' ' || p.family_name AS "patient_name!",
                 d.given_name || ' ' || d.family_name AS doctor_name, a.starts_at, a.ends_at, coalesce(a.zone, c.zone) AS "zone!", a.status, a.kind, a.mode,
                 a.place, a.confirmed_by_patient_at IS NOT NULL AS "confirmed!", a.move_asked_at IS NOT NULL AS "move_asked!"
               FROM appointments a JOIN organizations c USING (org_id) JOIN people p ON p.person_id = a.patient_id
                 LEFT JOIN people d ON d.person_id = a.doctor_id "# + $tail,
            $($args),*
        )
    };
}

/// The visits of a span, by their start; of one doctor if one is named.
///
/// # Errors
/// Postgres.
pub async fn agenda(
    conn: &mut PgConnection,
    org: OrgId,
    span: Span,
    doctor: Option<PersonId>,
    most: i64,
) -> Result<Vec<VisitLine>, DbError> {
    select_lines!(
        "WHERE a.org_id = $1 AND a.starts_at >= $2 AND a.starts_at < $3 AND ($4::uuid IS NULL OR a.doctor_id = $4)
         ORDER BY a.starts_at, a.appointment_id LIMIT $5",
        org.0,
        span.from,
        span.to,
        doctor.map(|id| id.0),
        most
    )
    .fetch_all(conn)
    .await
}

/// A patient's visits that end after `now`, the next one first.
///
/// # Errors
/// Postgres.
pub async fn ahead(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<VisitLine>, DbError> {
    select_lines!(
        "WHERE a.org_id = $1 AND a.patient_id = $2 AND a.ends_at > $3 ORDER BY a.starts_at, a.appointment_id LIMIT $4",
        org.0,
        patient.0,
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// A patient's visits that are over, the last one first.
///
/// # Errors
/// Postgres.
pub async fn past(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<VisitLine>, DbError> {
    select_lines!(
        "WHERE a.org_id = $1 AND a.patient_id = $2 AND a.ends_at <= $3 ORDER BY a.starts_at DESC, a.appointment_id DESC LIMIT $4",
        org.0,
        patient.0,
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// One visit.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, org: OrgId, id: AppointmentId) -> Result<Option<VisitLine>, DbError> {
    select_lines!("WHERE a.org_id = $1 AND a.appointment_id = $2", org.0, id.0).fetch_optional(conn).await
}
