//! What an export is to hold, as the contract names it: in requests and in answers.

use pulsecal_core::exports::{Column, Format, States};
use serde_json::Value;
use utoipa::openapi::Object;
use utoipa::openapi::schema::Array;

use crate::contract::{Body, kinds};

/// The kind of file.
pub(crate) fn format() -> Object {
    kinds::one_of(&Format::ALL.map(Format::as_str))
}

/// The columns, each once.
pub(crate) fn columns() -> Array {
    let names: Vec<&str> = Column::ALL.iter().map(|column| column.as_str()).collect();
    kinds::list(kinds::one_of(&names), 1..=Column::ALL.len()).unique_items(true).build()
}

/// Which rows.
pub(crate) fn filters() -> Object {
    let status = kinds::list(kinds::one_of(&States::ALL), 0..=MOST_STATUSES).build();
    let filters = Body::new("", Value::Null)
        .optional("from", kinds::instant(), "Visits that begin at this instant or later.")
        .optional("to", kinds::instant(), "Visits that begin before this instant.")
        .optional("doctor", kinds::id(), "Of this doctor.")
        .optional("patient", kinds::id(), "Of this patient.")
        .optional("status", status, "With one of these statuses; none: with any.");
    filters.object()
}

/// The most statuses that a filter may name, which is more than there are.
pub(crate) const MOST_STATUSES: usize = 100;

/// How a CSV file is written.
pub(crate) fn csv() -> Object {
    let csv = Body::new("", Value::Null)
        .optional("bom", kinds::flag(), "Begins with a byte order mark, by which Excel knows UTF-8.")
        .optional("delimiter", kinds::one_of(&["comma", "semicolon", "tab"]), "What stands between cells.")
        .optional("guard", kinds::flag(), "Takes from cells that a spreadsheet would run as a formula their power.");
    csv.object()
}
