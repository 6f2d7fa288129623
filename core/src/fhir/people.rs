//! Organizations, practitioners and patients.

use std::fmt;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::index::Index;
use super::moment::{Moment, Stated, moment};
use super::name::{contact, human_name, zone};
use super::node::Node;
use super::problem::{Effect, Problem};
use super::reference::{Identifier, Kind, Link, ResourceId};

/// What PulseCal takes of an `Organization`.
#[derive(Clone, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Its id in the source system.
    pub source_id: ResourceId,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
    /// Its name, one line.
    pub name: String,
    /// Preferred e-mail address.
    pub email: Option<String>,
    /// Preferred phone number, as written.
    pub phone: Option<String>,
    /// Zone of the extension `timezone`: that of its patients who have none.
    pub zone: Option<Tz>,
    /// Still in use.
    pub active: bool,
}

/// What PulseCal takes of a `Practitioner`.
#[derive(Clone, PartialEq, Eq)]
pub struct PractitionerRecord {
    /// Their id in the source system.
    pub source_id: ResourceId,
    /// Their business identifiers.
    pub identifiers: Vec<Identifier>,
    /// Given names; may be empty.
    pub given: String,
    /// Family name, or the whole name where the parts are not told apart; may be empty.
    pub family: String,
    /// Preferred e-mail address.
    pub email: Option<String>,
    /// Preferred phone number, as written; mobile before others.
    pub phone: Option<String>,
    /// Zone of the extension `timezone`.
    pub zone: Option<Tz>,
    /// Still in use.
    pub active: bool,
}

/// What PulseCal takes of a `Patient`.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientRecord {
    /// Their id in the source system.
    pub source_id: ResourceId,
    /// Their business identifiers.
    pub identifiers: Vec<Identifier>,
    /// Given names; may be empty.
    pub given: String,
    /// Family name, or the whole name where the parts are not told apart; may be empty.
    pub family: String,
    /// Date of birth, if known to the day.
    pub birth_date: Option<NaiveDate>,
    /// Preferred e-mail address.
    pub email: Option<String>,
    /// Preferred phone number, as written; mobile before others.
    pub phone: Option<String>,
    /// Zone of the extension `timezone`; where absent, the organization's holds.
    pub zone: Option<Tz>,
    /// Preferred language, a BCP 47 tag.
    pub locale: Option<String>,
    /// The record is in use: false also when another one has replaced it.
    pub active: bool,
    /// The patient has died: nothing is sent.
    pub deceased: bool,
    /// The organization that keeps the record.
    pub organization: Option<Link>,
}

/// `Debug` of records shows the id only.
macro_rules! masked {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("source_id", &self.source_id).finish_non_exhaustive()
            }
        }
    )+};
}
pub(super) use masked;

masked!(OrganizationRecord, PractitionerRecord, PatientRecord);

impl OrganizationRecord {
    pub(super) fn from_node(id: ResourceId, root: &Node<'_>, notes: &mut Vec<Problem>) -> Result<Self, Problem> {
        let name = root.line("name")?.ok_or_else(|| root.problem_at("name", "no name is given"))?;
        let contact = contact(root, notes)?;
        Ok(Self {
            source_id: id,
            identifiers: root.identifiers()?,
            name,
            email: contact.email,
            phone: contact.phone,
            zone: zone(root)?,
            active: root.bool("active")?.unwrap_or(true),
        })
    }
}

impl PractitionerRecord {
    pub(super) fn from_node(id: ResourceId, root: &Node<'_>, notes: &mut Vec<Problem>) -> Result<Self, Problem> {
        let name = human_name(root)?;
        let contact = contact(root, notes)?;
        Ok(Self {
            source_id: id,
            identifiers: root.identifiers()?,
            given: name.given,
            family: name.family,
            email: contact.email,
            phone: contact.phone,
            zone: zone(root)?,
            active: root.bool("active")?.unwrap_or(true),
        })
    }
}

impl PatientRecord {
    pub(super) fn from_node(
        id: ResourceId,
        root: &Node<'_>,
        index: &Index,
        notes: &mut Vec<Problem>,
    ) -> Result<Self, Problem> {
        if root.has("animal") {
            return Err(root.problem_at("animal", "is of FHIR STU3; only R4 is read"));
        }
        let name = human_name(root)?;
        let contact = contact(root, notes)?;
        root.one_of(&["deceasedBoolean", "deceasedDateTime"])?;
        let died_at = moment(root, "deceasedDateTime")?.is_some();
        let organization = match root.object("managingOrganization")? {
            None => None,
            // Whose patient this is decides who may see them and which zone holds: no guess here.
            Some(node) => Some(index.follow(&node, &[Kind::Organization])?.1),
        };
        let mut replaced = false;
        for link in root.list("link")? {
            replaced |= link.str("type")? == Some("replaced-by");
        }
        Ok(Self {
            source_id: id,
            identifiers: root.identifiers()?,
            given: name.given,
            family: name.family,
            birth_date: birth_date(root, notes)?,
            email: contact.email,
            phone: contact.phone,
            zone: zone(root)?,
            locale: locale(root, notes)?,
            active: root.bool("active")?.unwrap_or(true) && !replaced,
            deceased: died_at || root.bool("deceasedBoolean")?.unwrap_or(false),
            organization,
        })
    }
}

fn birth_date(root: &Node<'_>, notes: &mut Vec<Problem>) -> Result<Option<NaiveDate>, Problem> {
    match moment(root, "birthDate")? {
        None => Ok(None),
        Some(Stated::Moment(Moment::Day(day))) => Ok(Some(day)),
        Some(Stated::Moment(Moment::Instant(_))) => Err(root.problem_at("birthDate", "must be a date without a time")),
        Some(Stated::Coarse) => {
            let problem = root.problem_at("birthDate", "names no day and is left out");
            notes.push(problem.with_effect(Effect::Partial));
            Ok(None)
        }
    }
}

/// The preferred language, else the only one.
fn locale(root: &Node<'_>, notes: &mut Vec<Problem>) -> Result<Option<String>, Problem> {
    let spoken = root.list("communication")?;
    let preferred = spoken.iter().find(|one| one.bool("preferred") == Ok(Some(true)));
    let only = spoken.first().filter(|_| spoken.len() == 1);
    let Some(language) = preferred.or(only) else {
        return Ok(None);
    };
    let Some(concept) = language.object("language")? else {
        return Ok(None);
    };
    for coding in concept.list("coding")? {
        if let Some(tag) = coding.str("code")? {
            if is_language_tag(tag) {
                return Ok(Some(tag.to_owned()));
            }
            let problem = coding.problem_at("code", "is no language tag such as en-US, and is left out");
            notes.push(problem.with_effect(Effect::Partial));
        }
    }
    Ok(None)
}

fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphabetic())
        && tag.len() <= 35
        && parts.all(part)
}
