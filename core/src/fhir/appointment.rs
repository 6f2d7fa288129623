//! Appointments.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::moment::instant;
use super::node::Node;
use super::people::masked;
use super::problem::{Effect, Problem, quote};
use super::reference::{Identifier, Kind, Link, ResourceId};

/// `Appointment.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentStatus {
    /// Offered, nobody has agreed yet.
    Proposed,
    /// Some have not agreed yet.
    Pending,
    /// Agreed.
    Booked,
    /// The patient is there.
    Arrived,
    /// It took place.
    Fulfilled,
    /// Called off.
    Cancelled,
    /// The patient did not come.
    #[serde(rename = "noshow")]
    NoShow,
    /// Never meant.
    EnteredInError,
    /// The patient has reported at the desk.
    CheckedIn,
    /// Waiting for a free time.
    Waitlist,
}

impl AppointmentStatus {
    /// The FHIR code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Pending => "pending",
            Self::Booked => "booked",
            Self::Arrived => "arrived",
            Self::Fulfilled => "fulfilled",
            Self::Cancelled => "cancelled",
            Self::NoShow => "noshow",
            Self::EnteredInError => "entered-in-error",
            Self::CheckedIn => "checked-in",
            Self::Waitlist => "waitlist",
        }
    }

    fn parse(code: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let code: StrDeserializer<'_, Error> = code.into_deserializer();
        Self::deserialize(code).ok()
    }
}

/// What PulseCal takes of an `Appointment`.
#[derive(Clone, PartialEq, Eq)]
pub struct AppointmentRecord {
    /// Its id in the source system.
    pub source_id: ResourceId,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
    /// How far it is.
    pub status: AppointmentStatus,
    /// When it begins.
    pub start: DateTime<Utc>,
    /// When it ends, after `start`.
    pub end: DateTime<Utc>,
    /// Whose it is.
    pub patient: Link,
    /// With whom; the first, when there are several.
    pub practitioner: Option<Link>,
    /// Name of `appointmentType`.
    pub kind: Option<String>,
    /// `description`, one line.
    pub description: Option<String>,
}

masked!(AppointmentRecord);

impl AppointmentRecord {
    pub(super) fn from_node(
        id: ResourceId,
        root: &Node<'_>,
        index: &Index,
        notes: &mut Vec<Problem>,
    ) -> Result<Self, Problem> {
        for field in ["subject", "cancellationDate", "virtualService"] {
            if root.has(field) {
                return Err(root.problem_at(field, "is of FHIR R5; only R4 is read"));
            }
        }
        let status = root.str("status")?.ok_or_else(|| root.problem_at("status", "is missing"))?;
        let status = AppointmentStatus::parse(status)
            .ok_or_else(|| root.problem_at("status", format!("{} is no status of an appointment", quote(status))))?;
        let (start, end) = times(root)?;
        let (patient, practitioner) = participants(root, index, notes)?;
        let kind = match root.object("appointmentType")? {
            None => None,
            Some(concept) => concept.concept_name()?,
        };
        Ok(Self {
            source_id: id,
            identifiers: root.identifiers()?,
            status,
            start,
            end,
            patient,
            practitioner,
            kind,
            description: root.prose("description", 500)?,
        })
    }
}

fn times(root: &Node<'_>) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
    let start = instant(root, "start")?.ok_or_else(|| root.problem_at("start", "is missing"))?;
    let end = match (instant(root, "end")?, root.positive("minutesDuration")?) {
        (Some(end), _) => Some(end),
        (None, Some(minutes)) => start.checked_add_signed(TimeDelta::minutes(minutes.into())),
        (None, None) => return Err(root.problem_at("end", "is missing, and so is minutesDuration")),
    };
    match end {
        Some(end) if end > start => Ok((start, end)),
        _ => Err(root.problem_at("end", "is not after start")),
    }
}

fn participants(root: &Node<'_>, index: &Index, notes: &mut Vec<Problem>) -> Result<(Link, Option<Link>), Problem> {
    let mut patient = None;
    let mut practitioner = None;
    let mut failed = None;
    for participant in root.list("participant")? {
        participant.refuse_modifiers()?;
        let Some(actor) = participant.object("actor")? else {
            continue;
        };
        // Rooms, devices and relatives take part too; reminders do not need them.
        let other = ["Location", "Device", "HealthcareService", "RelatedPerson"];
        let reference = actor.str("reference")?.unwrap_or_default();
        let stated = actor.str("type")?.unwrap_or_default();
        if participant.str("status")? == Some("declined") && !reference.contains("Patient/") {
            continue;
        }
        if other.iter().any(|kind| stated == *kind || reference.split(['/', '?']).any(|part| part == *kind)) {
            continue;
        }
        match index.follow(&actor, &[Kind::Patient, Kind::Practitioner]) {
            Ok((Kind::Patient, link)) => {
                if patient.as_ref().is_some_and(|other| *other != link) {
                    return Err(participant.problem("is a second patient; one appointment reminds one patient"));
                }
                patient = Some(link);
            }
            Ok((_, link)) if practitioner.is_none() => practitioner = Some(link),
            Ok((_, link)) if practitioner.as_ref() == Some(&link) => {}
            Ok(_) => {
                notes.push(participant.problem("is a further practitioner and left out").with_effect(Effect::Partial))
            }
            Err(problem) => {
                failed.get_or_insert_with(|| problem.clone());
                notes.push(problem.with_effect(Effect::Partial));
            }
        }
    }
    let nobody = || failed.unwrap_or_else(|| root.problem_at("participant", "names no patient"));
    let patient = patient.ok_or_else(nobody)?;
    Ok((patient, practitioner))
}
