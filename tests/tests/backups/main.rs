//! Backups of the database: made, kept, proven and restored by the real programs; and whatever happens to one is found.

mod corruptions;
mod kills;
mod refusals;
mod s3;
mod support;
