//! What an organization decides for itself: when it is open, and the rules of its visits.
//!
//! Whatever decides about a visit reads them in its own transaction, so a change holds for the next request.

mod hours;
mod rules;

pub use hours::{DayMinute, Holiday, Hours, OpeningHours, Span, WEEKDAYS};
pub use rules::{BOUNDS, Bound, VisitRules};

/// The kinds of organizations.
pub const KINDS: [&str; 3] = ["clinic", "hospital", "solo_practice"];
/// No day has more spans in which it is open.
pub const MOST_SPANS: usize = 6;
/// No organization has more holidays on record.
pub const MOST_HOLIDAYS: usize = 200;

/// What holds for visits of one organization.
#[derive(Clone, Debug)]
pub struct ClinicRules {
    /// How long before, how far ahead, how often.
    pub visits: VisitRules,
    /// When it is open.
    pub hours: Hours,
    /// Where its online visits take place: an https address with `{room}` in it.
    pub meeting_url_template: Option<String>,
}
