//! Medication orders.

use std::fmt;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::dosage::{self, DosePlan};
use super::index::Index;
use super::moment::{Stated, moment};
use super::node::Node;
use super::people::masked;
use super::problem::{Effect, Problem, quote};
use super::reference::{Identifier, Kind, Link, ResourceId};
use crate::doses::timing::Timing;

/// `MedicationRequest.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrescriptionStatus {
    /// To be taken.
    Active,
    /// Paused.
    OnHold,
    /// Called off before anything was taken.
    Cancelled,
    /// All was taken.
    Completed,
    /// Never meant.
    EnteredInError,
    /// Ended early.
    Stopped,
    /// Not yet in force.
    Draft,
    /// The source does not know.
    Unknown,
}

impl PrescriptionStatus {
    /// The FHIR code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::OnHold => "on-hold",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::EnteredInError => "entered-in-error",
            Self::Stopped => "stopped",
            Self::Draft => "draft",
            Self::Unknown => "unknown",
        }
    }

    /// Whether doses are due at all.
    #[must_use]
    pub fn takes_doses(self) -> bool {
        self == Self::Active
    }

    fn parse(code: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let code: StrDeserializer<'_, Error> = code.into_deserializer();
        Self::deserialize(code).ok()
    }
}

/// What PulseCal takes of a `MedicationRequest`.
#[derive(Clone, PartialEq)]
pub struct PrescriptionRecord {
    /// Its id in the source system.
    pub source_id: ResourceId,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
    /// Who takes it.
    pub patient: Link,
    /// The practitioner who ordered it.
    pub prescriber: Option<Link>,
    /// How far it is.
    pub status: PrescriptionStatus,
    /// Name of the medicine, one line, at most 200 characters.
    pub medicine: String,
    /// How to take it, one line, at most 2000 characters; may be empty.
    pub dosage_text: String,
    /// Only as needed: no reminders.
    pub as_needed: bool,
    /// The day it was written; in UTC, where a time is stated.
    pub authored_on: Option<NaiveDate>,
    /// Refills after the first supply.
    pub refills: Option<u16>,
    /// When to take it, or why that was not understood.
    pub plan: Result<DosePlan, Problem>,
}

masked!(PrescriptionRecord);

const DOSAGE_CHARS: usize = 2000;

impl PrescriptionRecord {
    /// The timing for a patient in `zone`.
    ///
    /// # Errors
    /// Why there is no dose plan; the prescription is kept without one.
    pub fn timing(&self, zone: Tz) -> Result<Timing, Problem> {
        self.plan.as_ref().map_err(Clone::clone)?.timing(zone)
    }

    pub(super) fn from_node(
        id: ResourceId,
        root: &Node<'_>,
        index: &Index,
        notes: &mut Vec<Problem>,
    ) -> Result<Self, Problem> {
        refuse_other_releases(root)?;
        refuse_no_orders(root)?;
        let status = root.str("status")?.ok_or_else(|| root.problem_at("status", "is missing"))?;
        let status = PrescriptionStatus::parse(status)
            .ok_or_else(|| root.problem_at("status", format!("{} is no status of an order", quote(status))))?;
        let subject = root.object("subject")?.ok_or_else(|| root.problem_at("subject", "is missing"))?;
        let (_, patient) = index.follow(&subject, &[Kind::Patient])?;
        let authored = match moment(root, "authoredOn")? {
            Some(Stated::Moment(moment)) => Some(moment),
            Some(Stated::Coarse) | None => None,
        };
        let dosage = dosage::read(root, authored)?;
        Ok(Self {
            source_id: id,
            identifiers: root.identifiers()?,
            patient,
            prescriber: prescriber(root, index, notes)?,
            status,
            medicine: medicine(root, index)?,
            dosage_text: dosage_text(root)?,
            as_needed: dosage.as_needed,
            authored_on: authored.map(|written| written.day(Tz::UTC)),
            refills: refills(root)?,
            plan: dosage.plan,
        })
    }
}

/// Shapes of the releases before and after R4.
fn refuse_other_releases(root: &Node<'_>) -> Result<(), Problem> {
    let fields = [
        ("medication", "R5"),
        ("renderedDosageInstruction", "R5"),
        ("effectiveDosePeriod", "R5"),
        ("context", "STU3"),
        ("definition", "STU3"),
    ];
    for (field, release) in fields {
        if root.has(field) {
            return Err(root.problem_at(field, format!("is of FHIR {release}; only R4 is read")));
        }
    }
    if root.object("requester")?.is_some_and(|requester| requester.has("agent")) {
        return Err(root.problem_at("requester.agent", "is of FHIR STU3; only R4 is read"));
    }
    Ok(())
}

/// Requests that tell nobody to take anything.
fn refuse_no_orders(root: &Node<'_>) -> Result<(), Problem> {
    if root.bool("doNotPerform")? == Some(true) {
        return Err(root.problem_at("doNotPerform", "the medicine is not to be taken"));
    }
    match root.str("intent")? {
        None => Err(root.problem_at("intent", "is missing")),
        Some("order" | "original-order" | "reflex-order" | "filler-order" | "instance-order") => Ok(()),
        Some(code @ ("proposal" | "plan" | "option")) => {
            Err(root.problem_at("intent", format!("is only a {code}, not an order")))
        }
        Some(code) => Err(root.problem_at("intent", format!("{} is no intent of an order", quote(code)))),
    }
}

fn prescriber(root: &Node<'_>, index: &Index, notes: &mut Vec<Problem>) -> Result<Option<Link>, Problem> {
    let Some(requester) = root.object("requester")? else {
        return Ok(None);
    };
    match index.follow(&requester, &[Kind::Practitioner]) {
        Ok((_, link)) => Ok(Some(link)),
        Err(problem) => {
            notes.push(problem.with_effect(Effect::Partial));
            Ok(None)
        }
    }
}

fn medicine(root: &Node<'_>, index: &Index) -> Result<String, Problem> {
    root.one_of(&["medicationCodeableConcept", "medicationReference"])?;
    if let Some(concept) = root.object("medicationCodeableConcept")? {
        return concept.concept_name()?.ok_or_else(|| concept.problem("has no name that people can read"));
    }
    let Some(reference) = root.object("medicationReference")? else {
        return Err(root.problem_at("medicationCodeableConcept", "is missing, and so is medicationReference"));
    };
    let contained_id = reference.str("reference")?.and_then(|text| text.strip_prefix('#'));
    let Some(contained_id) = contained_id else {
        return index.medication(&reference);
    };
    for contained in root.list("contained")? {
        if contained.str("id")? == Some(contained_id) && contained.str("resourceType")? == Some("Medication") {
            contained.refuse_modifiers()?;
            let name = match contained.object("code")? {
                None => None,
                Some(code) => code.concept_name()?,
            };
            return name.ok_or_else(|| contained.problem_at("code", "has no name that people can read"));
        }
    }
    Err(reference.problem_at("reference", "refers to a contained Medication that is not there"))
}

fn dosage_text(root: &Node<'_>) -> Result<String, Problem> {
    let mut parts = Vec::new();
    for instruction in root.list("dosageInstruction")? {
        let text = match instruction.prose("text", DOSAGE_CHARS)? {
            Some(text) => Some(text),
            None => instruction.prose("patientInstruction", DOSAGE_CHARS)?,
        };
        let text = match text {
            Some(text) => Some(text),
            None => dose(&instruction)?,
        };
        if let Some(text) = text.filter(|text| !parts.contains(text)) {
            parts.push(text);
        }
    }
    Ok(parts.join("; ").chars().take(DOSAGE_CHARS).collect())
}

/// "2 tablet", where there is no text.
fn dose(instruction: &Node<'_>) -> Result<Option<String>, Problem> {
    for dose in instruction.list("doseAndRate")? {
        if let Some(quantity) = dose.object("doseQuantity")? {
            let unit = quantity.prose("unit", 50)?.unwrap_or_default();
            if let Some(value) = quantity.decimal("value")? {
                return Ok(Some(format!("{value} {unit}").trim_end().to_owned()));
            }
        }
    }
    Ok(None)
}

fn refills(root: &Node<'_>) -> Result<Option<u16>, Problem> {
    let Some(dispense) = root.object("dispenseRequest")? else {
        return Ok(None);
    };
    let refills = dispense.unsigned("numberOfRepeatsAllowed")?;
    Ok(refills.map(|number| u16::try_from(number).unwrap_or(u16::MAX)))
}
