//! Backups of the database: made, kept, proven and restored by the real programs; and whatever happens to one is found.

mod alarm;
mod corruptions;
mod faults;
mod keeping;
mod kills;
mod refusals;
mod s3;
mod schedules;
mod support;
