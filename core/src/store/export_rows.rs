//! The rows of a report: one snapshot of one organization, sent by Postgres as fast as it can.
//!
//! This transaction is open as long as its file is written, and with it Postgres keeps the old versions of rows of the whole
//! database. That is the nature of an export that shows one moment; its statement's time is the bound.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use crate::exports::{Column, Filters, States};
use crate::store::DbError;

/// A moment of an organization's rows. Dropped, its connection is closed, and whatever Postgres was about to send with it.
#[derive(Debug)]
pub struct Snapshot {
    conn: PgConnection,
    as_of: DateTime<Utc>,
    organization: String,
}

impl Snapshot {
    /// Takes the snapshot on a connection whose transaction sees one organization.
    pub(super) async fn take(mut conn: PgConnection) -> Result<Self, DbError> {
        // The first statement is what fixes the moment.
        let taken =
            sqlx::query!(r#"SELECT clock_timestamp() AS "as_of!", (SELECT name FROM organizations LIMIT 1) AS name"#)
                .fetch_one(&mut conn)
                .await?;
        Ok(Self { conn, as_of: taken.as_of, organization: taken.name.unwrap_or_default() })
    }

    /// The moment.
    pub fn as_of(&self) -> DateTime<Utc> {
        self.as_of
    }

    /// The organization's name.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// Postgres.
    pub async fn count(&mut self, filters: &Filters) -> Result<u64, DbError> {
        let status = (!filters.status.is_empty()).then_some(&filters.status[..]);
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM appointments a
               WHERE ($1::timestamptz IS NULL OR a.starts_at >= $1) AND ($2::timestamptz IS NULL OR a.starts_at < $2)
                 AND ($3::uuid IS NULL OR a.doctor_id = $3) AND ($4::uuid IS NULL OR a.patient_id = $4)
                 AND ($5::text[] IS NULL OR a.status = ANY ($5))"#,
            filters.from,
            filters.to,
            filters.doctor.map(|id| id.0),
            filters.patient.map(|id| id.0),
            status as Option<&[String]>,
        )
        .fetch_one(&mut self.conn)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Sends the rows, each as a message of a binary copy, in the order of their times.
    ///
    /// # Errors
    /// Postgres; also each item.
    pub async fn rows(
        &mut self,
        columns: &[Column],
        filters: &Filters,
    ) -> Result<BoxStream<'_, Result<Bytes, DbError>>, DbError> {
        let copy = format!("COPY ({}) TO STDOUT (FORMAT binary)", rows_query(columns, filters));
        self.conn.copy_out_raw(&copy).await
    }
}

/// The query of the rows. `COPY` takes no parameters: what is put into its text are ids, instants and words of a closed list,
/// in forms of our own making, never a text that somebody sent.
pub fn rows_query(columns: &[Column], filters: &Filters) -> String {
    let list: Vec<&str> = columns.iter().map(|column| expression(*column)).collect();
    let list = list.join(", ");
    let mut from = "appointments a".to_owned();
    for (alias, key) in [("p", "patient_id"), ("d", "doctor_id")] {
        if list.contains(&format!("{alias}.")) {
            from.push_str(&format!(" LEFT JOIN people {alias} ON {alias}.person_id = a.{key}"));
        }
    }
    let instant = |at: DateTime<Utc>| format!("'{}'::timestamptz", at.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(filters.from.map(|at| format!("a.starts_at >= {}", instant(at))));
    conditions.extend(filters.to.map(|at| format!("a.starts_at < {}", instant(at))));
    conditions.extend(filters.doctor.map(|id| format!("a.doctor_id = '{id}'::uuid")));
    conditions.extend(filters.patient.map(|id| format!("a.patient_id = '{id}'::uuid")));
    if !filters.status.is_empty() {
        let known = States::ALL.iter().filter(|status| filters.status.iter().any(|wanted| wanted == *status));
        let known: Vec<String> = known.map(|status| format!("'{status}'")).collect();
        conditions.push(format!("a.status = ANY (ARRAY[{}]::text[])", known.join(", ")));
    }
    format!("SELECT {list} FROM {from} WHERE {} ORDER BY a.starts_at, a.appointment_id", conditions.join(" AND "))
}

/// What a column is, in the form that its kind is read in.
const fn expression(column: Column) -> &'static str {
    match column {
        Column::StartsAt => "a.starts_at",
        Column::EndsAt => "a.ends_at",
        Column::Minutes => "(extract(epoch FROM a.ends_at - a.starts_at) / 60)::int8",
        Column::Status => "a.status",
        Column::Kind => "a.kind",
        Column::Mode => "a.mode",
        Column::Place => "a.place",
        Column::PatientName => "concat_ws(' ', nullif(p.given_name, ''), p.family_name)",
        Column::PatientBirthDate => "p.birth_date",
        Column::DoctorName => "concat_ws(' ', nullif(d.given_name, ''), d.family_name)",
        Column::AppointmentId => "a.appointment_id",
        Column::PatientId => "a.patient_id",
        Column::DoctorId => "a.doctor_id",
        Column::ConfirmedAt => "a.confirmed_by_patient_at",
        Column::CancelledAt => "a.cancelled_at",
        Column::CancelReason => "a.cancel_reason",
        Column::CreatedAt => "a.created_at",
        Column::UpdatedAt => "a.updated_at",
        Column::Version => "a.version::int8",
    }
}

/// How a snapshot begins: nothing is written, one moment is seen, and no statement takes longer than this.
pub(super) fn begins(orgs: &str, longest: Duration) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL app.orgs = '{orgs}'; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = {}",
        longest.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_list_come_into_the_query() {
        let filters = Filters {
            status: vec!["booked".into(), "x') OR true --".into()],
            from: DateTime::from_timestamp(0, 0),
            ..Filters::default()
        };
        let query = rows_query(&[Column::StartsAt, Column::DoctorName], &filters);
        assert!(query.contains("ARRAY['booked']") && !query.contains("OR true"), "{query}");
        assert!(query.contains("people d") && !query.contains("people p"), "{query}");
        assert!(query.contains("'1970-01-01T00:00:00.000000Z'"), "{query}");
    }
}
