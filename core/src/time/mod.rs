//! Zones, local times, cron expressions and what becomes of slots that were missed.
//!
//! Everything here is pure: no clock is read, the present comes in as an argument.

mod choice;
pub mod cron;
pub mod local;
pub mod misfire;
pub mod zone;

pub use cron::{CronError, CronExpr};
pub use local::{FoldRule, GapRule, LocalMoment, resolve};
pub use misfire::{Misfire, MisfirePolicy, MissReason, OverlapPolicy};
pub use zone::{Zone, ZoneError, tzdb_version};

/// The longest part of somebody's input that an error repeats, in characters.
const QUOTE_LIMIT: usize = 60;

/// Input as an error may show it: quoted, control characters escaped, cut to a bounded length.
pub(crate) fn quoted(given: &str) -> String {
    let mut shown: String = given.chars().take(QUOTE_LIMIT).flat_map(char::escape_debug).collect();
    if given.chars().nth(QUOTE_LIMIT).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
