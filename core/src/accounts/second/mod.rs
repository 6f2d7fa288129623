//! The second factor of an account: codes of an app, and recovery codes for who has lost it. What its owner does with it while
//! signed in; [`enter_code`] is what it is for.

mod keys;
mod step;
mod totp;

use chrono::{DateTime, TimeDelta, Utc};

pub use keys::FactorKeys;
pub(super) use step::ask_code;
pub use step::{CodeTry, Stepped, enter_code, is_open};
pub use totp::{DIGITS, TotpKey};

use super::{AccountError, MakeJob, normal, note, owner_is_sure, write_mail};
use crate::context::Context;
use crate::ids::AccountId;
use crate::store::account_mails::AccountMailKind;
use crate::store::audit::Actor;
use crate::store::second_factors;
use crate::store::{DbError, Scope, Tx, accounts};

/// So many recovery codes are made at a time.
pub const RECOVERY_CODES: usize = 10;
/// For so long a new key is shown, and waits for a code.
const TO_CONFIRM: TimeDelta = TimeDelta::minutes(30);

/// What there is of an account's second factor. No `Debug`: it holds a key.
pub enum State {
    /// Nothing.
    Off,
    /// A key is to be put into an app, and confirmed by a code.
    Begun {
        /// The key, for people to type.
        text: String,
        /// The key, for the app's camera.
        uri: String,
    },
    /// It is on.
    On {
        /// Since when.
        since: DateTime<Utc>,
        /// So many recovery codes are left.
        codes_left: i64,
    },
}

/// What there is of an account's second factor.
///
/// # Errors
/// [`AccountError`].
pub async fn state(ctx: &Context, account: AccountId) -> Result<State, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (factor, now) = (second_factors::look(tx.conn(), account).await?, tx.now());
    tx.commit().await?;
    let Some(factor) = factor else { return Ok(State::Off) };
    match factor.confirmed_at {
        Some(since) => Ok(State::On { since, codes_left: factor.codes_left }),
        None if is_over(factor.begun_at, now) => Ok(State::Off),
        None => {
            let key = ctx.factor_keys.open(account, &factor.sealed_key)?;
            Ok(State::Begun { text: key.text(), uri: key.uri(&factor.email) })
        }
    }
}

fn is_over(begun: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    begun + TO_CONFIRM <= now
}

/// What came of a wish that takes the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// It is done.
    Done(T),
    /// The password is wrong.
    WrongPassword,
    /// There is nothing to do it with: the factor is on, or off, already.
    Nothing,
}

/// Makes a key, in place of one that waits for its first code.
///
/// # Errors
/// [`AccountError`].
pub async fn begin(ctx: &Context, by: Actor, account: AccountId, password: &str) -> Result<Asked<()>, AccountError> {
    if !owner_is_sure(ctx, by, account, password).await? {
        return Ok(Asked::WrongPassword);
    }
    let sealed = ctx.factor_keys.seal(account, &TotpKey::new(ctx.ids))?;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    if !second_factors::begin(tx.conn(), account, &sealed, now).await? {
        return Ok(Asked::Nothing);
    }
    note(&mut tx, by, "second_factor.begun", account, "success").await?;
    tx.commit().await?;
    Ok(Asked::Done(()))
}

/// What came of the first code. No `Debug`: it holds recovery codes.
pub enum Confirmed {
    /// The factor is on. These are its recovery codes, which nobody can see again.
    On(Vec<String>),
    /// The code is wrong.
    Wrong,
    /// No key waits for a code: it was too late, or it is on already.
    Nothing,
}

/// Switches the factor on by a first code of the app.
///
/// # Errors
/// [`AccountError`].
pub async fn confirm(
    ctx: &Context,
    by: Actor,
    account: AccountId,
    code: &str,
    make: MakeJob,
) -> Result<Confirmed, AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let factor = second_factors::lock(tx.conn(), account).await?;
    let Some(factor) = factor.filter(|factor| factor.confirmed_at.is_none() && !is_over(factor.begun_at, now)) else {
        return Ok(Confirmed::Nothing);
    };
    let key = ctx.factor_keys.open(account, &factor.sealed_key)?;
    let Some(step) = key.step_of(&digits(code), now, factor.last_step) else {
        note(&mut tx, by, "second_factor.refused", account, "failed").await?;
        tx.commit().await?;
        return Ok(Confirmed::Wrong);
    };
    second_factors::set_step(tx.conn(), account, step).await?;
    second_factors::confirm(tx.conn(), account, now).await?;
    let codes = new_codes(ctx, &mut tx, account).await?;
    note(&mut tx, by, "second_factor.on", account, "success").await?;
    write_mail(&mut tx, account, AccountMailKind::SecondFactorOn, None, make).await?;
    tx.commit().await?;
    Ok(Confirmed::On(codes))
}

/// Makes new recovery codes; the old ones are worth nothing any more.
///
/// # Errors
/// [`AccountError`].
pub async fn renew_codes(
    ctx: &Context,
    by: Actor,
    account: AccountId,
    password: &str,
) -> Result<Asked<Vec<String>>, AccountError> {
    if !owner_is_sure(ctx, by, account, password).await? {
        return Ok(Asked::WrongPassword);
    }
    let mut tx = ctx.begin(Scope::Platform).await?;
    let factor = second_factors::lock(tx.conn(), account).await?;
    if factor.is_none_or(|factor| factor.confirmed_at.is_none()) {
        return Ok(Asked::Nothing);
    }
    let codes = new_codes(ctx, &mut tx, account).await?;
    note(&mut tx, by, "second_factor.codes_made", account, "success").await?;
    tx.commit().await?;
    Ok(Asked::Done(codes))
}

async fn new_codes(ctx: &Context, tx: &mut Tx, account: AccountId) -> Result<Vec<String>, DbError> {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| FactorKeys::recovery_code(ctx.ids)).collect();
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| ctx.factor_keys.hash(account, code).to_vec()).collect();
    second_factors::set_codes(tx.conn(), account, &hashes).await?;
    Ok(codes)
}

/// Switches the factor off.
///
/// # Errors
/// [`AccountError`].
pub async fn switch_off(
    ctx: &Context,
    by: Actor,
    account: AccountId,
    password: &str,
    make: MakeJob,
) -> Result<Asked<()>, AccountError> {
    if !owner_is_sure(ctx, by, account, password).await? {
        return Ok(Asked::WrongPassword);
    }
    let mut tx = ctx.begin(Scope::Platform).await?;
    if !take_away(&mut tx, by, account, make).await? {
        return Ok(Asked::Nothing);
    }
    tx.commit().await?;
    Ok(Asked::Done(()))
}

/// Switches off the factor of the account with this address, for an owner who has lost app and recovery codes. False: there is no such
/// account, or its factor is off. The transaction sees every organization.
///
/// # Errors
/// [`AccountError`].
pub async fn switch_off_for(tx: &mut Tx, by: Actor, email: &str, make: MakeJob) -> Result<bool, AccountError> {
    let Some(email) = normal(email) else { return Ok(false) };
    let Some(account) = accounts::with_address(tx.conn(), &email).await? else { return Ok(false) };
    take_away(tx, by, account.id, make).await
}

async fn take_away(tx: &mut Tx, by: Actor, account: AccountId, make: MakeJob) -> Result<bool, AccountError> {
    if !second_factors::remove(tx.conn(), account).await? {
        return Ok(false);
    }
    note(tx, by, "second_factor.off", account, "success").await?;
    write_mail(tx, account, AccountMailKind::SecondFactorOff, None, make).await?;
    Ok(true)
}

/// A code as it is compared: apps show it in groups.
fn digits(code: &str) -> String {
    code.chars().filter(|letter| !letter.is_whitespace()).take(DIGITS + 1).collect()
}
