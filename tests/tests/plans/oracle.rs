//! The same answers by slower and simpler means.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::TZ_VARIANTS;
use pulsecal_core::doses::{Days, PlanRule, TimeMeaning, Timing};
use pulsecal_core::time::Zone;

/// A change of the clocks of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The first instant with the new offset.
    pub at: DateTime<Utc>,
    /// Seconds ahead of UTC before it.
    pub before: i32,
    /// Seconds ahead of UTC from then on.
    pub after: i32,
}

impl Change {
    /// By how much clocks go forward (or back, negative).
    pub fn leap(&self) -> TimeDelta {
        TimeDelta::seconds((self.after - self.before).into())
    }

    /// What clocks would have shown at the change had they not been changed.
    pub fn old_local(&self) -> NaiveDateTime {
        self.at.naive_utc() + TimeDelta::seconds(self.before.into())
    }
}

/// Every zone with all its changes from 2000 to 2040.
pub fn all_zones() -> &'static BTreeMap<&'static str, Vec<Change>> {
    static CHANGES: OnceLock<BTreeMap<&'static str, Vec<Change>>> = OnceLock::new();
    CHANGES.get_or_init(|| TZ_VARIANTS.iter().map(|tz| (tz.name(), changes(Zone::from(*tz)))).collect())
}

/// One zone for each history of changes: links and zones that agree since 2000 are asked once.
pub fn distinct_zones() -> Vec<(Zone, &'static [Change])> {
    let mut seen = HashMap::new();
    for (name, changes) in all_zones().iter().filter(|(_, changes)| !changes.is_empty()) {
        seen.entry(changes.as_slice()).or_insert_with(|| zone(name));
    }
    let mut zones: Vec<_> = seen.into_iter().map(|(changes, zone)| (zone, changes)).collect();
    zones.sort_by_key(|(zone, _)| zone.name());
    zones
}

fn changes(zone: Zone) -> Vec<Change> {
    let (mut from, end) = (utc("2000-01-01 00:00:00"), utc("2041-01-01 00:00:00"));
    let mut changes = Vec::new();
    while from < end {
        let to = from + TimeDelta::days(2);
        let (before, after) = (zone.offset_at(from), zone.offset_at(to));
        if before != after {
            let (mut low, mut high) = (from, to);
            while high - low > TimeDelta::seconds(1) {
                let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
                if zone.offset_at(middle) == before { low = middle } else { high = middle }
            }
            changes.push(Change { at: high, before, after });
        }
        from = to;
    }
    changes
}

/// The instants at which clocks of the zone show a local time, asked from UTC only: earliest first.
pub fn showings(zone: Zone, local: NaiveDateTime) -> Vec<DateTime<Utc>> {
    let mut offsets: Vec<i32> =
        (-3..=3).map(|step| zone.offset_at(local.and_utc() + TimeDelta::hours(10 * step))).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let mut found: Vec<_> = offsets
        .into_iter()
        .map(|offset| local.and_utc() - TimeDelta::seconds(offset.into()))
        .filter(|instant| zone.local(*instant) == local)
        .collect();
    found.sort_unstable();
    found
}

/// The rule of RFC 5545 from its words: the first showing, and where there is none the offset before the gap.
pub fn meant(zone: Zone, local: NaiveDateTime) -> DateTime<Utc> {
    if let Some(first) = showings(zone, local).first() {
        return *first;
    }
    // The gap is where local clocks pass from before the time to after it.
    let (mut low, mut high) = (local.and_utc() - TimeDelta::hours(30), local.and_utc() + TimeDelta::hours(30));
    while high - low > TimeDelta::seconds(1) {
        let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
        if zone.local(middle) < local { low = middle } else { high = middle }
    }
    local.and_utc() - TimeDelta::seconds(zone.offset_at(low).into())
}

/// The whole plan up to an instant, walked day by day from its first dose: slot and due instant.
pub fn whole_plan(rule: &PlanRule<'_>, until: DateTime<Utc>) -> Vec<(NaiveDateTime, DateTime<Utc>)> {
    let gap = pulsecal_core::doses::nominal_min_gap(rule.timing).unwrap();
    let spacing = if rule.min_interval.is_zero() { (gap / 2).min(TimeDelta::hours(1)) } else { rule.min_interval };
    let mut plan: Vec<(NaiveDateTime, DateTime<Utc>)> = Vec::new();
    for (slot, own) in own_times(rule, until) {
        let due = plan.last().map_or(own, |(_, last)| own.max(*last + spacing));
        if due >= until {
            break;
        }
        plan.push((slot, due));
    }
    plan
}

fn own_times(rule: &PlanRule<'_>, until: DateTime<Utc>) -> Vec<(NaiveDateTime, DateTime<Utc>)> {
    match rule.timing {
        Timing::AsNeeded => Vec::new(),
        Timing::EveryHours { hours, start, first, end } => {
            let anchor = meant(rule.zone, start.and_time(*first));
            (0..)
                .map(|k| anchor + TimeDelta::hours(i64::from(hours.get()) * k))
                .take_while(|due| *due < until && end.is_none_or(|end| rule.zone.local(*due).date() <= end))
                .map(|due| (due.naive_utc(), due))
                .collect()
        }
        Timing::TimesOfDay { times, days, start, end } => {
            assert_ne!(rule.meaning, TimeMeaning::Elapsed);
            let last = (until + TimeDelta::days(2)).date_naive();
            let last = end.map_or(last, |end| end.min(last));
            start
                .iter_days()
                .take_while(|day| *day <= last)
                .filter(|day| match days {
                    Days::Day => true,
                    Days::Weekdays { on } => on.contains(&day.weekday()),
                    Days::NthDay { n } => (*day - *start).num_days() % i64::from(n.get()) == 0,
                })
                .flat_map(|day| times.iter().map(move |time| day.and_time(*time)))
                .map(|slot| (slot, meant(rule.zone, slot)))
                .collect()
        }
    }
}

pub fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

pub fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
}

pub fn utc(text: &str) -> DateTime<Utc> {
    local(text).and_utc()
}

pub fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub fn at(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

/// Every day at some times, from a day on.
pub fn daily(times: &[&str], start: &str) -> Timing {
    Timing::TimesOfDay {
        times: times.iter().map(|time| at(time)).collect(),
        days: Days::Day,
        start: date(start),
        end: None,
    }
}

/// A wall-clock rule.
pub fn wall<'a>(timing: &'a Timing, zone_name: &str, min_hours: i64) -> PlanRule<'a> {
    PlanRule {
        timing,
        meaning: TimeMeaning::WallClock,
        zone: zone(zone_name),
        min_interval: TimeDelta::hours(min_hours),
    }
}
