//! What patients pay, and what they get back.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AppointmentId, InsuranceId, OrgId, PaymentId, PersonId, RefundId};
use crate::store::DbError;
use crate::store::listing::Before;

/// A payment. No `Debug`: it holds personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// The payment.
    pub id: PaymentId,
    /// Who pays.
    pub patient: PersonId,
    /// For which visit.
    pub appointment: Option<AppointmentId>,
    /// The policy that pays a share.
    pub insurance: Option<InsuranceId>,
    /// One of [`crate::payments::KINDS`].
    pub kind: String,
    /// One of [`crate::payments::METHODS`].
    pub method: String,
    /// The currency of its amounts.
    pub currency: String,
    /// All of it, in the currency's smallest unit.
    pub amount: i64,
    /// What the insurance pays of it.
    pub covered: i64,
    /// What was given back of it.
    pub refunded: i64,
    /// Until when it is to be paid.
    pub due_on: Option<NaiveDate>,
    /// What it is sorted by: that day, else the last one there is.
    pub due_sort: NaiveDate,
    /// One of [`crate::payments::STATES`].
    pub state: String,
    /// What the bank or the terminal calls it.
    pub reference: Option<String>,
    /// Why it failed.
    pub failed_reason: Option<String>,
    /// When it was paid.
    pub completed_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

macro_rules! select_payments {
    ($which:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Payment,
            r#"SELECT payment_id AS "id: PaymentId", patient_id AS "patient: PersonId", appointment_id AS "appointment: AppointmentId",
                 insurance_id AS "insurance: InsuranceId", kind, method, currency, amount, covered, refunded, due_on, due_sort, state, reference,
                 failed_reason, completed_at, created_at, updated_at, version
               FROM payments "# + $which $(+ $more)*,
            $($args),*
        )
    };
}

/// Which payments to list.
#[derive(Clone, Copy, Default)]
pub struct PaymentFilter<'a> {
    /// Of this patient.
    pub patient: Option<PersonId>,
    /// For this visit.
    pub appointment: Option<AppointmentId>,
    /// In this state.
    pub state: Option<&'a str>,
    /// Made at this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// When they were made, earliest first.
    Created,
    /// When they were made, newest first.
    NewestCreated,
    /// Until when they are to be paid, earliest first; those without a day come last.
    Due,
    /// Until when they are to be paid, latest first.
    LatestDue,
}

macro_rules! list_payments {
    ($conn:expr, $org:expr, $filter:expr, $at:expr, $id:expr, $limit:expr, $past:literal, $order:literal) => {
        select_payments!(
            "WHERE org_id = $1 AND ($2::uuid IS NULL OR patient_id = $2) AND ($3::uuid IS NULL OR appointment_id = $3)
               AND ($4::text IS NULL OR state = $4) AND ($5::timestamptz IS NULL OR created_at >= $5)
               AND ($6::timestamptz IS NULL OR created_at < $6)
               AND ($8::uuid IS NULL OR "
                + $past
                + ") ORDER BY "
                + $order
                + " LIMIT $9",
            $org.0,
            $filter.patient.map(|id| id.0),
            $filter.appointment.map(|id| id.0),
            $filter.state,
            $filter.from,
            $filter.to,
            $at,
            $id,
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Payments of `org`, after the last row of the page before.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: PaymentFilter<'_>,
    order: Order,
    after: Option<Before>,
    limit: i64,
) -> Result<Vec<Payment>, DbError> {
    let (at, id) = (after.map(|place| place.at), after.map(|place| place.id));
    let day = at.map(|at| at.date_naive());
    let (at, day, id) = (at as Option<DateTime<Utc>>, day as Option<NaiveDate>, id as Option<Uuid>);
    match order {
        Order::Created => list_payments!(
            conn,
            org,
            filter,
            at,
            id,
            limit,
            "(created_at, payment_id) > ($7::timestamptz, $8)",
            "created_at, payment_id"
        ),
        Order::NewestCreated => list_payments!(
            conn,
            org,
            filter,
            at,
            id,
            limit,
            "(created_at, payment_id) < ($7::timestamptz, $8)",
            "created_at DESC, payment_id DESC"
        ),
        Order::Due => list_payments!(
            conn,
            org,
            filter,
            day,
            id,
            limit,
            "(due_sort, payment_id) > ($7::date, $8)",
            "due_sort, payment_id"
        ),
        Order::LatestDue => list_payments!(
            conn,
            org,
            filter,
            day,
            id,
            limit,
            "(due_sort, payment_id) < ($7::date, $8)",
            "due_sort DESC, payment_id DESC"
        ),
    }
}

/// One payment.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: PaymentId) -> Result<Option<Payment>, DbError> {
    select_payments!("WHERE payment_id = $1", id.0).fetch_optional(conn).await
}

/// One payment, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: PaymentId) -> Result<Option<Payment>, DbError> {
    select_payments!("WHERE payment_id = $1 FOR UPDATE", id.0).fetch_optional(conn).await
}

/// Stores a new payment.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, org: OrgId, new: &Payment) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO payments (payment_id, org_id, patient_id, appointment_id, insurance_id, kind, method, currency, amount, covered, due_on,
           created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
        new.id.0,
        org.0,
        new.patient.0,
        new.appointment.map(|id| id.0),
        new.insurance.map(|id| id.0),
        new.kind,
        new.method,
        new.currency,
        new.amount,
        new.covered,
        new.due_on,
        new.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what may change of a payment; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save(conn: &mut PgConnection, row: &mut Payment, now: DateTime<Utc>) -> Result<(), DbError> {
    let saved = sqlx::query!(
        "UPDATE payments SET insurance_id = $2, kind = $3, method = $4, amount = $5, covered = $6, refunded = $7, due_on = $8, state = $9,
           reference = $10, failed_reason = $11, completed_at = $12, updated_at = $13, version = version + 1
         WHERE payment_id = $1 RETURNING version, due_sort",
        row.id.0,
        row.insurance.map(|id| id.0),
        row.kind,
        row.method,
        row.amount,
        row.covered,
        row.refunded,
        row.due_on,
        row.state,
        row.reference,
        row.failed_reason,
        row.completed_at,
        now
    )
    .fetch_one(conn)
    .await?;
    (row.version, row.due_sort, row.updated_at) = (saved.version, saved.due_sort, now);
    Ok(())
}

/// A refund. No `Debug`: its reason may tell of a patient.
#[derive(Clone)]
pub struct Refund {
    /// The refund.
    pub id: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// How much, in the smallest unit of the payment's currency.
    pub amount: i64,
    /// Why.
    pub reason: String,
    /// Who gave it back.
    pub by: PersonId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Stores a refund.
///
/// # Errors
/// Postgres.
pub async fn insert_refund(conn: &mut PgConnection, org: OrgId, new: &Refund) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO refunds (refund_id, org_id, payment_id, amount, reason, refunded_by, refunded_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        new.id.0,
        org.0,
        new.payment.0,
        new.amount,
        new.reason,
        new.by.0,
        new.at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The refunds of a payment, oldest first, after `after`.
///
/// # Errors
/// Postgres.
pub async fn refunds(
    conn: &mut PgConnection,
    payment: PaymentId,
    after: Option<RefundId>,
    limit: i64,
) -> Result<Vec<Refund>, DbError> {
    sqlx::query_as!(
        Refund,
        r#"SELECT refund_id AS "id: RefundId", payment_id AS "payment: PaymentId", amount, reason, refunded_by AS "by: PersonId", refunded_at AS at
           FROM refunds WHERE payment_id = $1 AND ($2::uuid IS NULL OR refund_id > $2) ORDER BY refund_id LIMIT $3"#,
        payment.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// Whether a visit of the organization is this patient's.
///
/// # Errors
/// Postgres.
pub async fn is_visit_of(conn: &mut PgConnection, visit: AppointmentId, patient: PersonId) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM appointments WHERE appointment_id = $1 AND patient_id = $2) AS "is!""#,
        visit.0,
        patient.0
    )
    .fetch_one(conn)
    .await
}

/// A payment with what its mail says. No `Debug`: it holds personal data.
pub struct PaymentSubject {
    /// The payment.
    pub payment: PaymentId,
    /// Who pays.
    pub patient: PersonId,
    /// One of [`crate::payments::KINDS`].
    pub kind: String,
    /// Its currency.
    pub currency: String,
    /// All of it.
    pub amount: i64,
    /// What the insurance pays of it.
    pub covered: i64,
    /// When it was paid.
    pub completed_at: Option<DateTime<Utc>>,
    /// The patient's address.
    pub email: Option<String>,
    /// It was proven.
    pub email_verified: bool,
    /// How much mail may say.
    pub privacy_level: i16,
    /// The patient takes part and lives.
    pub reachable: bool,
    /// The zone to tell times in.
    pub zone: String,
    /// The organization's name.
    pub clinic_name: String,
    /// The name it uses where its own tells too much.
    pub discreet_name: Option<String>,
    /// Its telephone number.
    pub clinic_phone: Option<String>,
    /// Its refunds, by id.
    pub refunds: Vec<(RefundId, i64)>,
}

/// Reads payments with what their mails need.
///
/// # Errors
/// Postgres.
pub async fn subjects(conn: &mut PgConnection, ids: &[PaymentId]) -> Result<Vec<PaymentSubject>, DbError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT m.payment_id AS "payment: PaymentId", m.patient_id AS "patient: PersonId", m.kind, m.currency, m.amount, m.covered, m.completed_at,
             p.email, p.email_verified_at IS NOT NULL AS "email_verified!", p.privacy_level, p.active AND NOT p.deceased AS "reachable!",
             coalesce(p.zone, o.zone) AS "zone!", o.name AS clinic_name, o.discreet_name, o.phone AS clinic_phone
           FROM payments m JOIN people p ON p.person_id = m.patient_id JOIN organizations o ON o.org_id = m.org_id
           WHERE m.payment_id = ANY ($1)"#,
        &ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let refunds = sqlx::query!(
        r#"SELECT refund_id AS "id: RefundId", payment_id AS "payment: PaymentId", amount FROM refunds WHERE payment_id = ANY ($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let of = |payment: PaymentId| {
        refunds.iter().filter(|refund| refund.payment == payment).map(|refund| (refund.id, refund.amount)).collect()
    };
    Ok(rows
        .into_iter()
        .map(|row| PaymentSubject {
            refunds: of(row.payment),
            payment: row.payment,
            patient: row.patient,
            kind: row.kind,
            currency: row.currency,
            amount: row.amount,
            covered: row.covered,
            completed_at: row.completed_at,
            email: row.email,
            email_verified: row.email_verified,
            privacy_level: row.privacy_level,
            reachable: row.reachable,
            zone: row.zone,
            clinic_name: row.clinic_name,
            discreet_name: row.discreet_name,
            clinic_phone: row.clinic_phone,
        })
        .collect())
}
