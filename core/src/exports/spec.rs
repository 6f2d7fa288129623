//! What somebody asked for.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Column;
use crate::ids::PersonId;
use crate::time::Zone;

/// What an export is to hold. Stored with it; ids, words and times only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The kind of file.
    pub format: Format,
    /// Which columns, in which order; at least one, each once.
    pub columns: Vec<Column>,
    /// Which rows.
    pub filters: Filters,
    /// The zone in which instants are shown.
    pub zone: Zone,
    /// How a CSV file is written.
    #[serde(default)]
    pub csv: CsvOptions,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// Office Open XML spreadsheet.
    Xlsx,
    /// Portable document.
    Pdf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Xlsx, Self::Pdf];

    /// Its name, which is the ending of its files too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Pdf => "pdf",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Pdf => "application/pdf",
        }
    }
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is no such format.
    #[error("must be csv, xlsx or pdf")]
    Format,
    /// There is no such delimiter.
    #[error("must be comma, semicolon or tab")]
    Delimiter,
}

impl FromStr for Format {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or(SpecError::Format)
    }
}

/// Which rows. What is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    /// Visits that begin at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Visits that begin before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Of this doctor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doctor: Option<PersonId>,
    /// Of this patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<PersonId>,
    /// With one of these statuses; empty: with any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
}

/// The statuses that can be asked for: those of FHIR R4.
#[derive(Debug)]
pub struct States;

impl States {
    /// Every status.
    pub const ALL: [&'static str; 10] = crate::visits::STATUSES;
}

/// How a CSV file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    /// Begins with a byte order mark, by which Excel knows UTF-8.
    #[serde(default)]
    pub bom: bool,
    /// What stands between cells.
    #[serde(default)]
    pub delimiter: Delimiter,
    /// Takes from cells that a spreadsheet would run as a formula their power, by a `'` in front.
    #[serde(default = "yes")]
    pub guard: bool,
}

fn yes() -> bool {
    true
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { bom: false, delimiter: Delimiter::Comma, guard: true }
    }
}

/// What stands between cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `;`, which Excel expects where the comma is the decimal mark.
    Semicolon,
    /// A tab.
    Tab,
}

impl Delimiter {
    /// The character.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

impl FromStr for Delimiter {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        match name {
            "comma" => Ok(Self::Comma),
            "semicolon" => Ok(Self::Semicolon),
            "tab" => Ok(Self::Tab),
            _ => Err(SpecError::Delimiter),
        }
    }
}
