//! Signing up: an account becomes somebody's when the link that was mailed to its address comes back. Until then it lets nobody in, and
//! nobody is told whether there was one before.
//!
//! The chosen password is asked once more there. The link alone proves the address only: whoever signs up with somebody else's address must
//! not have their own password confirmed by its owner, who presses a button.

use super::rules::{self, Unfit};
use super::{AccountError, Checked, MakeJob, Opened, normal, note, write_mail};
use crate::context::Context;
use crate::ids::RequestId;
use crate::store::account_mails::{self, AccountMailKind};
use crate::store::accounts;
use crate::store::audit::Actor;
use crate::store::sign_ups::{self, SignUp};
use crate::store::{DbError, Scope, Tx};

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 100;

/// What somebody typed who wants an account. No `Debug`: it holds a password.
pub struct Wish<'a> {
    /// Given name.
    pub given_name: &'a str,
    /// Family name.
    pub family_name: &'a str,
    /// The address.
    pub email: &'a str,
    /// The password.
    pub password: &'a str,
}

impl Wish<'_> {
    /// Whether the address is one that mail can be sent to.
    pub fn has_address(&self) -> bool {
        normal(self.email).is_some()
    }

    /// Whether the password is taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check_password(&self) -> Result<(), Unfit> {
        let email = normal(self.email).unwrap_or_default();
        rules::check(self.password, &[&email, self.given_name, self.family_name])
    }
}

/// Asks for an account, by a wish that was found good. A link is mailed to the address; if it has an account, a word about that instead.
/// Either takes the same time.
///
/// # Errors
/// [`AccountError`].
pub async fn sign_up(ctx: &Context, wish: &Wish<'_>, request: RequestId, make: MakeJob) -> Result<(), AccountError> {
    let Some(email) = normal(wish.email) else { return Ok(()) };
    let password_hash = ctx.passwords.hash(ctx.ids, wish.password).await?;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (now, new, by) = (tx.now(), tx.new_id(), Actor::UnknownToken { request });
    accounts::insert(tx.conn(), new, &email, now).await?;
    let account = accounts::with_address(tx.conn(), &email).await?.map_or(new, |account| account.id);
    let account = accounts::lock(tx.conn(), account).await?;
    let outcome = if account.verified || account.password_hash.is_some() {
        write_mail(&mut tx, account.id, AccountMailKind::SignUpKnown, None, make).await?;
        "failed"
    } else {
        let mail = write_mail(&mut tx, account.id, AccountMailKind::Verify, None, make).await?;
        let (given_name, family_name) = (wish.given_name.to_owned(), wish.family_name.to_owned());
        sign_ups::insert(tx.conn(), mail, &SignUp { given_name, family_name, password_hash }).await?;
        "success"
    };
    note(&mut tx, by, "account.sign_up_asked", account.id, outcome).await?;
    Ok(tx.commit().await?)
}

/// What the link of a mail of [`AccountMailKind::Verify`] confirms. None: it is confirmed, or the account is somebody's by now. The
/// transaction sees every organization.
///
/// # Errors
/// Postgres.
pub async fn signed_up(tx: &mut Tx, opened: &Opened) -> Result<Option<SignUp>, DbError> {
    sign_ups::find(tx.conn(), opened.mail).await
}

/// What came of confirming a sign-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The account is theirs, with the name and the password that they chose.
    Done,
    /// It is not the password that was chosen; the link is still good.
    Wrong,
    /// The link was used, or the account is somebody's by now.
    Over,
}

/// Confirms a sign-up by its link and the password that was chosen.
///
/// # Errors
/// [`AccountError`].
pub async fn confirm(
    ctx: &Context,
    opened: &Opened,
    chosen: &SignUp,
    password: &str,
    request: RequestId,
) -> Result<Confirmed, AccountError> {
    let checked = ctx.passwords.check(password, Some(&chosen.password_hash)).await?;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let account = accounts::lock(tx.conn(), opened.account).await?;
    if !matches!(checked, Checked::Right { .. }) {
        note(&mut tx, Actor::UnknownToken { request }, "account.sign_up_refused", account.id, "failed").await?;
        tx.commit().await?;
        return Ok(Confirmed::Wrong);
    }
    if account.verified || !account_mails::spend(tx.conn(), opened.mail, now).await? {
        return Ok(Confirmed::Over);
    }
    accounts::set_password(tx.conn(), account.id, &chosen.password_hash, now).await?;
    accounts::set_name(tx.conn(), account.id, &chosen.given_name, &chosen.family_name, now).await?;
    accounts::set_verified(tx.conn(), account.id, now).await?;
    account_mails::withdraw(tx.conn(), account.id, AccountMailKind::Verify, None, now).await?;
    sign_ups::forget_of(tx.conn(), account.id).await?;
    note(&mut tx, Actor::Account { id: account.id, request }, "account.signed_up", account.id, "success").await?;
    tx.commit().await?;
    Ok(Confirmed::Done)
}
