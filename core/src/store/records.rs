//! Medical records, as those who treat a patient read and write them.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{GlassId, OrgId, PersonId, RecordId};
use crate::store::DbError;
use crate::store::listing::Before;

/// A medical record. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct Record {
    /// The record.
    pub id: RecordId,
    /// Whose.
    pub patient: PersonId,
    /// Who wrote it.
    pub author: PersonId,
    /// The author's name now.
    pub author_name: Option<String>,
    /// One of [`crate::records::KINDS`].
    pub kind: String,
    /// One of [`crate::records::SEVERITIES`], where the kind has any.
    pub severity: Option<String>,
    /// What it is.
    pub title: String,
    /// More of it.
    pub description: String,
    /// The day that it happened.
    pub occurred_on: Option<NaiveDate>,
    /// What it is sorted by: that day, else the day that it was written.
    pub sorts_on: NaiveDate,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// One of [`crate::records::STATES`].
    pub state: String,
    /// When it was withdrawn.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// Why.
    pub withdrawn_reason: Option<String>,
    /// Counts the changes, from 1.
    pub version: i32,
}

macro_rules! select_records {
    ($which:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Record,
            r#"SELECT r.record_id AS "id: RecordId", r.patient_id AS "patient: PersonId", r.author_id AS "author: PersonId",
                 a.given_name || ' ' || a.family_name AS author_name, r.kind, r.severity, r.title, r.description, r.occurred_on,
                 r.sorts_on, r.recorded_at, r.updated_at, r.state, r.withdrawn_at, r.withdrawn_reason, r.version
               FROM medical_records r JOIN people a ON a.person_id = r.author_id "# + $which $(+ $more)*,
            $($args),*
        )
    };
}

/// Stores a new record of `org`; `glass` if it is written under a broken glass.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, org: OrgId, new: &Record, glass: Option<GlassId>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO medical_records (record_id, org_id, patient_id, author_id, kind, severity, title, description, occurred_on, recorded_at, updated_at, glass_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)",
        new.id.0,
        org.0,
        new.patient.0,
        new.author.0,
        new.kind,
        new.severity,
        new.title,
        new.description,
        new.occurred_on,
        new.recorded_at,
        glass.map(|id| id.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One record.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: RecordId) -> Result<Option<Record>, DbError> {
    select_records!("WHERE r.record_id = $1", id.0).fetch_optional(conn).await
}

/// One record, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: RecordId) -> Result<Option<Record>, DbError> {
    select_records!("WHERE r.record_id = $1 FOR UPDATE OF r", id.0).fetch_optional(conn).await
}

/// Writes what may change of a record. Gives its row as it is then.
///
/// # Errors
/// Postgres.
pub async fn update(conn: &mut PgConnection, new: &Record, now: DateTime<Utc>) -> Result<Option<Record>, DbError> {
    sqlx::query!(
        "UPDATE medical_records SET severity = $2, title = $3, description = $4, occurred_on = $5, updated_at = $6, version = version + 1
         WHERE record_id = $1",
        new.id.0,
        new.severity,
        new.title,
        new.description,
        new.occurred_on,
        now
    )
    .execute(&mut *conn)
    .await?;
    one(conn, new.id).await
}

/// Marks a record as entered in error. Gives its row as it is then.
///
/// # Errors
/// Postgres.
pub async fn withdraw(
    conn: &mut PgConnection,
    id: RecordId,
    by: PersonId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<Record>, DbError> {
    sqlx::query!(
        "UPDATE medical_records SET state = 'entered_in_error', withdrawn_at = $2, withdrawn_by = $3, withdrawn_reason = $4, updated_at = $2,
           version = version + 1 WHERE record_id = $1",
        id.0,
        now,
        by.0,
        reason
    )
    .execute(&mut *conn)
    .await?;
    one(conn, id).await
}

/// Which records of a patient to list.
#[derive(Clone, Copy, Debug)]
pub struct RecordFilter<'a> {
    /// Of this patient.
    pub patient: PersonId,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// In this state.
    pub state: Option<&'a str>,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// When it was written, earliest first.
    Recorded,
    /// When it was written, newest first.
    NewestRecorded,
    /// The day that it happened, earliest first.
    Occurred,
    /// The day that it happened, newest first.
    NewestOccurred,
}

macro_rules! list_records {
    ($conn:expr, $org:expr, $filter:expr, $at:expr, $id:expr, $limit:expr, $past:literal, $order:literal) => {
        select_records!(
            "WHERE r.org_id = $1 AND r.patient_id = $2 AND ($3::text IS NULL OR r.kind = $3) AND ($4::text IS NULL OR r.state = $4)
               AND ($6::uuid IS NULL OR " + $past + ") ORDER BY " + $order + " LIMIT $7",
            $org.0,
            $filter.patient.0,
            $filter.kind,
            $filter.state,
            $at,
            $id,
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Records of `org`, after the last row of the page before.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: RecordFilter<'_>,
    order: Order,
    after: Option<Before>,
    limit: i64,
) -> Result<Vec<Record>, DbError> {
    let (at, id) = (after.map(|place| place.at), after.map(|place| place.id));
    let day = at.map(|at| at.date_naive());
    let (at, day, id) = (at as Option<DateTime<Utc>>, day as Option<NaiveDate>, id as Option<Uuid>);
    match order {
        Order::Recorded => list_records!(
            conn,
            org,
            filter,
            at,
            id,
            limit,
            "(r.recorded_at, r.record_id) > ($5::timestamptz, $6)",
            "r.recorded_at, r.record_id"
        ),
        Order::NewestRecorded => list_records!(
            conn,
            org,
            filter,
            at,
            id,
            limit,
            "(r.recorded_at, r.record_id) < ($5::timestamptz, $6)",
            "r.recorded_at DESC, r.record_id DESC"
        ),
        Order::Occurred => list_records!(
            conn,
            org,
            filter,
            day,
            id,
            limit,
            "(r.sorts_on, r.record_id) > ($5::date, $6)",
            "r.sorts_on, r.record_id"
        ),
        Order::NewestOccurred => list_records!(
            conn,
            org,
            filter,
            day,
            id,
            limit,
            "(r.sorts_on, r.record_id) < ($5::date, $6)",
            "r.sorts_on DESC, r.record_id DESC"
        ),
    }
}
