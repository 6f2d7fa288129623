//! Accounts: people who sign in with an address and a password, for one organization or for several.
//!
//! An account gives no right of its own. It belongs to people, each of one organization and in one role, and a session is one
//! person's. Nothing here tells whether an address has an account, in words or in time.

mod enter;
mod link;
pub mod lobby;
mod manage;
mod password;
pub mod rules;
pub mod second;
pub mod sign_up;

pub(crate) use enter::begin_or_ask;
pub use enter::{Attempt, Entered, sign_in};
pub use link::{Accepted, Invitation, InviteError, Invited, Opened, Renewed, accept, ask_reset, invite, open, renew};
pub use manage::{Changed, PasswordChange, change_password, end_sessions, found, owner_is_sure, switch};
pub use password::{Checked, PasswordError, Passwords};
pub use second::FactorKeys;

use crate::ids::{AccountId, AccountMailId, PersonId};
use crate::ledger::NewJob;
use crate::mail::EmailAddress;
use crate::sealing::SealError;
use crate::store::account_mails::{self, AccountMailKind, NewAccountMail};
use crate::store::audit::{self, Actor, Entry};
use crate::store::{DbError, Tx};

/// Makes the job that sends a mail. Jobs are defined outside this crate, so who causes a mail says how.
pub type MakeJob = fn(AccountMailId) -> Result<NewJob, serde_json::Error>;

/// What can go wrong that is nobody's wrong password.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A password could be neither hashed nor checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
    /// The key of a second factor is not what was kept.
    #[error("the key of a second factor cannot be opened ({0}); was SECRET_KEY changed?")]
    Key(#[from] SealError),
    /// A fault of ours.
    #[error("the args of a job do not serialize: {0}")]
    Job(#[from] serde_json::Error),
}

/// An address as accounts have it: as mail knows it, in lower case. None: it is no address.
pub(crate) fn normal(address: &str) -> Option<String> {
    EmailAddress::parse(address).ok().map(|address| address.expose().to_lowercase())
}

/// Puts a mail on record and enqueues its job.
pub(crate) async fn write_mail(
    tx: &mut Tx,
    account: AccountId,
    kind: AccountMailKind,
    person: Option<PersonId>,
    make: MakeJob,
) -> Result<AccountMailId, AccountError> {
    let id = tx.new_id::<AccountMailId>();
    write_mail_as(tx, id, account, kind, person, make).await?;
    Ok(id)
}

/// The same, with the id that the mail gets.
async fn write_mail_as(
    tx: &mut Tx,
    id: AccountMailId,
    account: AccountId,
    kind: AccountMailKind,
    person: Option<PersonId>,
    make: MakeJob,
) -> Result<(), AccountError> {
    let now = tx.now();
    let mail = NewAccountMail { id, account, kind, person, seed: tx.ids().secret() };
    account_mails::insert(tx.conn(), &mail, now).await?;
    tx.enqueue_all(vec![make(id)?]).await?;
    Ok(())
}

/// Puts on record what was done to an account. An account is the platform's, and so is its entry.
pub(crate) async fn note(
    tx: &mut Tx,
    by: Actor,
    action: &'static str,
    account: AccountId,
    outcome: &'static str,
) -> Result<(), DbError> {
    let (ids, now) = (tx.ids(), tx.now());
    let entry =
        Entry { org: None, actor: by, action, subject_type: "account", subject: account.0, outcome, detail: None };
    audit::write(tx.conn(), ids, &[entry], now).await
}
