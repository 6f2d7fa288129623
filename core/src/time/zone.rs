//! Time zones by their IANA name.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// The release of the IANA time zone database that is built in, such as `2025b`.
///
/// Plans made under one release are to be recomputed under the next: compare it with the release a plan was made under.
pub const fn tzdb_version() -> &'static str {
    chrono_tz::IANA_TZDB_VERSION
}

/// A time zone of the IANA database, written by its name (`Europe/Berlin`).
///
/// Old names that are links (`US/Eastern`) are zones like any other and keep the name they were given by. Names are
/// case-sensitive, as in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Zone(Tz);

/// A name that is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {given}: give an IANA name such as \"Europe/Berlin\" or \"America/New_York\"")]
pub struct ZoneError {
    given: String,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The length of the longest name.
    pub fn longest_name() -> usize {
        chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name().len()).max().unwrap_or_default()
    }

    /// The IANA name, as it was given.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The zone as chrono-tz knows it.
    pub const fn tz(self) -> Tz {
        self.0
    }

    /// Seconds that local time is ahead of UTC at an instant (negative west of Greenwich).
    pub fn offset_at(self, instant: DateTime<Utc>) -> i32 {
        self.0.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
    }

    /// What clocks in the zone show at an instant.
    pub fn local(self, instant: DateTime<Utc>) -> NaiveDateTime {
        let utc = instant.naive_utc();
        let offset = self.0.offset_from_utc_datetime(&utc).fix();
        // Only within a day of the ends of chrono's 262,000 years is there no such local time.
        utc.checked_add_offset(offset).unwrap_or(utc)
    }
}

impl From<Tz> for Zone {
    fn from(tz: Tz) -> Self {
        Self(tz)
    }
}

impl From<Zone> for &'static str {
    fn from(zone: Zone) -> Self {
        zone.name()
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        name.parse()
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        name.parse().map(Self).map_err(|_| ZoneError { given: super::quoted(name) })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
