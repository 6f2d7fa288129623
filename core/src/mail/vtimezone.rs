//! A zone as a calendar sees it: the VTIMEZONE that goes with a time (RFC 5545 3.6.5).

use std::fmt::Write as _;

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

/// Rules are given from so long before an event until so long after it: a year holds all of them.
const AROUND: TimeDelta = TimeDelta::days(400);
/// No two changes of a zone's clocks are closer together than this.
const STEP: TimeDelta = TimeDelta::days(1);

#[derive(Clone, PartialEq, Eq)]
struct Rule {
    /// Seconds east of UTC.
    offset: i32,
    daylight: bool,
    name: String,
}

fn rule_at(zone: Tz, at: DateTime<Utc>) -> Rule {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc());
    Rule {
        offset: offset.fix().local_minus_utc(),
        daylight: !offset.dst_offset().is_zero(),
        name: offset.abbreviation().unwrap_or("").to_owned(),
    }
}

/// Lines of the VTIMEZONE of `zone`, each with LF: each change of its clocks around the event from `starts_at` to `ends_at`
/// is an observance of its own, so that nobody has to work out a rule.
pub(super) fn vtimezone(zone: Tz, starts_at: DateTime<Utc>, ends_at: DateTime<Utc>) -> String {
    let (mut at, last) = (starts_at - AROUND, ends_at + AROUND);
    let mut rule = rule_at(zone, at);
    let mut text = format!("BEGIN:VTIMEZONE\nTZID:{}\n", zone.name());
    // What held before is as if it had always held.
    put(&mut text, &rule, rule.offset, "19700101T000000");
    while at < last {
        let next = at + STEP;
        let after = rule_at(zone, next);
        if after != rule {
            let change = first_second(zone, &rule, at, next);
            let local = change.naive_utc() + TimeDelta::seconds(rule.offset.into());
            put(&mut text, &after, rule.offset, &local.format("%Y%m%dT%H%M%S").to_string());
            rule = after;
        }
        at = next;
    }
    text.push_str("END:VTIMEZONE\n");
    text
}

/// The first second after `before` that `rule` does not hold; it does not at `after`.
fn first_second(zone: Tz, rule: &Rule, mut before: DateTime<Utc>, mut after: DateTime<Utc>) -> DateTime<Utc> {
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if rule_at(zone, middle) == *rule { before = middle } else { after = middle }
    }
    DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after)
}

fn put(text: &mut String, rule: &Rule, from: i32, onset: &str) {
    let what = if rule.daylight { "DAYLIGHT" } else { "STANDARD" };
    // Writing to a String cannot fail.
    let _never = write!(
        text,
        "BEGIN:{what}\nDTSTART:{onset}\nTZOFFSETFROM:{}\nTZOFFSETTO:{}\nTZNAME:{}\nEND:{what}\n",
        shown(from),
        shown(rule.offset),
        rule.name
    );
}

fn shown(offset: i32) -> String {
    let (sign, seconds) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 { format!("{sign}{hours:02}{minutes:02}") } else { format!("{sign}{hours:02}{minutes:02}{rest:02}") }
}
