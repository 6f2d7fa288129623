//! The columns that an export of appointments may have: a closed list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number.
    Number,
    /// An id.
    Id,
    /// An instant, shown in the zone of the export.
    Instant,
    /// A day.
    Date,
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident, $width:literal;)+) => {
        /// A column of the appointments report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Column {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Column {
            /// Every column, in the order in which a file has them when nothing else is asked for.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name, in requests and in the heads of files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it holds.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            /// How wide it is in a table, in characters.
            pub const fn width(self) -> u16 {
                match self { $(Self::$name => $width,)+ }
            }
        }
    };
}

columns! {
    /// When the visit begins.
    StartsAt = "starts_at", Instant, 25;
    /// When it ends.
    EndsAt = "ends_at", Instant, 25;
    /// How long it is.
    Minutes = "minutes", Number, 9;
    /// Its status, as FHIR names it.
    Status = "status", Text, 12;
    /// The kind of visit.
    Kind = "kind", Text, 11;
    /// In person or virtual.
    Mode = "mode", Text, 10;
    /// Where.
    Place = "place", Text, 24;
    /// The patient's name.
    PatientName = "patient_name", Text, 24;
    /// The patient's day of birth.
    PatientBirthDate = "patient_birth_date", Date, 18;
    /// The doctor's name.
    DoctorName = "doctor_name", Text, 24;
    /// The visit.
    AppointmentId = "appointment_id", Id, 37;
    /// The patient.
    PatientId = "patient_id", Id, 37;
    /// The doctor.
    DoctorId = "doctor_id", Id, 37;
    /// When the patient confirmed it.
    ConfirmedAt = "confirmed_at", Instant, 25;
    /// When it was cancelled.
    CancelledAt = "cancelled_at", Instant, 25;
    /// Why it was cancelled.
    CancelReason = "cancel_reason", Text, 14;
    /// When it was booked.
    CreatedAt = "created_at", Instant, 25;
    /// When it was changed last.
    UpdatedAt = "updated_at", Instant, 25;
    /// How often it was changed, and one.
    Version = "version", Number, 8;
}

impl Column {
    /// The columns of an export when none are asked for.
    pub const USUAL: [Self; 8] = [
        Self::StartsAt,
        Self::EndsAt,
        Self::Status,
        Self::Kind,
        Self::Mode,
        Self::Place,
        Self::PatientName,
        Self::DoctorName,
    ];
}

/// There is no column of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no column {given:?}; the columns are {}", Column::ALL.iter().map(|column| column.as_str()).collect::<Vec<_>>().join(", "))]
pub struct UnknownColumn {
    given: String,
}

impl FromStr for Column {
    type Err = UnknownColumn;

    fn from_str(name: &str) -> Result<Self, UnknownColumn> {
        let found = Self::ALL.iter().copied().find(|column| column.as_str() == name);
        found.ok_or_else(|| UnknownColumn { given: name.chars().take(40).collect() })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
