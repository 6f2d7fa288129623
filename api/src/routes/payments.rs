//! `/v1/payments`: what patients pay, and what they get back.

mod contract;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
pub(super) use contract::contract;
use pulsecal_core::ids::{AppointmentId, InsuranceId, PaymentId, PersonId, RefundId};
use pulsecal_core::money::MOST_AMOUNT;
use pulsecal_core::payments::{
    self, KINDS, METHODS, MOST_REASON, MOST_REFERENCE, NewPayment, PaymentError, STATES, Step,
};
use pulsecal_core::store::listing::Before;
use pulsecal_core::store::payments::{self as store, Order, Payment, PaymentFilter, Refund};
use pulsecal_jobs::PaymentMail;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::contacts::one_of;
use super::insurances::check_amount;
use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// What a list may be sorted by; `-` is latest first.
const ORDERS: [&str; 4] = ["created", "-created", "due", "-due"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/payments", get(list).post(ask))
        .route("/payments/{id}", get(one).patch(change))
        .route("/payments/{id}/process", post(process))
        .route("/payments/{id}/complete", post(complete))
        .route("/payments/{id}/fail", post(fail))
        .route("/payments/{id}/cancel", post(cancel))
        .route("/payments/{id}/refund", post(refund))
        .route("/payments/{id}/refunds", get(refunds))
}

/// A payment, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
struct Shown {
    id: PaymentId,
    patient_id: PersonId,
    appointment_id: Option<AppointmentId>,
    insurance_id: Option<InsuranceId>,
    #[schema(schema_with = contract::kind)]
    kind: String,
    #[schema(schema_with = contract::method)]
    method: String,
    /// Of the amounts, which are in its smallest unit.
    currency: String,
    amount: i64,
    /// What the insurance pays of it.
    covered: i64,
    /// What was given back of it.
    refunded: i64,
    due_on: Option<NaiveDate>,
    #[schema(schema_with = contract::state)]
    state: String,
    /// What the bank or the terminal calls it.
    reference: Option<String>,
    failed_reason: Option<String>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Payment> for Shown {
    fn from(row: Payment) -> Self {
        Self {
            id: row.id,
            patient_id: row.patient,
            appointment_id: row.appointment,
            insurance_id: row.insurance,
            kind: row.kind,
            method: row.method,
            currency: row.currency,
            amount: row.amount,
            covered: row.covered,
            refunded: row.refunded,
            due_on: row.due_on,
            state: row.state,
            reference: row.reference,
            failed_reason: row.failed_reason,
            completed_at: row.completed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// A refund, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
struct Given {
    id: RefundId,
    payment_id: PaymentId,
    amount: i64,
    reason: String,
    refunded_by: PersonId,
    refunded_at: DateTime<Utc>,
}

impl From<Refund> for Given {
    fn from(row: Refund) -> Self {
        Self {
            id: row.id,
            payment_id: row.payment,
            amount: row.amount,
            reason: row.reason,
            refunded_by: row.by,
            refunded_at: row.at,
        }
    }
}

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Unknown => Self::not_found("There is no such payment."),
            PaymentError::NoPatient => Self::field("patient_id", "there is no such patient"),
            PaymentError::NoVisit => Self::field("appointment_id", "the patient has no such visit"),
            PaymentError::NoInsurance => Self::field("insurance_id", "the patient has no such policy, or it was ended"),
            PaymentError::Covered => Self::field(
                "covered",
                "must not be more than amount, and must be 0 where no insurance_id says who pays it",
            ),
            PaymentError::Version(now) => Self::version_mismatch(now),
            PaymentError::State(state) => {
                Self::conflict(format!("The payment is {}, so this cannot be done.", state.replace('_', " ")))
            }
            PaymentError::TooMuch(left) => {
                Self::field("amount", format!("must be 1 to {left}: so much is left to give back"))
            }
            PaymentError::TooMany => {
                Self::conflict("It was given back in as many parts as may be. Give back all that is left.")
            }
            PaymentError::Db(error) => error.into(),
        }
    }
}

fn incomplete() -> Problem {
    Problem::internal("a required field was missing and not recorded")
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let filter = PaymentFilter {
        patient: params.parsed("patient"),
        appointment: params.parsed("appointment"),
        state: params.one_of("state", &STATES),
        from: params.instant("from"),
        to: params.instant("to"),
    };
    let order = match params.one_of("sort", &ORDERS) {
        Some("created") => Order::Created,
        Some("due") => Order::Due,
        Some("-due") => Order::LatestDue,
        _ => Order::NewestCreated,
    };
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let rows = store::list(tx.conn(), tenant.org(), filter, order, wanted.after, wanted.rows).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient)).await?;
    let at = |row: &Payment| match order {
        Order::Created | Order::NewestCreated => row.created_at,
        Order::Due | Order::LatestDue => row.due_sort.and_time(NaiveTime::MIN).and_utc(),
    };
    Ok(wanted.page(rows, |row| Before { at: at(row), id: row.id.0 }, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<PaymentId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = store::one(tx.conn(), id).await?.ok_or(PaymentError::Unknown)?;
    tenant.saw(&app, tx, "payment", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

async fn refunds(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    let payment = store::one(tx.conn(), id).await?.ok_or(PaymentError::Unknown)?;
    let rows = store::refunds(tx.conn(), id, wanted.after.map(RefundId), wanted.rows).await?;
    tenant.saw(&app, tx, "payment", id.0, payment.patient).await?;
    Ok(wanted.page(rows, |row| row.id.0, Given::from).into_response())
}

/// Checks the amount of a payment or refund, which is never nothing.
fn check_sum(fields: &mut Fields, amount: Option<i64>) {
    if amount.is_some_and(|amount| !(1..=MOST_AMOUNT).contains(&amount)) {
        fields.wrong("amount", format!("must be 1 to {MOST_AMOUNT}, in the currency's smallest unit"));
    }
}

fn read_new(mut fields: Fields) -> Result<NewPayment, Problem> {
    let patient = fields.required::<PersonId>("patient_id");
    let appointment = fields.optional::<AppointmentId>("appointment_id");
    let kind = fields.required::<String>("kind");
    one_of(&mut fields, "kind", kind.as_deref(), &KINDS);
    let method = fields.required::<String>("method");
    one_of(&mut fields, "method", method.as_deref(), &METHODS);
    let amount = fields.required::<i64>("amount");
    check_sum(&mut fields, amount);
    let insurance = fields.optional::<InsuranceId>("insurance_id");
    let covered = fields.set::<i64>("covered");
    check_amount(&mut fields, "covered", covered);
    let due_on = fields.optional::<NaiveDate>("due_on");
    fields.check_day("due_on", due_on);
    fields.finish()?;
    let (Some(patient), Some(kind), Some(method), Some(amount)) = (patient, kind, method, amount) else {
        return Err(incomplete());
    };
    let covered = covered.unwrap_or_default();
    Ok(NewPayment { patient, appointment, insurance, kind, method, amount, covered, due_on })
}

async fn ask(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let new = read_new(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let row = payments::ask(&mut tx, by.org(), new).await?;
    let detail = json!({"patients": [row.patient], "amount": row.amount, "currency": row.currency});
    by.audit(&app, &mut tx, "payment.asked", "payment", row.id.0, detail).await?;
    let location = format!("{}/v1/payments/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let kind = fields.set::<String>("kind");
    one_of(&mut fields, "kind", kind.as_deref(), &KINDS);
    let method = fields.set::<String>("method");
    one_of(&mut fields, "method", method.as_deref(), &METHODS);
    let amount = fields.set::<i64>("amount");
    check_sum(&mut fields, amount);
    let insurance = fields.change::<InsuranceId>("insurance_id");
    let covered = fields.set::<i64>("covered");
    check_amount(&mut fields, "covered", covered);
    let due_on = fields.change::<NaiveDate>("due_on");
    fields.check_day("due_on", due_on.flatten());
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let before = payments::to_change(&mut tx, id, version, &["pending"]).await?;
    let mut row = before.clone();
    row.kind = kind.unwrap_or(row.kind);
    row.method = method.unwrap_or(row.method);
    row.amount = amount.unwrap_or(row.amount);
    row.insurance = insurance.unwrap_or(row.insurance);
    row.covered = covered.unwrap_or(row.covered);
    row.due_on = due_on.unwrap_or(row.due_on);
    if row != before {
        payments::save(&mut tx, &mut row).await?;
        let changed = [
            ("kind", row.kind != before.kind),
            ("method", row.method != before.method),
            ("amount", row.amount != before.amount),
            ("insurance_id", row.insurance != before.insurance),
            ("covered", row.covered != before.covered),
            ("due_on", row.due_on != before.due_on),
        ];
        let changed: Vec<&str> = changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect();
        let detail = json!({"patients": [row.patient], "fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "payment.changed", "payment", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn process(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    take(by, app, id, Step::Process, "payment.processed").await
}

async fn complete(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    let mut fields = JsonBody::fields_or_none(body)?;
    let reference = fields.optional::<String>("reference");
    fields.check_length("reference", reference.as_deref(), MOST_REFERENCE);
    if reference.iter().any(|reference| reference.chars().any(char::is_control)) {
        fields.wrong("reference", "must be one line of text");
    }
    fields.finish()?;
    take(by, app, id, Step::Complete { reference }, "payment.completed").await
}

async fn fail(by: Writer, State(app): State<App>, Id(id): Id<PaymentId>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let reason = fields.required::<String>("reason");
    fields.check_length("reason", reason.as_deref(), MOST_REASON);
    fields.finish()?;
    let reason = reason.ok_or_else(incomplete)?;
    take(by, app, id, Step::Fail { reason }, "payment.failed").await
}

async fn cancel(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    take(by, app, id, Step::Cancel, "payment.cancelled").await
}

async fn take(by: Writer, app: App, id: PaymentId, step: Step, action: &'static str) -> Result<Response, Problem> {
    let mut tx = by.begin(&app).await?;
    let (row, done) = payments::step(&mut tx, by.org(), id, step, PaymentMail::make).await?;
    if done {
        let detail = json!({"patients": [row.patient], "version": row.version});
        by.audit(&app, &mut tx, action, "payment", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn refund(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PaymentId>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let amount = fields.optional::<i64>("amount");
    check_sum(&mut fields, amount);
    let reason = fields.required::<String>("reason");
    fields.check_length("reason", reason.as_deref(), MOST_REASON);
    fields.finish()?;
    let reason = reason.ok_or_else(incomplete)?;
    let mut tx = by.begin(&app).await?;
    let who = by.owner().person;
    let (row, given) = payments::refund(&mut tx, by.org(), id, who, (amount, reason), PaymentMail::make).await?;
    let detail = json!({"patients": [row.patient], "refund": given.id, "amount": given.amount, "version": row.version});
    by.audit(&app, &mut tx, "payment.refunded", "payment", id.0, detail).await?;
    by.close(tx, (StatusCode::CREATED, axum::Json(Given::from(given))).into_response()).await
}
