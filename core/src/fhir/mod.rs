//! Reads FHIR R4 as other systems write it: a `Bundle`, several Bundles one after another, or NDJSON as
//! Bulk Data exports it. Pure: no database, no clock.
//!
//! [`read`] yields what PulseCal understands as typed records and everything else as a [`Problem`], one per
//! resource or part of it, and goes on with the rest.
//!
//! # Memory
//!
//! A file may be of any size. At any time the reader holds one resource ([`Limits::resource_bytes`], of at most
//! [`Limits::json_values`] JSON values) and an index of what references may point to ([`Limits::indexed`]).
//! A longer line or entry is passed over without being held, and reported.
//!
//! # One file, one source system
//!
//! Resource ids are unique within one server only. Entries and absolute references of a second server in the same
//! file are reported, never mixed with the first.
//!
//! # Times that FHIR leaves to the receiver
//!
//! "Twice a day" or "at bedtime" have no clock times in FHIR. [`dosage::defaults`] lists the ones PulseCal takes.
mod appointment;
pub mod dosage;
mod index;
mod moment;
mod name;
mod node;
mod people;
mod prescription;
mod probe;
mod problem;
mod reader;
mod record;
mod reference;
mod scan;
mod split;

pub use appointment::{AppointmentRecord, AppointmentStatus};
pub use dosage::DosePlan;
pub use people::{OrganizationRecord, PatientRecord, PractitionerRecord};
pub use prescription::{PrescriptionRecord, PrescriptionStatus};
pub use problem::{Effect, Problem};
pub use reader::Reader;
pub use record::{Entry, Record};
pub use reference::{Identifier, IdentifierFilter, InvalidFilter, InvalidId, Kind, Link, ResourceId, SystemFilter};

use std::io::{BufRead, Seek};

/// How much of a file is held in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest resource (an NDJSON line, a Bundle entry), in bytes. Longer ones are passed over.
    pub resource_bytes: usize,
    /// Most JSON values in one resource: a small text can be a large tree.
    pub json_values: usize,
    /// Most resources that references may point to, each some 200 bytes in memory.
    pub indexed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { resource_bytes: 8 * 1024 * 1024, json_values: 100_000, indexed: 500_000 }
    }
}

/// Reads a file of FHIR R4 resources, from its start.
///
/// The file is read several times, so that records come out in the order a store needs (organizations, then
/// people, then prescriptions and appointments) without holding them, and references resolve whatever the order
/// of the file. Blocking, as its reader is.
pub fn read<R: BufRead + Seek>(reader: R, limits: Limits) -> Reader<R> {
    Reader::new(reader, limits)
}
