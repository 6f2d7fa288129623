//! Signing in with an address and a password.

use chrono::{DateTime, TimeDelta, Utc};

use super::password::Checked;
use super::{AccountError, MakeJob, lobby, normal, note, second, write_mail};
use crate::context::Context;
use crate::ids::{AccountId, RequestId};
use crate::sessions::{self, NewSession, SeenFrom, SessionSecret, Source};
use crate::store::account_mails::{self, AccountMailKind};
use crate::store::accounts::{self, Membership};
use crate::store::audit::{Actor, Role};
use crate::store::{DbError, Scope, Tx};

/// From so many wrong passwords on, each is followed by a time in which none is tried …
const LOCKS_FROM: i32 = 5;
/// … which begins with this …
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(30);
/// … doubles each time, and is never longer than this: whoever tries wrong passwords on purpose must not keep the owner out.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);
/// The owner is told so often at most.
const NOTICE_EVERY: TimeDelta = TimeDelta::days(1);

/// A try to sign in. No `Debug`: it holds a password.
pub struct Attempt<'a> {
    /// The address, as it was typed.
    pub email: &'a str,
    /// The password, as it was typed.
    pub password: &'a str,
    /// The HTTP request.
    pub request: RequestId,
    /// From where.
    pub from: SeenFrom,
}

/// What came of a try. No `Debug`: it holds a session.
pub enum Entered {
    /// They are signed in.
    In {
        /// The session.
        secret: SessionSecret,
        /// In which role.
        role: Role,
        /// The account has more than one person: they may want to be another.
        several: bool,
    },
    /// The password is right, and a code is to follow ([`second::enter_code`]). This is what the browser holds until then.
    Half(SessionSecret),
    /// All is right, and the account has no place yet ([`lobby`]). This is what the browser holds.
    Lobby(SessionSecret),
    /// Address and password do not match, there is no such account, or passwords are not tried at the moment. Which of them it
    /// is stays unsaid.
    Wrong,
    /// All is right, and their role is one of another release.
    Nobody,
}

/// Tries an address and a password. Whatever comes of it is on record, and takes about the same time.
///
/// # Errors
/// [`AccountError`].
pub async fn sign_in(ctx: &Context, attempt: Attempt<'_>, make: MakeJob) -> Result<Entered, AccountError> {
    let found = match normal(attempt.email) {
        Some(email) => {
            let mut tx = ctx.begin(Scope::Platform).await?;
            let found = accounts::with_address(tx.conn(), &email).await?;
            tx.commit().await?;
            found
        }
        None => None,
    };
    let tried = found.filter(|account| account.locked_until.is_none_or(|until| until <= ctx.clock.now()));
    let kept = tried.as_ref().and_then(|account| account.password_hash.as_deref());
    let checked = ctx.passwords.check(attempt.password, kept).await?;
    let (Some(account), Checked::Right { outdated }) = (&tried, checked) else {
        let counted = tried.map(|account| account.id);
        refused(ctx, counted, attempt.request, make).await?;
        return Ok(Entered::Wrong);
    };
    let renewed = if outdated { Some(ctx.passwords.hash(ctx.ids, attempt.password).await?) } else { None };
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let locked = accounts::lock(tx.conn(), account.id).await?;
    if locked.password_hash != account.password_hash {
        // It was changed between the look and now: what was right is so no more.
        drop(tx);
        refused(ctx, Some(account.id), attempt.request, make).await?;
        return Ok(Entered::Wrong);
    }
    if let (Some(new), Some(old)) = (&renewed, &account.password_hash) {
        accounts::rehash(tx.conn(), account.id, old, new).await?;
    }
    accounts::set_failed(tx.conn(), account.id, 0, None, now).await?;
    let entered = begin_or_ask(&mut tx, account.id, attempt.request, attempt.from).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Begins a session, or a half one if a code is to follow.
pub(crate) async fn begin_or_ask(
    tx: &mut Tx,
    account: AccountId,
    request: RequestId,
    from: SeenFrom,
) -> Result<Entered, DbError> {
    match second::ask_code(tx, account, request).await? {
        Some(half) => Ok(Entered::Half(half)),
        None => begin_session(tx, account, request, from).await,
    }
}

/// Begins a session of the person of the account that was used last; all that was asked for was right.
pub(super) async fn begin_session(
    tx: &mut Tx,
    account: AccountId,
    request: RequestId,
    from: SeenFrom,
) -> Result<Entered, DbError> {
    let memberships = accounts::memberships(tx.conn(), account).await?;
    if memberships.is_empty() {
        return Ok(Entered::Lobby(lobby::begin(tx, account, request).await?));
    }
    let Some((person, role)) = memberships.first().and_then(known_role) else {
        note(tx, by(account, request), "session.refused", account, "refused").await?;
        return Ok(Entered::Nobody);
    };
    let actor = Actor::Person { id: person.person, role, request };
    let new = NewSession { org: person.org, person: person.person, source: Source::Account(account), from };
    let secret = sessions::begin(tx, actor, new).await?;
    Ok(Entered::In { secret, role, several: memberships.len() > 1 })
}

fn known_role(membership: &Membership) -> Option<(&Membership, Role)> {
    Some((membership, membership.role.parse().ok()?))
}

fn by(id: AccountId, request: RequestId) -> Actor {
    Actor::Account { id, request }
}

/// Puts a wrong password on record. `counted`: it was tried with this account, whose next try may have to wait.
async fn refused(
    ctx: &Context,
    counted: Option<AccountId>,
    request: RequestId,
    make: MakeJob,
) -> Result<(), AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    match counted {
        None => sessions::note_failure(&mut tx, request).await?,
        Some(account) => {
            note(&mut tx, Actor::UnknownToken { request }, "session.refused", account, "failed").await?;
            count(&mut tx, account, request, make).await?;
        }
    }
    Ok(tx.commit().await?)
}

async fn count(tx: &mut Tx, account: AccountId, request: RequestId, make: MakeJob) -> Result<(), AccountError> {
    let now = tx.now();
    let failed = accounts::lock(tx.conn(), account).await?.failed.saturating_add(1);
    let until = wait_after(failed).map(|wait| now + wait);
    accounts::set_failed(tx.conn(), account, failed, until, now).await?;
    if until.is_none() {
        return Ok(());
    }
    note(tx, Actor::UnknownToken { request }, "account.locked", account, "success").await?;
    if !told_lately(tx, account, now).await? {
        write_mail(tx, account, AccountMailKind::Locked, None, make).await?;
    }
    Ok(())
}

async fn told_lately(tx: &mut Tx, account: AccountId, now: DateTime<Utc>) -> Result<bool, DbError> {
    account_mails::written_since(tx.conn(), account, AccountMailKind::Locked, now - NOTICE_EVERY).await
}

/// How long nothing is tried after so many wrong passwords or codes; none: the next may come at once.
pub(super) fn wait_after(failed: i32) -> Option<TimeDelta> {
    let doublings = u32::try_from(failed - LOCKS_FROM).ok()?;
    let wait = FIRST_WAIT * 2_i32.pow(doublings.min(10));
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bearable() {
        assert_eq!(wait_after(4), None);
        let seconds = |failed| wait_after(failed).map(|wait| wait.num_seconds());
        assert_eq!([5, 6, 7, 8, 9, 10, 1000, i32::MAX].map(seconds), [30, 60, 120, 240, 480, 900, 900, 900].map(Some));
    }
}
