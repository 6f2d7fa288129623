//! Who works for an organization: added, invited to an account, given another role, gone and back. Each step is within one
//! transaction, which the caller commits with its audit entry.

use chrono::TimeDelta;

use crate::ids::{AccountMailId, OrgId, PersonId, SessionId, TokenId};
use crate::ledger::NewJob;
use crate::mail::EmailAddress;
use crate::store::audit::Role;
use crate::store::members::{self, Member};
use crate::store::people::{self, NewPerson};
use crate::store::{DbError, Tx, organizations};

/// The longest given or family name, in characters.
pub const MOST_NAME: usize = 100;
/// The longest telephone number, in characters.
pub const MOST_PHONE: usize = 40;
/// The longest name of a specialty, in characters.
pub const MOST_SPECIALTY: usize = 100;
/// The longest qualification, in characters.
pub const MOST_QUALIFICATION: usize = 200;
/// The most languages of one member.
pub const MOST_LANGUAGES: usize = 20;
/// The kind of the job that invites somebody to an account.
pub const INVITE_PERSON: &str = "invite_person";
/// Nobody is invited twice within this time.
const BETWEEN_INVITATIONS: TimeDelta = TimeDelta::minutes(1);

/// An invitation to an account that was decided on, and is to be mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToAccount {
    /// Whose person is invited.
    pub org: OrgId,
    /// Who is invited.
    pub person: PersonId,
    /// The mail: invited twice by one job is invited once.
    pub mail: AccountMailId,
}

/// Makes the job that invites. Jobs are defined outside this crate, so who decides says how.
pub type MakeJob = fn(ToAccount) -> Result<NewJob, serde_json::Error>;

/// Why a member is not added or changed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// There is no such member here.
    #[error("there is no such member")]
    Unknown,
    /// The member is at another version: somebody changed them meanwhile.
    #[error("the member is at version {0}")]
    Version(i32),
    /// Somebody of the staff has that address.
    #[error("that address is the one of {0}")]
    AddressTaken(PersonId),
    /// The address is the one that they sign in with.
    #[error("the address belongs to their account")]
    AddressOfAccount,
    /// They do not work here.
    #[error("they no longer work here")]
    Gone,
    /// The organization would be left without anybody who administers it.
    #[error("there would be no administrator left")]
    LastAdministrator,
    /// Nobody changes their own role.
    #[error("nobody changes their own role")]
    OwnRole,
    /// A doctor has so many visits that are not over.
    #[error("there are {0} visits to come")]
    Visits(i64),
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// Why somebody is not invited. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum NotInvited {
    /// There is no such person here.
    #[error("there is no such person")]
    Unknown,
    /// They do not take part.
    #[error("they are no longer active")]
    Inactive,
    /// They have an account.
    #[error("they have an account already")]
    Before,
    /// Nothing can be mailed to them.
    #[error("they have no address that mail can be sent to")]
    NoAddress,
    /// They were invited a moment ago.
    #[error("they were invited within the last minute")]
    JustNow,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// Who is added. No `Debug`: it holds personal data.
pub struct NewMember {
    /// In which role: not as a patient, and not as an operator.
    pub role: Role,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// The address.
    pub email: EmailAddress,
    /// What else is said of them.
    pub profile: Profile,
}

/// What is said of a member beside name, role and address. No `Debug`: it holds personal data.
#[derive(Clone, Default)]
pub struct Profile {
    /// Telephone number, [`MOST_PHONE`] at most.
    pub phone: Option<String>,
    /// Specialty, [`MOST_SPECIALTY`] at most.
    pub specialty: Option<String>,
    /// Qualification, [`MOST_QUALIFICATION`] at most.
    pub qualification: Option<String>,
    /// Languages, [`MOST_LANGUAGES`] at most.
    pub languages: Vec<String>,
}

/// Adds a member. No two of an organization's staff have the same address, whether they still work there or not.
///
/// # Errors
/// [`MemberError`].
pub async fn add(tx: &mut Tx, org: OrgId, new: NewMember) -> Result<Member, MemberError> {
    let (id, now) = (tx.new_id::<PersonId>(), tx.now());
    // Whoever adds to an organization holds its row, so that two at once see each other.
    if !organizations::lock(tx.conn(), org).await? {
        return Err(MemberError::Unknown);
    }
    free(tx, org, new.email.expose(), None).await?;
    let row = NewPerson {
        id,
        org,
        role: new.role,
        given_name: &new.given_name,
        family_name: &new.family_name,
        email: new.email.expose(),
    };
    people::insert(tx.conn(), &row, now).await?;
    let mut member = members::one(tx.conn(), id).await?.ok_or(MemberError::Unknown)?;
    let Profile { phone, specialty, qualification, languages } = new.profile;
    if phone.is_some() || specialty.is_some() || qualification.is_some() || !languages.is_empty() {
        member = Member { phone, specialty, qualification, languages, ..member };
        members::save(tx.conn(), &mut member, now).await?;
    }
    Ok(member)
}

/// Refuses an address that somebody else of the staff has.
async fn free(tx: &mut Tx, org: OrgId, address: &str, but: Option<PersonId>) -> Result<(), MemberError> {
    match people::with_address(tx.conn(), org, address, true).await? {
        Some(other) if Some(other.id) != but => Err(MemberError::AddressTaken(other.id)),
        _ => Ok(()),
    }
}

/// A member of the version that the change was made for, locked together with the organization until the transaction ends.
///
/// # Errors
/// [`MemberError`].
pub async fn to_change(tx: &mut Tx, org: OrgId, id: PersonId, version: Option<i32>) -> Result<Member, MemberError> {
    // In this order, everywhere.
    organizations::lock(tx.conn(), org).await?;
    let member = members::one_to_change(tx.conn(), id).await?.ok_or(MemberError::Unknown)?;
    match version {
        Some(version) if version != member.version => Err(MemberError::Version(member.version)),
        _ => Ok(member),
    }
}

/// Writes a change of names, address and profile of a member whom [`to_change`] gave.
///
/// # Errors
/// [`MemberError`].
pub async fn save(tx: &mut Tx, org: OrgId, before: &Member, changed: &mut Member) -> Result<(), MemberError> {
    let now = tx.now();
    if changed.email != before.email {
        if before.has_account {
            return Err(MemberError::AddressOfAccount);
        }
        if let Some(address) = &changed.email {
            free(tx, org, address, Some(before.id)).await?;
        }
        // A link that went to the address before is no good any more, so they may be invited again.
        changed.invited_at = None;
    }
    Ok(members::save(tx.conn(), changed, now).await?)
}

/// What ended with somebody's role or work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Sessions at the pages.
    pub sessions: Vec<SessionId>,
    /// Tokens.
    pub tokens: Vec<TokenId>,
}

/// Gives a member another role; they sign in anew. False: it is their role already.
///
/// # Errors
/// [`MemberError`].
pub async fn set_role(
    tx: &mut Tx,
    org: OrgId,
    by: PersonId,
    member: &mut Member,
    role: Role,
) -> Result<Option<Ended>, MemberError> {
    if member.role == role.as_str() {
        return Ok(None);
    }
    if member.id == by {
        return Err(MemberError::OwnRole);
    }
    if !member.active {
        return Err(MemberError::Gone);
    }
    may_go(tx, org, member).await?;
    let now = tx.now();
    role.as_str().clone_into(&mut member.role);
    members::save(tx.conn(), member, now).await?;
    let sessions = members::end_sessions(tx.conn(), member.id, now).await?;
    Ok(Some(Ended { sessions, tokens: Vec::new() }))
}

/// A member no longer works here: from the same moment neither sessions nor tokens of theirs are worth anything. None: they had
/// gone before.
///
/// # Errors
/// [`MemberError`].
pub async fn leave(tx: &mut Tx, org: OrgId, member: &mut Member) -> Result<Option<Ended>, MemberError> {
    if !member.active {
        return Ok(None);
    }
    may_go(tx, org, member).await?;
    let now = tx.now();
    member.active = false;
    members::save(tx.conn(), member, now).await?;
    let sessions = members::end_sessions(tx.conn(), member.id, now).await?;
    let tokens = members::end_tokens(tx.conn(), member.id, now).await?;
    Ok(Some(Ended { sessions, tokens }))
}

/// A member works here again, in the role that they had. False: they do already.
///
/// # Errors
/// Postgres.
pub async fn come_back(tx: &mut Tx, member: &mut Member) -> Result<bool, DbError> {
    if member.active {
        return Ok(false);
    }
    let now = tx.now();
    member.active = true;
    members::save(tx.conn(), member, now).await?;
    Ok(true)
}

/// Whether the organization can do without a member in their role.
async fn may_go(tx: &mut Tx, org: OrgId, member: &Member) -> Result<(), MemberError> {
    let now = tx.now();
    if member.role == Role::Admin.as_str() && members::administrators(tx.conn(), org).await? < 2 {
        return Err(MemberError::LastAdministrator);
    }
    let visits = members::visits_to_come(tx.conn(), member.id, now).await?;
    if visits > 0 { Err(MemberError::Visits(visits)) } else { Ok(()) }
}

/// Has a person of `org`, a member or (`patient`) a patient, invited to an account by mail; earlier invitations lapse.
///
/// # Errors
/// [`NotInvited`].
pub async fn invite(
    tx: &mut Tx,
    org: OrgId,
    person: PersonId,
    patient: bool,
    make: MakeJob,
) -> Result<AccountMailId, NotInvited> {
    let (now, mail) = (tx.now(), tx.new_id::<AccountMailId>());
    let whom = members::to_invite(tx.conn(), person).await?;
    let known = |role: &str| if patient { role == "patient" } else { members::MEMBER_ROLES.contains(&role) };
    let whom = whom.filter(|whom| known(&whom.role)).ok_or(NotInvited::Unknown)?;
    if !whom.active {
        return Err(NotInvited::Inactive);
    }
    if whom.has_account {
        return Err(NotInvited::Before);
    }
    if whom.email.as_deref().and_then(|address| EmailAddress::parse(address).ok()).is_none() {
        return Err(NotInvited::NoAddress);
    }
    if whom.invited_at.is_some_and(|at| now - at < BETWEEN_INVITATIONS) {
        return Err(NotInvited::JustNow);
    }
    members::set_invited(tx.conn(), person, now).await?;
    let job = make(ToAccount { org, person, mail }).map_err(|error| DbError::Encode(error.into()))?;
    tx.enqueue_all(vec![job]).await?;
    Ok(mail)
}
