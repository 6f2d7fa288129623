//! What comes out of a file.

use super::appointment::AppointmentRecord;
use super::people::{OrganizationRecord, PatientRecord, PractitionerRecord};
use super::prescription::PrescriptionRecord;
use super::problem::Problem;
use super::reference::{Identifier, Kind, ResourceId};

/// One understood resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it stands in the file: `line 17`, `entry[3]`.
    pub place: String,
    /// What it says.
    pub record: Record,
    /// Parts of it that were left out.
    pub notes: Vec<Problem>,
}

/// A resource as PulseCal takes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An `Organization`.
    Organization(OrganizationRecord),
    /// A `Practitioner`.
    Practitioner(PractitionerRecord),
    /// A `Patient`.
    Patient(PatientRecord),
    /// A `MedicationRequest`.
    Prescription(Box<PrescriptionRecord>),
    /// An `Appointment`.
    Appointment(AppointmentRecord),
}

impl Record {
    /// The resource type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Organization(_) => Kind::Organization,
            Self::Practitioner(_) => Kind::Practitioner,
            Self::Patient(_) => Kind::Patient,
            Self::Prescription(_) => Kind::MedicationRequest,
            Self::Appointment(_) => Kind::Appointment,
        }
    }

    /// Its id in the source system.
    #[must_use]
    pub fn source_id(&self) -> &ResourceId {
        match self {
            Self::Organization(record) => &record.source_id,
            Self::Practitioner(record) => &record.source_id,
            Self::Patient(record) => &record.source_id,
            Self::Prescription(record) => &record.source_id,
            Self::Appointment(record) => &record.source_id,
        }
    }

    /// Its business identifiers.
    #[must_use]
    pub fn identifiers(&self) -> &[Identifier] {
        match self {
            Self::Organization(record) => &record.identifiers,
            Self::Practitioner(record) => &record.identifiers,
            Self::Patient(record) => &record.identifiers,
            Self::Prescription(record) => &record.identifiers,
            Self::Appointment(record) => &record.identifiers,
        }
    }
}
