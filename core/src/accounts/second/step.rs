//! The second step of signing in: after the right password, a code. Between the two there is a half session, which opens nothing but
//! the page that asks for the code.

use chrono::TimeDelta;

use super::super::enter::{begin_session, wait_after};
use super::{AccountError, MakeJob, digits, note, write_mail};
use crate::accounts::Entered;
use crate::context::Context;
use crate::ids::{AccountId, RequestId};
use crate::sessions::{SeenFrom, SessionSecret};
use crate::store::account_mails::{self, AccountMailKind};
use crate::store::audit::Actor;
use crate::store::second_factors::{self, Factor};
use crate::store::{DbError, Scope, Tx};

/// A half session lasts so long …
const HALF: TimeDelta = TimeDelta::minutes(5);
/// … and takes so many wrong codes; then the password is asked for again.
const MOST_WRONG: i32 = 5;
/// The owner is told so often at most.
const NOTICE_EVERY: TimeDelta = TimeDelta::days(1);

/// Begins a half session if the account has a factor that is on.
pub(in crate::accounts) async fn ask_code(
    tx: &mut Tx,
    account: AccountId,
    request: RequestId,
) -> Result<Option<SessionSecret>, DbError> {
    if !second_factors::is_on(tx.conn(), account).await? {
        return Ok(None);
    }
    let (secret, now) = (SessionSecret::anew(tx.ids()), tx.now());
    second_factors::insert_half(tx.conn(), account, &secret.hash(), now, now + HALF).await?;
    note(tx, Actor::Account { id: account, request }, "second_factor.asked", account, "success").await?;
    Ok(Some(secret))
}

/// Whose code a half session waits for; none: the password is to be entered again.
///
/// # Errors
/// [`AccountError`].
pub async fn is_open(ctx: &Context, half: &SessionSecret) -> Result<Option<AccountId>, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let account = second_factors::find_half(tx.conn(), &half.hash(), now).await?;
    tx.commit().await?;
    Ok(account)
}

/// A code that somebody typed. No `Debug`: it holds secrets.
pub struct CodeTry<'a> {
    /// What they got for the right password.
    pub half: &'a SessionSecret,
    /// A code of the app, or a recovery code, as it was typed.
    pub code: &'a str,
    /// The HTTP request.
    pub request: RequestId,
    /// From where.
    pub from: SeenFrom,
}

/// What came of a code. No `Debug`: it holds a session.
pub enum Stepped {
    /// It was right.
    Right(Entered),
    /// It was wrong, or codes of the app are not tried at the moment.
    Wrong,
    /// The password is to be entered again: it took too long, or there were too many wrong codes.
    Over,
}

/// Which sort of code was right.
enum Right {
    App { step: i64 },
    Recovery,
}

/// Tries a code.
///
/// # Errors
/// [`AccountError`].
pub async fn enter_code(ctx: &Context, attempt: CodeTry<'_>, make: MakeJob) -> Result<Stepped, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (now, half) = (tx.now(), attempt.half.hash());
    let Some(account) = second_factors::find_half(tx.conn(), &half, now).await? else { return Ok(Stepped::Over) };
    let factor = second_factors::lock(tx.conn(), account).await?.filter(|factor| factor.confirmed_at.is_some());
    let Some(factor) = factor else { return Ok(Stepped::Over) };
    let by = Actor::Account { id: account, request: attempt.request };
    match check(ctx, &mut tx, account, &factor, attempt.code).await? {
        Some(Right::App { step }) => second_factors::set_step(tx.conn(), account, step).await?,
        Some(Right::Recovery) => {
            note(&mut tx, by, "second_factor.recovered", account, "success").await?;
            write_mail(&mut tx, account, AccountMailKind::RecoveryCodeUsed, None, make).await?;
        }
        None => {
            note(&mut tx, by, "second_factor.refused", account, "failed").await?;
            count(&mut tx, account, &factor, by, make).await?;
            let over = second_factors::count_wrong(tx.conn(), &half, MOST_WRONG).await?;
            tx.commit().await?;
            return Ok(if over { Stepped::Over } else { Stepped::Wrong });
        }
    }
    second_factors::end_half(tx.conn(), &half).await?;
    let entered = begin_session(&mut tx, account, attempt.request, attempt.from).await?;
    tx.commit().await?;
    Ok(Stepped::Right(entered))
}

/// Recovery codes are too long to be guessed, so they are tried also while codes of the app are not.
async fn check(
    ctx: &Context,
    tx: &mut Tx,
    account: AccountId,
    factor: &Factor,
    code: &str,
) -> Result<Option<Right>, AccountError> {
    let now = tx.now();
    if factor.locked_until.is_none_or(|until| until <= now) {
        let key = ctx.factor_keys.open(account, &factor.sealed_key)?;
        if let Some(step) = key.step_of(&digits(code), now, factor.last_step) {
            return Ok(Some(Right::App { step }));
        }
    }
    let hash = ctx.factor_keys.hash(account, code);
    let spent = second_factors::spend_code(tx.conn(), account, &hash, now).await?;
    Ok(spent.then_some(Right::Recovery))
}

/// Counts a wrong code as wrong passwords are counted; another password does not make it forgotten. What is not tried does not count.
async fn count(tx: &mut Tx, account: AccountId, factor: &Factor, by: Actor, make: MakeJob) -> Result<(), AccountError> {
    let now = tx.now();
    if factor.locked_until.is_some_and(|until| until > now) {
        return Ok(());
    }
    let failed = factor.failed.saturating_add(1);
    let until = wait_after(failed).map(|wait| now + wait);
    second_factors::set_failed(tx.conn(), account, failed, until).await?;
    if until.is_none() {
        return Ok(());
    }
    note(tx, by, "second_factor.locked", account, "success").await?;
    let told =
        account_mails::written_since(tx.conn(), account, AccountMailKind::CodesLocked, now - NOTICE_EVERY).await?;
    if !told {
        write_mail(tx, account, AccountMailKind::CodesLocked, None, make).await?;
    }
    Ok(())
}
