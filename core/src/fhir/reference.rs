//! Ids, identifiers, and how resources refer to each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The resource types that PulseCal imports or looks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Organization`.
    Organization,
    /// `Practitioner`.
    Practitioner,
    /// `PractitionerRole`: only as a way from an order to its practitioner.
    PractitionerRole,
    /// `Patient`.
    Patient,
    /// `Medication`: only for the name of what is prescribed.
    Medication,
    /// `MedicationRequest`.
    MedicationRequest,
    /// `Appointment`.
    Appointment,
}

impl Kind {
    /// The FHIR resource type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Practitioner => "Practitioner",
            Self::PractitionerRole => "PractitionerRole",
            Self::Patient => "Patient",
            Self::Medication => "Medication",
            Self::MedicationRequest => "MedicationRequest",
            Self::Appointment => "Appointment",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Organization" => Self::Organization,
            "Practitioner" => Self::Practitioner,
            "PractitionerRole" => Self::PractitionerRole,
            "Patient" => Self::Patient,
            "Medication" => Self::Medication,
            "MedicationRequest" => Self::MedicationRequest,
            "Appointment" => Self::Appointment,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of a resource in its source system: 1 to 64 of `A-Z a-z 0-9 - .`, unique per type there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(String);

impl ResourceId {
    /// The id as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no FHIR id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a FHIR id has 1 to 64 letters, digits, hyphens and dots")]
pub struct InvalidId;

impl FromStr for ResourceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId)
        }
    }
}

impl TryFrom<String> for ResourceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A business identifier, such as a record number. Personal data: `Debug` masks the value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// The namespace of the value, a URI.
    pub system: Option<String>,
    /// The value, unique within the system.
    pub value: String,
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identifier").field("system", &self.system).finish_non_exhaustive()
    }
}

/// How a record points to another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// By its id in the source system.
    Id(ResourceId),
    /// By a business identifier; the target is not in the file, so it is to be looked up among stored identifiers.
    Identifier(Identifier),
}

/// The system part of an [`IdentifierFilter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemFilter {
    /// Whatever the system (`value`).
    Any,
    /// Only identifiers without a system (`|value`).
    None,
    /// Exactly this system (`system|value`).
    Is(String),
}

/// The FHIR token search `identifier=system|value`.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentifierFilter {
    /// Which systems match.
    pub system: SystemFilter,
    /// Which value matches; any when absent (`system|`).
    pub value: Option<String>,
}

impl fmt::Debug for IdentifierFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentifierFilter").field("system", &self.system).finish_non_exhaustive()
    }
}

/// An identifier filter that names nothing, or more than one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an identifier as system|value, |value, value or system|, with \\ before a | or , inside")]
pub struct InvalidFilter;

impl FromStr for IdentifierFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(escaped @ ('\\' | '|' | ',' | '$')) => push(&mut parts, escaped),
                    _ => return Err(InvalidFilter),
                },
                '|' => parts.push(String::new()),
                ',' => return Err(InvalidFilter),
                c if c.is_control() => return Err(InvalidFilter),
                c => push(&mut parts, c),
            }
        }
        let filled = |part: &String| !part.is_empty();
        match parts.as_slice() {
            [value] if filled(value) => Ok(Self { system: SystemFilter::Any, value: Some(value.clone()) }),
            [system, value] if filled(system) || filled(value) => Ok(Self {
                system: if system.is_empty() { SystemFilter::None } else { SystemFilter::Is(system.clone()) },
                value: Some(value.clone()).filter(filled),
            }),
            _ => Err(InvalidFilter),
        }
    }
}

fn push(parts: &mut [String], c: char) {
    if let Some(last) = parts.last_mut() {
        last.push(c);
    }
}

impl IdentifierFilter {
    /// Whether an identifier is what the filter asks for.
    #[must_use]
    pub fn matches(&self, identifier: &Identifier) -> bool {
        let system = match &self.system {
            SystemFilter::Any => true,
            SystemFilter::None => identifier.system.is_none(),
            SystemFilter::Is(system) => identifier.system.as_ref() == Some(system),
        };
        system && self.value.as_ref().is_none_or(|value| *value == identifier.value)
    }
}
