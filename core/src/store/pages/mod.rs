//! What the pages of staff and patients show: lines that say names, joined from several tables in one statement each.

pub mod medicines;
pub mod patients;
pub mod visits;
