//! Payments of patients: asked for, paid, failed, cancelled, given back. Each step is within one transaction, which the caller
//! commits with its audit entry; what is paid or given back is mailed by a job of the same transaction.

use chrono::NaiveDate;

use crate::ids::{AppointmentId, InsuranceId, OrgId, PaymentId, PersonId, RefundId};
use crate::ledger::NewJob;
use crate::store::payments::{self, Payment, Refund};
use crate::store::{DbError, Tx, insurances, organizations, people};

/// What is paid for.
pub const KINDS: [&str; 4] = ["consultation", "procedure", "medicine", "other"];
/// How it is paid.
pub const METHODS: [&str; 4] = ["cash", "card", "transfer", "insurance"];
/// The states of a payment.
pub const STATES: [&str; 7] =
    ["pending", "processing", "completed", "failed", "cancelled", "partly_refunded", "refunded"];
/// The longest reference of a bank or terminal, in characters.
pub const MOST_REFERENCE: usize = 100;
/// The longest reason, in characters.
pub const MOST_REASON: usize = 500;
/// A payment is given back in no more parts.
const MOST_REFUNDS: i64 = 50;
/// The kind of the mail that says what was paid or given back.
pub const PAYMENT_MAIL: &str = "payment_mail";

/// One mail about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentMail {
    /// Whose payment.
    pub org: OrgId,
    /// The payment.
    pub payment: PaymentId,
    /// The refund that it tells of; none: it is the receipt.
    pub refund: Option<RefundId>,
}

/// Makes the job that sends the mail. Jobs are defined outside this crate, so who decides says how.
pub type MakeJob = fn(PaymentMail) -> Result<NewJob, serde_json::Error>;

/// Why a payment is not made or changed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// There is no such payment here.
    #[error("there is no such payment")]
    Unknown,
    /// There is no such patient here.
    #[error("there is no such patient")]
    NoPatient,
    /// The visit is not the patient's.
    #[error("the patient has no such visit")]
    NoVisit,
    /// The policy is not the patient's, or was ended.
    #[error("the patient has no such policy")]
    NoInsurance,
    /// The insurance pays more than there is to pay, or pays without a policy.
    #[error("the covered share does not fit")]
    Covered,
    /// It is at another version: somebody changed it meanwhile.
    #[error("the payment is at version {0}")]
    Version(i32),
    /// Its state does not allow it.
    #[error("the payment is {0}")]
    State(String),
    /// There is less left to give back.
    #[error("{0} are left to give back")]
    TooMuch(i64),
    /// It was given back in as many parts as may be.
    #[error("it was given back in {MOST_REFUNDS} parts already")]
    TooMany,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// A payment as staff ask for it.
pub struct NewPayment {
    /// Who pays.
    pub patient: PersonId,
    /// For which visit.
    pub appointment: Option<AppointmentId>,
    /// The policy that pays a share.
    pub insurance: Option<InsuranceId>,
    /// One of [`KINDS`].
    pub kind: String,
    /// One of [`METHODS`].
    pub method: String,
    /// All of it, in the smallest unit of the organization's currency; more than 0.
    pub amount: i64,
    /// What the insurance pays of it.
    pub covered: i64,
    /// Until when it is to be paid.
    pub due_on: Option<NaiveDate>,
}

/// Whether amount, share and policy of a payment fit each other and its patient.
async fn fits(tx: &mut Tx, row: &Payment) -> Result<(), PaymentError> {
    if row.covered > row.amount || (row.covered > 0 && row.insurance.is_none()) {
        return Err(PaymentError::Covered);
    }
    if let Some(policy) = row.insurance {
        let policy = insurances::one(tx.conn(), policy).await?;
        if !policy.is_some_and(|policy| policy.patient == row.patient && policy.ended_at.is_none()) {
            return Err(PaymentError::NoInsurance);
        }
    }
    Ok(())
}

/// Asks for a payment, in the organization's currency.
///
/// # Errors
/// [`PaymentError`].
pub async fn ask(tx: &mut Tx, org: OrgId, new: NewPayment) -> Result<Payment, PaymentError> {
    let now = tx.now();
    if people::role_of(tx.conn(), new.patient).await?.as_deref() != Some("patient") {
        return Err(PaymentError::NoPatient);
    }
    if let Some(visit) = new.appointment
        && !payments::is_visit_of(tx.conn(), visit, new.patient).await?
    {
        return Err(PaymentError::NoVisit);
    }
    let row = Payment {
        id: tx.new_id(),
        patient: new.patient,
        appointment: new.appointment,
        insurance: new.insurance,
        kind: new.kind,
        method: new.method,
        currency: organizations::currency(tx.conn(), org).await?,
        amount: new.amount,
        covered: new.covered,
        refunded: 0,
        due_on: new.due_on,
        due_sort: new.due_on.unwrap_or(NaiveDate::MAX),
        state: "pending".to_owned(),
        reference: None,
        failed_reason: None,
        completed_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    fits(tx, &row).await?;
    payments::insert(tx.conn(), org, &row).await?;
    Ok(row)
}

/// A payment that is to be changed, locked, in one of these states. `version`: the one that is to be changed; none: whichever.
///
/// # Errors
/// [`PaymentError`].
pub async fn to_change(
    tx: &mut Tx,
    id: PaymentId,
    version: Option<i32>,
    states: &[&str],
) -> Result<Payment, PaymentError> {
    let row = payments::one_to_change(tx.conn(), id).await?.ok_or(PaymentError::Unknown)?;
    if version.is_some_and(|version| version != row.version) {
        return Err(PaymentError::Version(row.version));
    }
    if states.contains(&row.state.as_str()) { Ok(row) } else { Err(PaymentError::State(row.state)) }
}

/// Writes a payment that [`to_change`] gave.
///
/// # Errors
/// [`PaymentError`].
pub async fn save(tx: &mut Tx, row: &mut Payment) -> Result<(), PaymentError> {
    let now = tx.now();
    fits(tx, row).await?;
    Ok(payments::save(tx.conn(), row, now).await?)
}

/// A step of a payment's life other than giving back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bank or terminal has it.
    Process,
    /// It is paid.
    Complete {
        /// What the bank or the terminal calls it.
        reference: Option<String>,
    },
    /// It was not paid.
    Fail {
        /// Why.
        reason: String,
    },
    /// It is no longer asked for.
    Cancel,
}

impl Step {
    /// The state that it leads to, and from which ones.
    fn way(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Process => ("processing", &["pending", "failed"]),
            Self::Complete { .. } => ("completed", &["pending", "processing"]),
            Self::Fail { .. } => ("failed", &["pending", "processing"]),
            Self::Cancel => ("cancelled", &["pending", "failed"]),
        }
    }
}

/// Takes a step. False: it was taken before. What is paid is mailed to the patient.
///
/// # Errors
/// [`PaymentError`].
pub async fn step(
    tx: &mut Tx,
    org: OrgId,
    id: PaymentId,
    step: Step,
    make: MakeJob,
) -> Result<(Payment, bool), PaymentError> {
    let (now, (to, from)) = (tx.now(), step.way());
    let mut row = payments::one_to_change(tx.conn(), id).await?.ok_or(PaymentError::Unknown)?;
    if row.state == to {
        return Ok((row, false));
    }
    if !from.contains(&row.state.as_str()) {
        return Err(PaymentError::State(row.state));
    }
    to.clone_into(&mut row.state);
    row.failed_reason = None;
    match step {
        Step::Process | Step::Cancel => {}
        Step::Complete { reference } => {
            row.reference = reference;
            row.completed_at = Some(now);
            tell(tx, PaymentMail { org, payment: id, refund: None }, make).await?;
        }
        Step::Fail { reason } => row.failed_reason = Some(reason),
    }
    payments::save(tx.conn(), &mut row, now).await?;
    Ok((row, true))
}

/// Gives back a part of what was paid, or all that is left of it. It is mailed to the patient.
///
/// # Errors
/// [`PaymentError`].
pub async fn refund(
    tx: &mut Tx,
    org: OrgId,
    id: PaymentId,
    by: PersonId,
    (amount, reason): (Option<i64>, String),
    make: MakeJob,
) -> Result<(Payment, Refund), PaymentError> {
    let now = tx.now();
    // Locked: of two at once the second sees what the first has left.
    let mut row = to_change(tx, id, None, &["completed", "partly_refunded"]).await?;
    let left = row.amount - row.refunded;
    let amount = amount.unwrap_or(left);
    if !(1..=left).contains(&amount) {
        return Err(PaymentError::TooMuch(left));
    }
    let before = payments::refunds(tx.conn(), id, None, MOST_REFUNDS).await?.len();
    if i64::try_from(before).unwrap_or(i64::MAX) >= MOST_REFUNDS {
        return Err(PaymentError::TooMany);
    }
    let refund = Refund { id: tx.new_id(), payment: id, amount, reason, by, at: now };
    payments::insert_refund(tx.conn(), org, &refund).await?;
    row.refunded += amount;
    let state = if row.refunded == row.amount { "refunded" } else { "partly_refunded" };
    state.clone_into(&mut row.state);
    payments::save(tx.conn(), &mut row, now).await?;
    tell(tx, PaymentMail { org, payment: id, refund: Some(refund.id) }, make).await?;
    Ok((row, refund))
}

async fn tell(tx: &mut Tx, mail: PaymentMail, make: MakeJob) -> Result<(), DbError> {
    let job = make(mail).map_err(|error| DbError::Encode(error.into()))?;
    tx.enqueue_all(vec![job]).await?;
    Ok(())
}
