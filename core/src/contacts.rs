//! Emergency contacts: added, changed, removed; and the consent without which nobody contacts them.

use chrono::{DateTime, Utc};

use crate::ids::{ContactId, OrgId, PersonId};
use crate::store::contacts::{self, Contact};
use crate::store::{DbError, Tx, people};

/// A patient has no more contacts.
pub const MOST_CONTACTS: i64 = 10;
/// The longest name, in characters.
pub const MOST_NAME: usize = 200;
/// The longest telephone number, in characters.
pub const MOST_PHONE: usize = 50;

/// Why a contact is not added or changed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// There is no such contact here.
    #[error("there is no such contact")]
    Unknown,
    /// There is no such patient here.
    #[error("there is no such patient")]
    NoPatient,
    /// The patient has as many as there may be.
    #[error("the patient has {MOST_CONTACTS} contacts already")]
    TooMany,
    /// It was removed before.
    #[error("the contact was removed")]
    Removed,
    /// It is at another version: somebody changed it meanwhile.
    #[error("the contact is at version {0}")]
    Version(i32),
    /// No consent was given, so none can be withdrawn.
    #[error("there is no consent")]
    NoConsent,
    /// Consent that was withdrawn is not undone by one that is older.
    #[error("consent is older than its withdrawal")]
    Order,
    /// Consent cannot be given in the future.
    #[error("consent is of the future")]
    Future,
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// A contact as staff describe it. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct NewContact {
    /// Whose.
    pub patient: PersonId,
    /// Their name.
    pub name: String,
    /// What they are to the patient, one of [`contacts::RELATIONSHIPS`].
    pub relationship: String,
    /// Their telephone number.
    pub phone: String,
    /// Their address.
    pub email: Option<String>,
    /// They are called first.
    pub primary: bool,
    /// They decide about treatment when the patient cannot.
    pub may_decide: bool,
    /// Who has given consent, one of [`contacts::CONSENT_GIVERS`]; none: nobody yet.
    pub consent_given_by: Option<String>,
}

/// Adds a contact. Of two that are to be called first it is the newer one.
///
/// # Errors
/// [`ContactError`].
pub async fn add(tx: &mut Tx, org: OrgId, new: NewContact) -> Result<Contact, ContactError> {
    let (now, patient) = (tx.now(), new.patient);
    // Whoever adds to a patient's contacts holds the patient's row, so that the bound holds for two at once.
    if !people::lock_patient(tx.conn(), patient).await? {
        return Err(ContactError::NoPatient);
    }
    if contacts::count(tx.conn(), patient).await? >= MOST_CONTACTS {
        return Err(ContactError::TooMany);
    }
    if new.primary {
        contacts::unset_primary(tx.conn(), patient, now).await?;
    }
    let contact = Contact {
        id: tx.new_id(),
        patient,
        name: new.name,
        relationship: new.relationship,
        phone: new.phone,
        email: new.email,
        primary: new.primary,
        may_decide: new.may_decide,
        may_contact: new.consent_given_by.is_some(),
        consent_given_at: new.consent_given_by.is_some().then_some(now),
        consent_given_by: new.consent_given_by,
        consent_withdrawn_at: None,
        removed_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    contacts::insert(tx.conn(), org, &contact).await?;
    Ok(contact)
}

/// A contact that is to be changed, with the patient's row locked. `version`: the one that is to be changed; none: whichever.
///
/// # Errors
/// [`ContactError`]; one that was removed is not changed any more.
pub async fn to_change(tx: &mut Tx, id: ContactId, version: Option<i32>) -> Result<Contact, ContactError> {
    let contact = contacts::one_to_change(tx.conn(), id).await?.ok_or(ContactError::Unknown)?;
    if version.is_some_and(|version| version != contact.version) {
        return Err(ContactError::Version(contact.version));
    }
    if contact.removed_at.is_some() {
        return Err(ContactError::Removed);
    }
    Ok(contact)
}

/// Writes a contact that [`to_change`] gave. Where it is to be called first from now on, the one before is not.
///
/// # Errors
/// Postgres.
pub async fn save(tx: &mut Tx, before: &Contact, contact: &mut Contact) -> Result<(), ContactError> {
    let now = tx.now();
    if contact.primary && !before.primary {
        contacts::unset_primary(tx.conn(), contact.patient, now).await?;
    }
    Ok(contacts::save(tx.conn(), contact, now).await?)
}

/// Puts consent on record. False: there was consent before, and it stays as it is.
///
/// # Errors
/// [`ContactError`].
pub async fn consent(
    tx: &mut Tx,
    id: ContactId,
    given_by: &str,
    given_at: Option<DateTime<Utc>>,
) -> Result<(Contact, bool), ContactError> {
    let now = tx.now();
    let given_at = given_at.unwrap_or(now);
    if given_at > now {
        return Err(ContactError::Future);
    }
    let mut contact = to_change(tx, id, None).await?;
    if contact.may_contact {
        return Ok((contact, false));
    }
    if contact.consent_withdrawn_at.is_some_and(|withdrawn| given_at < withdrawn) {
        return Err(ContactError::Order);
    }
    contact.consent_given_by = Some(given_by.to_owned());
    contact.consent_given_at = Some(given_at);
    contact.consent_withdrawn_at = None;
    contacts::save(tx.conn(), &mut contact, now).await?;
    Ok((contact, true))
}

/// Puts on record that consent was withdrawn. False: it was before.
///
/// # Errors
/// [`ContactError`].
pub async fn withdraw_consent(tx: &mut Tx, id: ContactId) -> Result<(Contact, bool), ContactError> {
    let now = tx.now();
    let mut contact = to_change(tx, id, None).await?;
    if contact.consent_given_at.is_none() {
        return Err(ContactError::NoConsent);
    }
    if contact.consent_withdrawn_at.is_some() {
        return Ok((contact, false));
    }
    contact.consent_withdrawn_at = Some(now);
    contacts::save(tx.conn(), &mut contact, now).await?;
    Ok((contact, true))
}

/// Removes a contact; the row stays. False: it was removed before.
///
/// # Errors
/// [`ContactError`].
pub async fn remove(tx: &mut Tx, id: ContactId) -> Result<(Contact, bool), ContactError> {
    let now = tx.now();
    let mut contact = contacts::one_to_change(tx.conn(), id).await?.ok_or(ContactError::Unknown)?;
    if contact.removed_at.is_some() {
        return Ok((contact, false));
    }
    contact.primary = false;
    contact.removed_at = Some(now);
    contacts::save(tx.conn(), &mut contact, now).await?;
    Ok((contact, true))
}
