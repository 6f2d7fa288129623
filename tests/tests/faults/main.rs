//! The main job under faults, with the real programs: what the SMTP server saw is compared with what the ledger says.

mod clinic;
mod one_dose;
mod privacy;
mod reconcile;
mod storm;
mod suspects;
mod timing;
