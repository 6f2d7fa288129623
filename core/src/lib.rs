//! What every PulseCal process shares: configuration, clock, ledger, belt, store (all SQL), doses, mail.

pub mod audit;
pub mod backup;
pub mod belt;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod context;
pub mod doses;
pub mod exports;
pub mod fhir;
pub mod ids;
pub mod imports;
pub mod ledger;
pub mod limits;
pub mod links;
pub mod mail;
pub mod operate;
pub mod process;
pub mod sealing;
pub mod send;
pub mod sessions;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod tokens;
pub mod visits;
