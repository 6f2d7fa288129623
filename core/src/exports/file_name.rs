//! What a downloaded file is called.

use chrono::{DateTime, Utc};

use super::Format;
use crate::ids::ExportId;

/// A name that tells what sort of file it is and of which moment, and nothing of whose.
pub fn file_name(format: Format, as_of: DateTime<Utc>, export: ExportId) -> String {
    let mark: String = export.0.simple().to_string().chars().rev().take(6).collect();
    format!("appointments-{}-{mark}.{}", as_of.format("%Y%m%dT%H%MZ"), format.as_str())
}
