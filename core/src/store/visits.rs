//! Visits: booked, moved, cancelled, looked at.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AppointmentId, OrgId, PersonId};
use crate::store::DbError;

/// The exclusion constraint by which a doctor is never booked twice.
const DOCTOR_FREE: &str = "appointments_doctor_free";

/// A visit. No `Debug`: where somebody meets whom is theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// The visit.
    pub id: AppointmentId,
    /// Whose.
    pub org: OrgId,
    /// Who comes.
    pub patient: PersonId,
    /// To whom; an imported visit may name nobody.
    pub doctor: Option<PersonId>,
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
    /// The meeting's address, if virtual.
    pub meeting_url: Option<String>,
    /// Counts the changes of time, place and status: iTIP's SEQUENCE.
    pub sequence: i32,
    /// When the patient said that they will come.
    pub confirmed_by_patient_at: Option<DateTime<Utc>>,
    /// When the patient asked for another time.
    pub move_asked_at: Option<DateTime<Utc>>,
    /// The clinic was closed at its time, when it was booked or moved.
    pub outside_hours: bool,
    /// Why it was cancelled.
    pub cancel_reason: Option<String>,
    /// When it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Its room in the clinic's meetings, if virtual.
    pub meeting_room: Option<String>,
    /// When the patient joined it online first.
    pub patient_joined_at: Option<DateTime<Utc>>,
    /// When the doctor joined it online first.
    pub doctor_joined_at: Option<DateTime<Utc>>,
    /// When the patient was checked in.
    pub checked_in_at: Option<DateTime<Utc>>,
    /// When the doctor began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub completed_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts all changes, from 1.
    pub version: i32,
}

macro_rules! select_visits {
    ($tail:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Visit,
            r#"SELECT a.appointment_id AS "id: AppointmentId", a.org_id AS "org: OrgId", a.patient_id AS "patient: PersonId",
                 a.doctor_id AS "doctor: PersonId", a.starts_at, a.ends_at, coalesce(a.zone, c.zone) AS "zone!", a.status, a.kind, a.mode, a.place,
                 a.meeting_url, a.sequence, a.confirmed_by_patient_at, a.move_asked_at, a.outside_hours, a.cancel_reason, a.cancelled_at,
                 a.meeting_room, a.patient_joined_at, a.doctor_joined_at, a.checked_in_at, a.started_at, a.completed_at, a.created_at, a.updated_at,
                 a.version
               FROM appointments a JOIN organizations c USING (org_id) "# + $tail $(+ $more)*,
            $($args),*
        )
    };
}

mod lists;
pub use lists::list;

/// One visit.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: AppointmentId) -> Result<Option<Visit>, DbError> {
    select_visits!("WHERE a.appointment_id = $1", id.0).fetch_optional(conn).await
}

/// One visit, locked until the transaction ends: no mail about it is promised meanwhile.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: AppointmentId) -> Result<Option<Visit>, DbError> {
    select_visits!("WHERE a.appointment_id = $1 FOR UPDATE OF a", id.0).fetch_optional(conn).await
}

/// Whether a mail about this visit is on its way: promised after `since`, and not settled.
///
/// # Errors
/// Postgres.
pub async fn mail_on_its_way(
    conn: &mut PgConnection,
    id: AppointmentId,
    since: DateTime<Utc>,
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM messages WHERE subject_id = $1 AND state = 'sending' AND sending_at > $2) AS "any!""#,
        id.0,
        since
    )
    .fetch_one(conn)
    .await
}

/// Which visits to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct VisitFilter {
    /// That begin at or after.
    pub from: Option<DateTime<Utc>>,
    /// That begin before.
    pub to: Option<DateTime<Utc>>,
    /// With this doctor.
    pub doctor: Option<PersonId>,
    /// Of this patient.
    pub patient: Option<PersonId>,
    /// In this status.
    pub status: Option<&'static str>,
}

/// Locks a doctor until the transaction ends: bookings with one doctor follow each other, so that none of them runs into the
/// exclusion constraint at the same time as another. False: there is no such active doctor here.
///
/// # Errors
/// Postgres.
pub async fn lock_doctor(conn: &mut PgConnection, org: OrgId, doctor: PersonId) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"SELECT active AND NOT deceased AS "fit!" FROM people WHERE person_id = $1 AND org_id = $2 AND role = 'doctor' FOR NO KEY UPDATE"#,
        doctor.0,
        org.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.unwrap_or(false))
}

/// Who is to meet.
#[derive(Clone, Copy, Debug)]
pub struct BothFit {
    /// There is such a patient here, active and alive.
    pub patient: bool,
    /// There is such a doctor here, active and alive.
    pub doctor: bool,
}

/// As [`lock_doctor`], and whether there is such a patient, who then stays until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn lock_both(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    doctor: PersonId,
) -> Result<BothFit, DbError> {
    sqlx::query_as!(
        BothFit,
        r#"WITH patient AS (
             SELECT active AND NOT deceased AS fit FROM people WHERE person_id = $2 AND org_id = $1 AND role = 'patient' FOR KEY SHARE),
           doctor AS (
             SELECT active AND NOT deceased AS fit FROM people WHERE person_id = $3 AND org_id = $1 AND role = 'doctor' FOR NO KEY UPDATE)
           SELECT coalesce((SELECT fit FROM patient), false) AS "patient!", coalesce((SELECT fit FROM doctor), false) AS "doctor!""#,
        org.0,
        patient.0,
        doctor.0
    )
    .fetch_one(conn)
    .await
}

/// Whether the database refused because the doctor is booked at that time.
pub fn is_taken(error: &DbError) -> bool {
    matches!(error, DbError::Database(said) if said.constraint() == Some(DOCTOR_FREE))
}

/// Stores a new visit.
///
/// # Errors
/// Postgres; [`is_taken`] if the doctor is booked then.
pub async fn insert(conn: &mut PgConnection, v: &Visit) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, zone, status, kind, mode, place, meeting_url,
           outside_hours, meeting_room, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        v.id.0,
        v.org.0,
        v.patient.0,
        v.doctor.map(|id| id.0),
        v.starts_at,
        v.ends_at,
        v.zone,
        v.status,
        v.kind,
        v.mode,
        v.place,
        v.meeting_url,
        v.outside_hours,
        v.meeting_room,
        v.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what may change of a visit; its version goes up by one, its sequence is the visit's.
///
/// # Errors
/// Postgres; [`is_taken`] if the doctor is booked then.
pub async fn save(conn: &mut PgConnection, v: &mut Visit, now: DateTime<Utc>) -> Result<(), DbError> {
    v.version = sqlx::query_scalar!(
        "UPDATE appointments SET doctor_id = $2, starts_at = $3, ends_at = $4, zone = $5, status = $6, mode = $7, place = $8, meeting_url = $9,
           clash_known = clash_known AND (doctor_id, starts_at, ends_at) IS NOT DISTINCT FROM ($2, $3, $4), sequence = $10,
           confirmed_by_patient_at = $11, move_asked_at = $12, cancel_reason = $13, cancelled_at = $14, outside_hours = $15, checked_in_at = $16, started_at = $17,
           completed_at = $18, meeting_room = $19, patient_joined_at = $20, doctor_joined_at = $21, updated_at = $22, version = version + 1
         WHERE appointment_id = $1 RETURNING version",
        v.id.0,
        v.doctor.map(|id| id.0),
        v.starts_at,
        v.ends_at,
        v.zone,
        v.status,
        v.mode,
        v.place,
        v.meeting_url,
        v.sequence,
        v.confirmed_by_patient_at,
        v.move_asked_at,
        v.cancel_reason,
        v.cancelled_at,
        v.outside_hours,
        v.checked_in_at,
        v.started_at,
        v.completed_at,
        v.meeting_room,
        v.patient_joined_at,
        v.doctor_joined_at,
        now
    )
    .fetch_one(conn)
    .await?;
    v.updated_at = now;
    Ok(())
}

/// When a doctor is busy between two instants, but for one visit; earliest first, 2000 at most.
///
/// # Errors
/// Postgres.
pub async fn busy(
    conn: &mut PgConnection,
    doctor: PersonId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    but: AppointmentId,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, DbError> {
    let rows = sqlx::query!(
        "SELECT starts_at, ends_at FROM appointments
         WHERE doctor_id = $1 AND starts_at < $3 AND ends_at > $2 AND appointment_id <> $4 AND status IN ('pending', 'booked', 'arrived', 'checked-in')
         ORDER BY starts_at LIMIT 2000",
        doctor.0,
        from,
        to,
        but.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.starts_at, row.ends_at)).collect())
}

/// A visit to which nobody came.
#[derive(Clone, Copy, Debug)]
pub struct NoShow {
    /// The visit.
    pub id: AppointmentId,
    /// Whose.
    pub org: OrgId,
    /// The version that it is at now.
    pub version: i32,
}

/// Marks visits of the last two days to which nobody was checked in, a while after their end, of organizations that want it. An
/// organization that begins to want it does not lose its past to it.
///
/// # Errors
/// Postgres.
pub async fn sweep_no_shows(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<NoShow>, DbError> {
    sqlx::query_as!(
        NoShow,
        r#"UPDATE appointments SET status = 'noshow', updated_at = $1, version = version + 1
           WHERE appointment_id IN (
             SELECT a.appointment_id FROM appointments a JOIN organizations o USING (org_id)
             WHERE a.status = 'booked' AND a.ends_at BETWEEN $1::timestamptz - interval '2 days' AND $1
               AND a.ends_at < $1 - make_interval(mins => o.no_show_after_minutes)
             ORDER BY a.ends_at LIMIT $2 FOR UPDATE OF a SKIP LOCKED)
           RETURNING appointment_id AS "id: AppointmentId", org_id AS "org: OrgId", version"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A visit with all that its mail may need, as it is at this moment. No `Debug`: it holds personal data.
pub struct VisitSubject {
    /// The visit.
    pub visit: Visit,
    /// The patient's address.
    pub email: Option<String>,
    /// The address was proven.
    pub email_verified: bool,
    /// What a mail may say, 0 to 3.
    pub privacy_level: i16,
    /// The patient is active and alive.
    pub reachable: bool,
    /// The clinic's name.
    pub clinic_name: String,
    /// The name it uses where its own tells too much.
    pub discreet_name: Option<String>,
    /// The clinic's telephone number.
    pub clinic_phone: Option<String>,
    /// With whom.
    pub doctor_name: Option<String>,
    /// The clinic has meetings of its own.
    pub has_meetings: bool,
    /// The clinic has the last reminder sent so long before a visit.
    pub last_reminder: TimeDelta,
}

/// Reads visits with what their mails need, and keeps them from being changed until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn subjects(conn: &mut PgConnection, ids: &[AppointmentId]) -> Result<Vec<VisitSubject>, DbError> {
    let mut ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    // In the order of their ids, so that two batches do not wait for each other.
    let visits = select_visits!("WHERE a.appointment_id = ANY ($1) ORDER BY a.appointment_id FOR SHARE OF a", &ids)
        .fetch_all(&mut *conn)
        .await?;
    let around = sqlx::query!(
        r#"SELECT a.appointment_id AS id, p.email, p.email_verified_at IS NOT NULL AS "email_verified!", p.privacy_level,
             p.active AND NOT p.deceased AS "reachable!", c.name AS clinic_name, c.discreet_name, c.phone AS clinic_phone, c.last_reminder_minutes,
             c.meeting_url_template IS NOT NULL AS "has_meetings!",
             CASE WHEN d.person_id IS NOT NULL THEN concat_ws(' ', d.given_name, d.family_name) END AS doctor_name
           FROM appointments a JOIN people p ON p.person_id = a.patient_id JOIN organizations c ON c.org_id = a.org_id
           LEFT JOIN people d ON d.person_id = a.doctor_id
           WHERE a.appointment_id = ANY ($1) ORDER BY a.appointment_id"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let with = visits.into_iter().zip(around).filter(|(visit, row)| visit.id.0 == row.id);
    Ok(with
        .map(|(visit, row)| VisitSubject {
            visit,
            email: row.email,
            email_verified: row.email_verified,
            privacy_level: row.privacy_level,
            reachable: row.reachable,
            clinic_name: row.clinic_name,
            discreet_name: row.discreet_name,
            clinic_phone: row.clinic_phone,
            doctor_name: row.doctor_name,
            has_meetings: row.has_meetings,
            last_reminder: TimeDelta::minutes(row.last_reminder_minutes.into()),
        })
        .collect())
}
