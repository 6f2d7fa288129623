//! Whose account somebody is whom the issuer has proven.

use serde_json::json;

use super::Proven;
use crate::accounts::{AccountError, Entered, MakeJob, begin_or_ask, normal, note, write_mail};
use crate::context::Context;
use crate::ids::{AccountId, RequestId};
use crate::sessions::SeenFrom;
use crate::store::account_mails::AccountMailKind;
use crate::store::audit::{self, Actor, Entry};
use crate::store::{DbError, Scope, Tx, accounts, identities};

/// What came of it. No `Debug`: it holds a session.
pub enum Arrived {
    /// As with the right password.
    Entered(Entered),
    /// They have no account here, or one that this address does not prove.
    Stranger,
}

/// Signs in whom the issuer has proven. The account is the one that they are linked with; the first time, the one with the address
/// that the issuer has proven. From then on the address does not matter.
///
/// # Errors
/// [`AccountError`].
pub async fn arrive(
    ctx: &Context,
    proven: &Proven,
    request: RequestId,
    from: SeenFrom,
    make: MakeJob,
) -> Result<Arrived, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let linked = identities::find(tx.conn(), &proven.issuer, &proven.sub).await?;
    let account = match linked {
        Some(account) => Some(account),
        None => link(&mut tx, proven, request, make).await?,
    };
    let Some(account) = account else {
        note_refused(&mut tx, request, "they have no account").await?;
        tx.commit().await?;
        return Ok(Arrived::Stranger);
    };
    let entered = begin_or_ask(&mut tx, account, request, from).await?;
    tx.commit().await?;
    Ok(Arrived::Entered(entered))
}

/// Links the account with the proven address, if its owner has proven it here too and it is linked with nobody else there.
async fn link(
    tx: &mut Tx,
    proven: &Proven,
    request: RequestId,
    make: MakeJob,
) -> Result<Option<AccountId>, AccountError> {
    let Some(email) = proven.email.as_deref().and_then(normal) else { return Ok(None) };
    let Some(known) = accounts::with_address(tx.conn(), &email).await? else { return Ok(None) };
    let (account, now) = (known.id, tx.now());
    if !known.verified || !identities::insert(tx.conn(), &proven.issuer, &proven.sub, account, now).await? {
        return Ok(None);
    }
    note(tx, Actor::Account { id: account, request }, "account.linked", account, "success").await?;
    write_mail(tx, account, AccountMailKind::Linked, None, make).await?;
    Ok(Some(account))
}

/// Puts on record that nobody is known to have come, and why.
///
/// # Errors
/// Postgres.
pub async fn refuse(ctx: &Context, request: RequestId, why: &'static str) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    note_refused(&mut tx, request, why).await?;
    tx.commit().await
}

async fn note_refused(tx: &mut Tx, request: RequestId, why: &'static str) -> Result<(), DbError> {
    let (ids, now, attempt) = (tx.ids(), tx.now(), tx.new_id());
    let entry = Entry {
        org: None,
        actor: Actor::UnknownToken { request },
        action: "session.refused",
        subject_type: "sign_in",
        subject: attempt,
        outcome: "refused",
        detail: Some(json!({"by": "oidc", "why": why})),
    };
    audit::write(tx.conn(), ids, &[entry], now).await
}

/// Takes away whom the account with this address is linked with. Says how many. The transaction sees every organization.
///
/// # Errors
/// Postgres.
pub async fn unlink_all(tx: &mut Tx, by: Actor, email: &str) -> Result<u64, DbError> {
    let Some(email) = normal(email) else { return Ok(0) };
    let Some(account) = accounts::with_address(tx.conn(), &email).await? else { return Ok(0) };
    let gone = identities::remove(tx.conn(), account.id).await?;
    if gone > 0 {
        note(tx, by, "account.unlinked", account.id, "success").await?;
    }
    Ok(gone)
}
