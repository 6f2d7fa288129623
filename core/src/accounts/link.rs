//! What is done by a link in a mail: accepting an invitation, and setting another password. A link works once.

use serde_json::json;

use super::rules::{self, Unfit};
use super::{AccountError, MakeJob, normal, note, write_mail, write_mail_as};
use crate::context::Context;
use crate::ids::{AccountId, AccountMailId, PersonId, RequestId};
use crate::links::{LinkError, Links};
use crate::store::account_mails::{self, AccountMailKind};
use crate::store::accounts::{self, Invitee};
use crate::store::audit::{self, Actor, Entry};
use crate::store::sessions::Which;
use crate::store::{DbError, Scope, Tx};

/// Why somebody is not invited.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// There is no such person.
    #[error("there is no such person")]
    Nobody,
    /// They do not take part.
    #[error("they are no longer active")]
    Inactive,
    /// Nothing can be mailed to them.
    #[error("they have no e-mail address, or one that mail cannot be sent to")]
    NoAddress,
    /// They have an account.
    #[error("they have an account already; at /forgot they can set another password")]
    Before,
    /// What can go wrong otherwise.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<DbError> for InviteError {
    fn from(error: DbError) -> Self {
        Self::Account(error.into())
    }
}

/// Somebody was invited.
#[derive(Clone, Copy, Debug)]
pub struct Invited {
    /// The account that will be theirs.
    pub account: AccountId,
    /// The mail.
    pub mail: AccountMailId,
}

/// Invites a person to an account with the address that their organization has of them, by mail. An earlier invitation of
/// theirs lapses. `mail` is the id that the mail gets. The transaction sees every organization.
///
/// # Errors
/// [`InviteError`].
pub async fn invite(
    tx: &mut Tx,
    by: Actor,
    person: PersonId,
    mail: AccountMailId,
    make: MakeJob,
) -> Result<Invited, InviteError> {
    let (ids, now) = (tx.ids(), tx.now());
    let invitee = accounts::invitee(tx.conn(), person).await?.ok_or(InviteError::Nobody)?;
    if !invitee.active {
        return Err(InviteError::Inactive);
    }
    if invitee.account.is_some() {
        return Err(InviteError::Before);
    }
    let email = invitee.email.as_deref().and_then(normal).ok_or(InviteError::NoAddress)?;
    let new = tx.new_id();
    accounts::insert(tx.conn(), new, &email, now).await?;
    let account = accounts::with_address(tx.conn(), &email).await?.map_or(new, |account| account.id);
    account_mails::withdraw(tx.conn(), account, AccountMailKind::Invitation, Some(person), now).await?;
    write_mail_as(tx, mail, account, AccountMailKind::Invitation, Some(person), make).await?;
    let entry = Entry {
        org: Some(invitee.org),
        actor: by,
        action: "person.invited",
        subject_type: "person",
        subject: person.0,
        outcome: "success",
        detail: Some(json!({"account": account})),
    };
    audit::write(tx.conn(), ids, &[entry], now).await?;
    Ok(Invited { account, mail })
}

/// A link that was read and is still good. No `Debug`: it holds personal data.
pub struct Opened {
    pub(super) mail: AccountMailId,
    pub(super) account: AccountId,
    /// The address of the account.
    pub email: String,
    /// What is known of its owner, for the rules of passwords.
    known: Vec<String>,
    /// Of an invitation: to what.
    pub invitation: Option<Invitation>,
}

/// What somebody is invited to.
pub struct Invitation {
    person: PersonId,
    /// The organization's name.
    pub organization: String,
    /// The invited person's name.
    pub name: String,
    /// The account has a password, which stays as it is.
    pub has_password: bool,
}

/// Reads the link of a mail of that kind. The transaction sees every organization.
///
/// # Errors
/// Postgres; within: a link that is none of ours, or is used or over.
pub async fn open(
    tx: &mut Tx,
    links: &Links,
    token: &str,
    kind: AccountMailKind,
) -> Result<Result<Opened, LinkError>, DbError> {
    let now = tx.now();
    let Some(mail) = Links::account_mail_of(token) else { return Ok(Err(LinkError::Forged)) };
    let Some(row) = account_mails::link(tx.conn(), mail, now).await? else { return Ok(Err(LinkError::Forged)) };
    if !links.is_account_token(token, mail, &row.seed) || row.kind != Some(kind) {
        return Ok(Err(LinkError::Forged));
    }
    if row.over {
        return Ok(Err(LinkError::Expired));
    }
    let account = accounts::lock(tx.conn(), row.account).await?;
    let mut known = vec![account.email.clone()];
    let invitation = match row.person {
        None => None,
        Some(person) => {
            match accounts::invitee(tx.conn(), person).await?.filter(|invitee| may_join(invitee, &account.email)) {
                // They left, have another address now, or have joined already.
                None => return Ok(Err(LinkError::Expired)),
                Some(Invitee { name, organization, .. }) => {
                    known.extend([name.clone(), organization.clone()]);
                    Some(Invitation { person, organization, name, has_password: account.password_hash.is_some() })
                }
            }
        }
    };
    for membership in accounts::memberships(tx.conn(), row.account).await? {
        known.extend([membership.name, membership.organization]);
    }
    Ok(Ok(Opened { mail, account: row.account, email: account.email, known, invitation }))
}

fn may_join(invitee: &Invitee, address: &str) -> bool {
    invitee.active
        && invitee.account.is_none()
        && invitee.email.as_deref().and_then(normal).is_some_and(|email| email == address)
}

/// What came of accepting an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The person is the account's now.
    Joined,
    /// The password is not taken; the link is still good.
    Unfit(Unfit),
    /// The link was used in the meantime.
    Over,
}

/// Accepts an invitation. `password` is taken where the account has none.
///
/// # Errors
/// [`AccountError`].
pub async fn accept(
    ctx: &Context,
    opened: &Opened,
    password: &str,
    request: RequestId,
) -> Result<Accepted, AccountError> {
    let Some(invitation) = &opened.invitation else { return Ok(Accepted::Over) };
    let hash = if invitation.has_password {
        None
    } else {
        if let Err(why) = opened.check(password) {
            return Ok(Accepted::Unfit(why));
        }
        Some(ctx.passwords.hash(ctx.ids, password).await?)
    };
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (ids, now, by) = (tx.ids(), tx.now(), Actor::Account { id: opened.account, request });
    let account = accounts::lock(tx.conn(), opened.account).await?;
    if !account_mails::spend(tx.conn(), opened.mail, now).await? {
        return Ok(Accepted::Over);
    }
    // Another invitation may have been accepted meanwhile, and its password stays.
    if let Some(hash) = hash.filter(|_| account.password_hash.is_none()) {
        accounts::set_password(tx.conn(), opened.account, &hash, now).await?;
        note(&mut tx, by, "password.set", opened.account, "success").await?;
    }
    accounts::set_verified(tx.conn(), opened.account, now).await?;
    let Some(invitee) = accounts::invitee(tx.conn(), invitation.person).await? else { return Ok(Accepted::Over) };
    if !accounts::join(tx.conn(), opened.account, invitation.person, now).await? {
        return Ok(Accepted::Over);
    }
    let entry = Entry {
        org: Some(invitee.org),
        actor: by,
        action: "account.joined",
        subject_type: "person",
        subject: invitation.person.0,
        outcome: "success",
        detail: Some(json!({"account": opened.account})),
    };
    audit::write(tx.conn(), ids, &[entry], now).await?;
    tx.commit().await?;
    Ok(Accepted::Joined)
}

/// Somebody asks for another password of this address. If it has an account, a link is mailed there; nothing tells.
///
/// # Errors
/// [`AccountError`].
pub async fn ask_reset(ctx: &Context, email: &str, request: RequestId, make: MakeJob) -> Result<(), AccountError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let found = match normal(email) {
        Some(email) => accounts::with_address(tx.conn(), &email).await?,
        None => None,
    };
    let by = Actor::UnknownToken { request };
    match found {
        Some(account) => {
            write_mail(&mut tx, account.id, AccountMailKind::Reset, None, make).await?;
            note(&mut tx, by, "account.reset_asked", account.id, "success").await?;
        }
        None => {
            let nobody = tx.new_id();
            note(&mut tx, by, "account.reset_asked", nobody, "failed").await?;
        }
    }
    Ok(tx.commit().await?)
}

/// What came of setting another password by a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It is set, and every session of the account has ended.
    Done,
    /// It is not taken; the link is still good.
    Unfit(Unfit),
    /// The link was used in the meantime.
    Over,
}

/// Sets another password by a link. Also the way in for an owner whom somebody's wrong passwords keep out.
///
/// # Errors
/// [`AccountError`].
pub async fn renew(
    ctx: &Context,
    opened: &Opened,
    password: &str,
    request: RequestId,
    make: MakeJob,
) -> Result<Renewed, AccountError> {
    if let Err(why) = opened.check(password) {
        return Ok(Renewed::Unfit(why));
    }
    let hash = ctx.passwords.hash(ctx.ids, password).await?;
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (now, by) = (tx.now(), Actor::Account { id: opened.account, request });
    accounts::lock(tx.conn(), opened.account).await?;
    if !account_mails::spend(tx.conn(), opened.mail, now).await? {
        return Ok(Renewed::Over);
    }
    account_mails::withdraw(tx.conn(), opened.account, AccountMailKind::Reset, None, now).await?;
    accounts::set_password(tx.conn(), opened.account, &hash, now).await?;
    accounts::set_verified(tx.conn(), opened.account, now).await?;
    super::end_sessions(&mut tx, by, opened.account, Which::All).await?;
    note(&mut tx, by, "password.reset", opened.account, "success").await?;
    write_mail(&mut tx, opened.account, AccountMailKind::PasswordChanged, None, make).await?;
    tx.commit().await?;
    Ok(Renewed::Done)
}

impl Opened {
    fn check(&self, password: &str) -> Result<(), Unfit> {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        rules::check(password, &known)
    }
}
