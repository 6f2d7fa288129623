//! Every kind of work, one file each, and the one list of them.

mod appointment_mail;
mod audit_check;
mod audit_rollup;
mod keep_history;
mod materialise_doses;
mod medication_reminder;
mod trial;

pub use appointment_mail::AppointmentMail;
pub use audit_check::AuditCheck;
pub use audit_rollup::AuditRollup;
pub use keep_history::KeepHistory;
pub use materialise_doses::MaterialiseDoses;
pub use medication_reminder::MedicationReminder;
pub use trial::{Does, Trial};

use pulsecal_core::ledger::Registry;

/// Every kind of work. A new kind is its file and its line here.
pub fn registry() -> Registry {
    Registry::default()
        .with::<AppointmentMail>()
        .with::<MedicationReminder>()
        .with::<MaterialiseDoses>()
        .with::<KeepHistory>()
        .with::<AuditRollup>()
        .with::<AuditCheck>()
        .with::<Trial>()
}
