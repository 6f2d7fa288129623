//! Cron expressions, evaluated on the local clock.
//!
//! The `cron` crate knows which local times match; it is asked as if local time were UTC, because walking it through a
//! zone loses slots in spring and runs backwards in autumn. The mapping to instants is [`super::local`]'s.

mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use cron::Schedule;
use serde::{Deserialize, Serialize};

pub use parse::CronError;

use super::local::{FoldRule, GapRule, LocalMoment};
use super::zone::Zone;

/// When a schedule fires, on the local clock: a cron expression.
///
/// Six fields, or seven: seconds, minutes, hours, days of month, months, days of week, years (1970 to 2100). Days of
/// week are best given by name; as numbers they run from 1 = Sunday to 7 = Saturday. Where both kinds of days are
/// given, a day must match both. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are known.
///
/// The five fields of Unix cron are taken too, seconds 0, and mean what they mean there: days of week run from
/// 0 = Sunday to 6 (7 is Sunday again). There a day that matches either kind of days would do, which cannot be said
/// here, so five fields with both kinds given are refused.
///
/// It is written (and compared) as it was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CronExpr {
    source: String,
    schedule: Schedule,
}

impl CronExpr {
    /// The expression as it was given.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The instants at which it fires, after `after` up to and including `until`, at most `limit` of them.
    ///
    /// They are strictly increasing. A local time in the gap of spring fires after it, and once if another slot fires
    /// at that instant already. With [`FoldRule::First`] a schedule that fires every hour fires 24 times on the
    /// 25-hour day of autumn and pauses for the repeated hour; [`FoldRule::Both`] gives it 25, which is what a
    /// schedule within the hour wants (as does the zone UTC).
    pub fn slots(
        &self,
        zone: Zone,
        gap: GapRule,
        fold: FoldRule,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Vec<DateTime<Utc>> {
        Firings::new(self, zone, gap, fold, after).take_while(|slot| *slot <= until).take(limit).collect()
    }

    /// The first instant after `after` at which it fires; `None` when it never fires again.
    pub fn next(&self, zone: Zone, gap: GapRule, fold: FoldRule, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Firings::new(self, zone, gap, fold, after).next()
    }
}

/// No gap or fold is wider than a day: Samoa leapt over one.
const WIDEST_CHANGE: TimeDelta = TimeDelta::hours(25);

/// Nearly all of them are narrower than this.
const USUAL_CHANGE: TimeDelta = TimeDelta::hours(3);

struct Firings<'a> {
    local: cron::ScheduleIterator<'a, Utc>,
    zone: Zone,
    gap: GapRule,
    fold: FoldRule,
    /// The last instant given out; nothing at or before it is given.
    after: DateTime<Utc>,
    /// Instants found and not given out; more than one only around a change of the clocks.
    found: BTreeSet<DateTime<Utc>>,
    /// No instant still to be found is before this; `None` when nothing is to be found.
    floor: Option<DateTime<Utc>>,
}

impl<'a> Firings<'a> {
    fn new(expr: &'a CronExpr, zone: Zone, gap: GapRule, fold: FoldRule, after: DateTime<Utc>) -> Self {
        // The crate counts years as positive numbers and knows 1970 to 2100, so nothing is lost by this.
        let near = after.clamp(instant_of_year(1969), instant_of_year(2102));
        let start = near + TimeDelta::seconds(lowest_offset(zone, near).into()) - TimeDelta::seconds(1);
        Self {
            local: expr.schedule.after(&DateTime::from_timestamp(start.timestamp(), 0).unwrap_or(start)),
            zone,
            gap,
            fold,
            after,
            found: BTreeSet::new(),
            floor: Some(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl Iterator for Firings<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        loop {
            if let Some(first) = self.found.first().copied()
                && self.floor.is_none_or(|floor| first <= floor)
            {
                self.found.remove(&first);
                self.after = first;
                return Some(first);
            }
            self.floor?;
            let moment = self.local.next().map(|local| LocalMoment::of(self.zone, local.naive_utc()));
            self.floor = moment.map(LocalMoment::earliest);
            let instants = moment.into_iter().flat_map(|moment| moment.instants(self.gap, self.fold));
            self.found.extend(instants.filter(|instant| *instant > self.after));
        }
    }
}

/// The smallest offset in force around an instant. No local time before `instant` plus this offset means an instant
/// after it, whether in a gap that has just been or in the second half of a fold that is about to be.
fn lowest_offset(zone: Zone, instant: DateTime<Utc>) -> i32 {
    [-WIDEST_CHANGE, -USUAL_CHANGE, TimeDelta::zero(), USUAL_CHANGE, WIDEST_CHANGE]
        .into_iter()
        .map(|shift| zone.offset_at(instant + shift))
        .min()
        .unwrap_or(0)
}

/// Noon of the 1st of July, far from where years meet.
fn instant_of_year(year: i32) -> DateTime<Utc> {
    chrono::NaiveDate::from_ymd_opt(year, 7, 1)
        .and_then(|date| date.and_hms_opt(12, 0, 0))
        .map_or(DateTime::UNIX_EPOCH, |noon| noon.and_utc())
}

impl FromStr for CronExpr {
    type Err = CronError;

    fn from_str(source: &str) -> Result<Self, CronError> {
        let schedule = parse::schedule(source)?;
        Ok(Self { source: source.to_owned(), schedule })
    }
}

impl TryFrom<String> for CronExpr {
    type Error = CronError;

    fn try_from(source: String) -> Result<Self, CronError> {
        source.parse()
    }
}

impl From<CronExpr> for String {
    fn from(expr: CronExpr) -> Self {
        expr.source
    }
}

impl PartialEq for CronExpr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CronExpr {}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
