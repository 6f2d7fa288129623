//! Signed in with an account that has no place: no organization, no role, no right; only the page that asks to join one.

use chrono::TimeDelta;

use super::note;
use crate::context::Context;
use crate::ids::{AccountId, RequestId};
use crate::sessions::SessionSecret;
use crate::store::audit::Actor;
use crate::store::{DbError, Scope, Tx, accounts, lobby};

/// It lasts so long.
const LASTS: TimeDelta = TimeDelta::hours(1);

/// Lets the owner of an account in.
pub(super) async fn begin(tx: &mut Tx, account: AccountId, request: RequestId) -> Result<SessionSecret, DbError> {
    let (secret, now) = (SessionSecret::anew(tx.ids()), tx.now());
    lobby::insert(tx.conn(), account, &secret.hash(), now, now + LASTS).await?;
    note(tx, Actor::Account { id: account, request }, "lobby.begun", account, "success").await?;
    Ok(secret)
}

/// Who holds this; none: they are to sign in again.
///
/// # Errors
/// Postgres.
pub async fn find(ctx: &Context, secret: &SessionSecret) -> Result<Option<AccountId>, DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let account = lobby::find(tx.conn(), &secret.hash(), now).await?;
    tx.commit().await?;
    Ok(account)
}

/// The address of the account, and the names of the organizations that have let it in by now.
///
/// # Errors
/// Postgres.
pub async fn look(ctx: &Context, account: AccountId) -> Result<(String, Vec<String>), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let email = accounts::lock(tx.conn(), account).await?.email;
    let places = accounts::memberships(tx.conn(), account).await?;
    tx.commit().await?;
    Ok((email, places.into_iter().map(|place| place.organization).collect()))
}

/// Signs them out.
///
/// # Errors
/// Postgres.
pub async fn leave(
    ctx: &Context,
    account: AccountId,
    secret: &SessionSecret,
    request: RequestId,
) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    lobby::end(tx.conn(), &secret.hash()).await?;
    note(&mut tx, Actor::Account { id: account, request }, "lobby.ended", account, "success").await?;
    tx.commit().await
}
