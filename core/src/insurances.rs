//! Insurance policies of patients: added, changed, ended. Each step is within one transaction, which the caller commits with its
//! audit entry.

use chrono::NaiveDate;

use crate::ids::{InsuranceId, OrgId, PersonId};
use crate::store::insurances::{self, Insurance};
use crate::store::{DbError, Tx, organizations, people};

/// A patient has no more policies that have not ended.
pub const MOST_POLICIES: i64 = 20;
/// The longest name of an insurer or subscriber, in characters.
pub const MOST_NAME: usize = 200;
/// The longest number of a policy or group, in characters.
pub const MOST_NUMBER: usize = 100;

/// Why a policy is not added or changed. Nothing was changed then. Never holds a number.
#[derive(Debug, thiserror::Error)]
pub enum InsuranceError {
    /// There is no such policy here.
    #[error("there is no such policy")]
    Unknown,
    /// There is no such patient here.
    #[error("there is no such patient")]
    NoPatient,
    /// The patient has as many as there may be.
    #[error("the patient has {MOST_POLICIES} policies already")]
    TooMany,
    /// The patient has this policy already.
    #[error("the patient has this policy already")]
    There,
    /// It is at another version: somebody changed it meanwhile.
    #[error("the policy is at version {0}")]
    Version(i32),
    /// It was ended.
    #[error("the policy was ended")]
    Ended,
    /// It expires before it takes effect.
    #[error("the policy expires before it takes effect")]
    Order,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[source] DbError),
}

impl From<DbError> for InsuranceError {
    fn from(error: DbError) -> Self {
        let there = matches!(&error, DbError::Database(said) if said.constraint() == Some("insurances_once"));
        if there { Self::There } else { Self::Db(error) }
    }
}

/// A policy as staff describe it. No `Debug`: it holds personal data.
pub struct NewInsurance {
    /// Who is insured.
    pub patient: PersonId,
    /// One of [`insurances::INSURANCE_KINDS`].
    pub kind: String,
    /// Who insures.
    pub provider: String,
    /// Its number.
    pub policy_number: String,
    /// The number of the group that it belongs to.
    pub group_number: Option<String>,
    /// Whose policy it is.
    pub subscriber_name: String,
    /// One of [`insurances::SUBSCRIBER_RELATIONSHIPS`].
    pub relationship: String,
    /// Its first day.
    pub effective_on: NaiveDate,
    /// Its last day.
    pub expires_on: Option<NaiveDate>,
    /// What the patient pays of each visit.
    pub copay: Option<i64>,
    /// What the patient pays of a year before the insurance does.
    pub deductible: Option<i64>,
}

fn in_order(effective_on: NaiveDate, expires_on: Option<NaiveDate>) -> Result<(), InsuranceError> {
    if expires_on.is_some_and(|last| last < effective_on) { Err(InsuranceError::Order) } else { Ok(()) }
}

/// Adds a policy, in the organization's currency.
///
/// # Errors
/// [`InsuranceError`].
pub async fn add(tx: &mut Tx, org: OrgId, new: NewInsurance) -> Result<Insurance, InsuranceError> {
    let now = tx.now();
    in_order(new.effective_on, new.expires_on)?;
    // Whoever adds to a patient's policies holds the patient's row, so that the bound holds for two at once.
    if !people::lock_patient(tx.conn(), new.patient).await? {
        return Err(InsuranceError::NoPatient);
    }
    if insurances::count(tx.conn(), org, new.patient).await? >= MOST_POLICIES {
        return Err(InsuranceError::TooMany);
    }
    let row = Insurance {
        id: tx.new_id(),
        patient: new.patient,
        kind: new.kind,
        provider: new.provider,
        policy_number: new.policy_number,
        group_number: new.group_number,
        subscriber_name: new.subscriber_name,
        relationship: new.relationship,
        effective_on: new.effective_on,
        expires_on: new.expires_on,
        currency: organizations::currency(tx.conn(), org).await?,
        copay: new.copay,
        deductible: new.deductible,
        ended_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    insurances::insert(tx.conn(), org, &row).await?;
    Ok(row)
}

/// A policy that is to be changed, locked. `version`: the one that is to be changed; none: whichever.
///
/// # Errors
/// [`InsuranceError`]; one that was ended is not changed any more.
pub async fn to_change(tx: &mut Tx, id: InsuranceId, version: Option<i32>) -> Result<Insurance, InsuranceError> {
    let row = insurances::one_to_change(tx.conn(), id).await?.ok_or(InsuranceError::Unknown)?;
    if version.is_some_and(|version| version != row.version) {
        return Err(InsuranceError::Version(row.version));
    }
    if row.ended_at.is_some() { Err(InsuranceError::Ended) } else { Ok(row) }
}

/// Writes a policy that [`to_change`] gave.
///
/// # Errors
/// [`InsuranceError`].
pub async fn save(tx: &mut Tx, row: &mut Insurance) -> Result<(), InsuranceError> {
    in_order(row.effective_on, row.expires_on)?;
    let now = tx.now();
    Ok(insurances::save(tx.conn(), row, now).await?)
}

/// Ends a policy. False: it was ended before.
///
/// # Errors
/// [`InsuranceError`].
pub async fn end(tx: &mut Tx, id: InsuranceId) -> Result<(Insurance, bool), InsuranceError> {
    let now = tx.now();
    let mut row = insurances::one_to_change(tx.conn(), id).await?.ok_or(InsuranceError::Unknown)?;
    if row.ended_at.is_some() {
        return Ok((row, false));
    }
    row.ended_at = Some(now);
    insurances::save(tx.conn(), &mut row, now).await?;
    Ok((row, true))
}
