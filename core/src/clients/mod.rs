//! Clients: programs that get tokens without a person, by SMART Backend Services (SMART App Launch 2; RFC 6749 4.4, RFC 7523). A client is
//! registered with its public keys, and acts as a person of one organization, within its scopes and within that person's role.

mod grant;
pub mod scopes;

pub use grant::{Client, Granted, LIFETIME, Refused, Request, authenticate, grant};

use serde_json::{Value, json};

use crate::ids::{ClientId, OrgId, PersonId};
use crate::jose::{Algorithm, KeyProblem, KeySet};
use crate::store::audit::{self, Actor, Entry};
use crate::store::clients::{self, ClientLine, NewClientRow};
use crate::store::{DbError, Tx, tokens};
use crate::tokens::Scopes;

/// How a client may sign.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs384, Algorithm::Es384];
/// A note is no longer, in characters.
const LONGEST_LABEL: usize = 100;

/// Why a client is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The keys are not taken.
    #[error("{0}")]
    Keys(#[from] KeyProblem),
    /// It could not do anything.
    #[error("a client needs a scope at least")]
    NoScope,
    /// The note is too long.
    #[error("a label has at most {LONGEST_LABEL} characters")]
    Label,
    /// There is no such person.
    #[error("there is no such person")]
    Nobody,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// Registers a client that acts as this person. The transaction sees every organization.
///
/// # Errors
/// [`RegisterError`].
pub async fn register(
    tx: &mut Tx,
    by: Actor,
    person: PersonId,
    scopes: &Scopes,
    keys: &Value,
    label: &str,
) -> Result<ClientId, RegisterError> {
    let _usable = KeySet::of(keys, &ALGORITHMS)?;
    if scopes.names().is_empty() {
        return Err(RegisterError::NoScope);
    }
    if label.chars().count() > LONGEST_LABEL {
        return Err(RegisterError::Label);
    }
    let org = tokens::organization_of(tx.conn(), person).await?.ok_or(RegisterError::Nobody)?;
    let (id, now) = (tx.new_id::<ClientId>(), tx.now());
    let row = NewClientRow { id, org, person, scopes: scopes.names(), label, keys };
    clients::insert(tx.conn(), &row, now).await?;
    let detail = json!({"person": person, "scopes": row.scopes});
    note(tx, by, org, "client.registered", id, Some(detail)).await?;
    Ok(id)
}

/// The clients of an organization, newest first.
///
/// # Errors
/// Postgres.
pub async fn list(tx: &mut Tx, org: OrgId) -> Result<Vec<ClientLine>, DbError> {
    clients::list(tx.conn(), org).await
}

/// Gives a client other keys, in place of all that it has. False: there is no such client, or it was revoked.
///
/// # Errors
/// [`RegisterError`].
pub async fn set_keys(tx: &mut Tx, by: Actor, client: ClientId, keys: &Value) -> Result<bool, RegisterError> {
    let _usable = KeySet::of(keys, &ALGORITHMS)?;
    let Some(org) = clients::set_keys(tx.conn(), client, keys).await? else { return Ok(false) };
    note(tx, by, org, "client.keys_changed", client, None).await?;
    Ok(true)
}

/// Makes a client and its tokens worthless from now on. False: there is no such client, or it was revoked before.
///
/// # Errors
/// Postgres.
pub async fn revoke(tx: &mut Tx, by: Actor, client: ClientId) -> Result<bool, DbError> {
    let now = tx.now();
    let Some(org) = clients::revoke(tx.conn(), client, now).await? else { return Ok(false) };
    note(tx, by, org, "client.revoked", client, None).await?;
    Ok(true)
}

async fn note(
    tx: &mut Tx,
    by: Actor,
    org: OrgId,
    action: &'static str,
    client: ClientId,
    detail: Option<Value>,
) -> Result<(), DbError> {
    let (ids, now) = (tx.ids(), tx.now());
    let entry = Entry {
        org: Some(org),
        actor: by,
        action,
        subject_type: "client",
        subject: client.0,
        outcome: "success",
        detail,
    };
    audit::write(tx.conn(), ids, &[entry], now).await
}
