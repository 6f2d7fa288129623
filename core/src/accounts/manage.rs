//! What the owner of an account does while signed in.

use super::password::Checked;
use super::rules::{self, Unfit};
use super::{AccountError, MakeJob, normal, note, write_mail};
use crate::context::Context;
use crate::ids::{AccountId, PersonId};
use crate::sessions::{self, NewSession, SeenFrom, SessionSecret, Source};
use crate::store::account_mails::AccountMailKind;
use crate::store::audit::{Actor, Role};
use crate::store::sessions::Which;
use crate::store::{DbError, Scope, Tx, accounts};

/// A wish for another password. No `Debug`: it holds passwords.
pub struct PasswordChange<'a> {
    /// The one until now.
    pub old: &'a str,
    /// The one from now on.
    pub new: &'a str,
    /// The session of whoever asks, made anew: its person, and from where.
    pub session: NewSession,
}

/// What came of it. No `Debug`: it holds a session.
pub enum Changed {
    /// It is changed. All sessions of the account have ended, and there is a new one.
    Done(SessionSecret),
    /// The old one is wrong.
    WrongOld,
    /// The new one is not taken.
    Unfit(Unfit),
}

/// Changes the password of an account. A lock does not matter to who is signed in.
///
/// # Errors
/// [`AccountError`].
pub async fn change_password(
    ctx: &Context,
    by: Actor,
    account: AccountId,
    wish: PasswordChange<'_>,
    make: MakeJob,
) -> Result<Changed, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let before = accounts::lock(tx.conn(), account).await?;
    let members = accounts::memberships(tx.conn(), account).await?;
    tx.commit().await?;
    if !owner_is_sure(ctx, by, account, wish.old).await? {
        return Ok(Changed::WrongOld);
    }
    let names = members.iter().flat_map(|member| [member.name.as_str(), member.organization.as_str()]);
    let known: Vec<&str> = names.chain([before.email.as_str()]).collect();
    if let Err(why) = rules::check(wish.new, &known) {
        return Ok(Changed::Unfit(why));
    }
    let hash = ctx.passwords.hash(ctx.ids, wish.new).await?;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    if accounts::lock(tx.conn(), account).await?.password_hash != before.password_hash {
        return Ok(Changed::WrongOld);
    }
    accounts::set_password(tx.conn(), account, &hash, now).await?;
    end_sessions(&mut tx, by, account, Which::All).await?;
    note(&mut tx, by, "password.changed", account, "success").await?;
    write_mail(&mut tx, account, AccountMailKind::PasswordChanged, None, make).await?;
    let secret = sessions::begin(&mut tx, by, wish.session).await?;
    tx.commit().await?;
    Ok(Changed::Done(secret))
}

/// Whether this is the account's password, for what a stolen session must not be enough for. A wrong one is put on record.
///
/// # Errors
/// [`AccountError`].
pub async fn owner_is_sure(ctx: &Context, by: Actor, account: AccountId, password: &str) -> Result<bool, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let kept = accounts::lock(tx.conn(), account).await?.password_hash;
    tx.commit().await?;
    if ctx.passwords.check(password, kept.as_deref()).await? != Checked::Wrong {
        return Ok(true);
    }
    let mut tx = ctx.begin(Scope::Platform).await?;
    note(&mut tx, by, "password.refused", account, "failed").await?;
    tx.commit().await?;
    Ok(false)
}

/// Ends sessions of an account, each with its audit entry. Says how many. The transaction sees every organization.
///
/// # Errors
/// Postgres.
pub async fn end_sessions(tx: &mut Tx, by: Actor, account: AccountId, which: Which) -> Result<usize, DbError> {
    let now = tx.now();
    let ended = crate::store::sessions::revoke_of_account(tx.conn(), account, which, now).await?;
    for (session, org) in &ended {
        sessions::note(tx, by, *org, "session.ended", *session, None).await?;
    }
    Ok(ended.len())
}

/// Begins a session as another person of the account. None: it has no such person who takes part. The transaction sees every
/// organization; who calls ends the session before.
///
/// # Errors
/// Postgres.
pub async fn switch(
    tx: &mut Tx,
    account: AccountId,
    to: PersonId,
    by: impl FnOnce(PersonId, Role) -> Actor,
    from: SeenFrom,
) -> Result<Option<(SessionSecret, Role)>, DbError> {
    let members = accounts::memberships(tx.conn(), account).await?;
    let Some(member) = members.iter().find(|member| member.person == to) else { return Ok(None) };
    let Ok(role) = member.role.parse() else { return Ok(None) };
    let new = NewSession { org: member.org, person: to, source: Source::Account(account), from };
    let secret = sessions::begin(tx, by(to, role), new).await?;
    Ok(Some((secret, role)))
}

/// Gives people without a mail an account with a password, for a demonstration clinic: their addresses count as proven. False:
/// one of the people cannot have it.
///
/// # Errors
/// Postgres.
pub async fn found(tx: &mut Tx, by: Actor, address: &str, hash: &str, people: &[PersonId]) -> Result<bool, DbError> {
    let (now, new) = (tx.now(), tx.new_id::<AccountId>());
    let Some(email) = normal(address) else { return Ok(false) };
    accounts::insert(tx.conn(), new, &email, now).await?;
    let Some(account) = accounts::with_address(tx.conn(), &email).await? else { return Ok(false) };
    accounts::set_password(tx.conn(), account.id, hash, now).await?;
    accounts::set_verified(tx.conn(), account.id, now).await?;
    note(tx, by, "password.set", account.id, "success").await?;
    for person in people {
        if !accounts::join(tx.conn(), account.id, *person, now).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
