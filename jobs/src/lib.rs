//! Every kind of work, one file each, and the one list of them.

mod account_mail;
mod alarm_mail;
mod appointment_mail;
mod audit_check;
mod audit_rollup;
mod backup_database;
mod drill_backup;
mod export_ready;
mod export_report;
mod forget_answers;
mod glass_alarm;
mod invite_person;
mod join_decision;
mod keep_history;
mod materialise_doses;
mod medication_reminder;
mod payment_mail;
mod sweep_exports;
mod sweep_no_shows;
mod tidy_exports;
mod trial;

pub use account_mail::AccountMail;
pub use alarm_mail::AlarmMail;
pub use appointment_mail::AppointmentMail;
pub use audit_check::AuditCheck;
pub use audit_rollup::AuditRollup;
pub use backup_database::BackupDatabase;
pub use drill_backup::DrillBackup;
pub use export_ready::ExportReadyMail;
pub use export_report::ExportReport;
pub use forget_answers::ForgetAnswers;
pub use glass_alarm::GlassAlarmed;
pub use invite_person::InvitePerson;
pub use join_decision::JoinDecision;
pub use keep_history::KeepHistory;
pub use materialise_doses::MaterialiseDoses;
pub use medication_reminder::MedicationReminder;
pub use payment_mail::PaymentMail;
pub use sweep_exports::SweepExports;
pub use sweep_no_shows::SweepNoShows;
pub use tidy_exports::TidyExports;
pub use trial::{Does, Trial};

use pulsecal_core::ledger::Registry;

/// Every kind of work. A new kind is its file and its line here.
pub fn registry() -> Registry {
    Registry::default()
        .with::<AccountMail>()
        .with::<AlarmMail>()
        .with::<InvitePerson>()
        .with::<GlassAlarmed>()
        .with::<AppointmentMail>()
        .with::<JoinDecision>()
        .with::<PaymentMail>()
        .with::<MedicationReminder>()
        .with::<MaterialiseDoses>()
        .with::<ExportReport>()
        .with::<ExportReadyMail>()
        .with::<SweepExports>()
        .with::<SweepNoShows>()
        .with::<TidyExports>()
        .with::<KeepHistory>()
        .with::<ForgetAnswers>()
        .with::<AuditRollup>()
        .with::<AuditCheck>()
        .with::<BackupDatabase>()
        .with::<DrillBackup>()
        .with::<Trial>()
}
