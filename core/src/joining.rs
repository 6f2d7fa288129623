//! Doctors ask to join another organization; its administrators decide. Each step is within one transaction, which the caller
//! commits with its audit entry.
//!
//! Who asks is known by their account ([decision 0020](../../docs/decisions/0020-accounts-beside-people.md)): being let in makes
//! one more person of it.

use crate::ids::{JoinRequestId, OrgId, PersonId};
use crate::ledger::NewJob;
use crate::store::joins::{self, JoinRequest};
use crate::store::{DbError, Tx, organizations};

/// The kind of the mail that tells a doctor what was decided.
pub const JOIN_DECISION: &str = "join_decision";

/// One mail about a request that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinMail {
    /// Which organization was asked.
    pub org: OrgId,
    /// The request.
    pub request: JoinRequestId,
}

/// Makes the job that sends the mail. Jobs are defined outside this crate, so who decides says how.
pub type MakeJob = fn(JoinMail) -> Result<NewJob, serde_json::Error>;

/// Why a request is not made or decided. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no such request here.
    #[error("there is no such request")]
    Unknown,
    /// There is no such organization.
    #[error("there is no such organization")]
    NoOrganization,
    /// Whoever asks has no account with a password.
    #[error("whoever asks has no account")]
    NoAccount,
    /// They are of the organization's staff.
    #[error("they work there already")]
    Member,
    /// They have asked, and it is not decided.
    #[error("there is an open request already")]
    Open,
    /// They have asked too often.
    #[error("there are too many requests")]
    TooMany,
    /// It was decided, or taken back, before.
    #[error("the request is {0} already")]
    Decided(String),
    /// Somebody else of the staff has that address.
    #[error("somebody of the staff has that address")]
    AddressTaken,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// What administrators decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They become a doctor of the organization.
    Approve,
    /// They do not. They may ask again.
    Deny,
}

impl Decision {
    /// The state of a request that was decided so.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

/// Asks `org` to let the account of `asker` in, who is of this transaction's organization.
///
/// # Errors
/// [`JoinError`].
pub async fn ask(tx: &mut Tx, org: OrgId, asker: PersonId, message: Option<&str>) -> Result<JoinRequest, JoinError> {
    let (id, now) = (tx.new_id::<JoinRequestId>(), tx.now());
    match joins::ask(tx.conn(), id, org, asker, message, now).await?.as_str() {
        "asked" => {}
        "no_organization" => return Err(JoinError::NoOrganization),
        "member" => return Err(JoinError::Member),
        "open" => return Err(JoinError::Open),
        "too_many" => return Err(JoinError::TooMany),
        _ => return Err(JoinError::NoAccount),
    }
    let newest = joins::own(tx.conn(), asker, None, 21).await?.into_iter().find(|request| request.id == id);
    newest.ok_or(JoinError::Unknown)
}

/// Decides a request. False: it was decided so before. The doctor is told; who is let in is a doctor of the organization from
/// the same moment.
///
/// # Errors
/// [`JoinError`].
pub async fn decide(
    tx: &mut Tx,
    (org, id): (OrgId, JoinRequestId),
    by: PersonId,
    decision: &Decision,
    note: Option<String>,
    make: MakeJob,
) -> Result<(JoinRequest, bool), JoinError> {
    let now = tx.now();
    // Whoever adds to an organization holds its row, and whoever decides the request's: in this order, everywhere.
    if !organizations::lock(tx.conn(), org).await? {
        return Err(JoinError::Unknown);
    }
    let mut request = joins::one_to_decide(tx.conn(), org, id).await?.ok_or(JoinError::Unknown)?;
    if request.state == decision.state() {
        return Ok((request, false));
    }
    if request.state != "open" {
        return Err(JoinError::Decided(request.state));
    }
    if *decision == Decision::Approve {
        let person = tx.new_id::<PersonId>();
        if !joins::add_member(tx.conn(), &request, person, now).await? {
            return Err(JoinError::AddressTaken);
        }
        request.person = Some(person);
    }
    decision.state().clone_into(&mut request.state);
    request.note = note;
    joins::decide(tx.conn(), &mut request, by, now).await?;
    let job = make(JoinMail { org, request: id }).map_err(|error| DbError::Encode(error.into()))?;
    tx.enqueue_all(vec![job]).await?;
    Ok((request, true))
}
