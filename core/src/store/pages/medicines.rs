//! A patient's medicines, with the last and the next dose of each, and the doses of a span.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::visits::Span;
use crate::ids::{OccurrenceId, OrgId, PersonId, PrescriptionId, ReminderId};
use crate::store::DbError;

/// A prescription with one of its reminders, if it has one. No `Debug`: it says what somebody takes.
#[derive(Clone)]
pub struct MedicineLine {
    /// The prescription.
    pub prescription: PrescriptionId,
    /// The medicine's name.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// active, on_hold, completed or stopped.
    pub status: String,
    /// The reminder; none: nobody is reminded of it.
    pub reminder: Option<ReminderId>,
    /// Whether the reminder is on.
    pub on: bool,
    /// When doses fall due, as [`crate::doses::Timing`]: the reminder's, else the prescription's.
    pub timing: Option<Value>,
    /// The zone that doses are planned in.
    pub zone: Option<String>,
    /// The next dose.
    pub next_at: Option<DateTime<Utc>>,
    /// The last dose …
    pub last_at: Option<DateTime<Utc>>,
    /// … and what became of it.
    pub last_state: Option<String>,
}

/// A patient's medicines, those in force first. `now` parts the last dose from the next.
///
/// # Errors
/// Postgres.
pub async fn of_patient(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<MedicineLine>, DbError> {
    sqlx::query_as!(
        MedicineLine,
        r#"SELECT p.prescription_id AS "prescription: PrescriptionId", p.medicine, p.dosage, p.status, r.reminder_id AS "reminder?: ReminderId",
             coalesce(r.active, false) AS "on!", coalesce(r.timing, p.timing) AS timing, r.planned_zone AS "zone?", n.due_at AS "next_at?",
             l.due_at AS "last_at?", l.state AS "last_state?"
           FROM prescriptions p
             LEFT JOIN medication_reminders r ON r.prescription_id = p.prescription_id
             LEFT JOIN LATERAL (SELECT o.due_at FROM dose_occurrences o
               WHERE o.reminder_id = r.reminder_id AND o.next_at IS NOT NULL AND o.due_at > $3 ORDER BY o.due_at LIMIT 1) n ON true
             LEFT JOIN LATERAL (SELECT o.due_at, o.state FROM dose_occurrences o
               WHERE o.reminder_id = r.reminder_id AND o.due_at <= $3 ORDER BY o.due_at DESC LIMIT 1) l ON true
           WHERE p.org_id = $1 AND p.patient_id = $2
           ORDER BY p.status <> 'active', p.created_at DESC, p.prescription_id, r.reminder_id LIMIT $4"#,
        org.0,
        patient.0,
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// A dose. No `Debug`: it says what somebody takes.
#[derive(Clone)]
pub struct DoseLine {
    /// The dose.
    pub id: OccurrenceId,
    /// The medicine's name.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The zone it was planned in.
    pub zone: String,
    /// planned, due, reminded, taken, skipped, snoozed, missed or uncertain.
    pub state: String,
}

/// A patient's doses of a span, by when they are due.
///
/// # Errors
/// Postgres.
pub async fn doses(
    conn: &mut PgConnection,
    org: OrgId,
    patient: PersonId,
    span: Span,
    most: i64,
) -> Result<Vec<DoseLine>, DbError> {
    sqlx::query_as!(
        DoseLine,
        r#"SELECT o.occurrence_id AS "id: OccurrenceId", p.medicine, p.dosage, o.due_at, o.zone, o.state
           FROM medication_reminders r JOIN dose_occurrences o USING (reminder_id) JOIN prescriptions p USING (prescription_id)
           WHERE r.org_id = $1 AND r.patient_id = $2 AND o.due_at >= $3 AND o.due_at < $4
           ORDER BY o.due_at, o.occurrence_id LIMIT $5"#,
        org.0,
        patient.0,
        span.from,
        span.to,
        most
    )
    .fetch_all(conn)
    .await
}
