//! Invitations: the iCalendar object (RFC 5545) that asks a calendar to add, change or drop a visit (RFC 5546).

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::address::{EmailAddress, one_line};
use super::vtimezone::vtimezone;
use crate::time::Zone;
use crate::time::local::LocalMoment;

/// The longest line, in octets, without its line break.
const FOLD_AT: usize = 75;

/// What an invitation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Add the event, or change it.
    Request,
    /// Drop it.
    Cancel,
}

impl Method {
    /// As METHOD and the part's `method` parameter say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Cancel => "CANCEL",
        }
    }
}

/// The calendar part of a mail. No `Debug`: it holds what only its recipient may read.
#[derive(Clone, PartialEq, Eq)]
pub struct CalendarPart {
    /// What it asks for.
    pub method: Method,
    /// The object, in lines that end in CRLF.
    pub text: String,
}

/// An event, as an invitation tells of it: texts hold what the privacy level allows and no more.
pub struct Invitation<'a> {
    /// What the event is of: the same for its life.
    pub id: Uuid,
    /// Up by one with each change of time, place or status.
    pub sequence: i32,
    /// What is asked for.
    pub method: Method,
    /// When the mail is written.
    pub stamp: DateTime<Utc>,
    /// From.
    pub starts_at: DateTime<Utc>,
    /// Until.
    pub ends_at: DateTime<Utc>,
    /// The zone its times are said in.
    pub zone: Tz,
    /// It is agreed, not only asked for.
    pub firm: bool,
    /// One line.
    pub summary: &'a str,
    /// Where.
    pub location: Option<&'a str>,
    /// More about it.
    pub description: &'a str,
    /// Who invites: the name …
    pub organizer_name: &'a str,
    /// … and the address, which answers go to.
    pub organizer: &'a EmailAddress,
    /// Who is invited.
    pub attendee: &'a EmailAddress,
}

impl Invitation<'_> {
    /// The iCalendar object.
    #[must_use]
    pub fn part(&self) -> CalendarPart {
        let local = Zone::from(self.zone);
        // A local time that clocks show twice means the first one. Who means the second says it in UTC.
        let sayable = [self.starts_at, self.ends_at].into_iter().all(|at| is_meant(local, at));
        let mut lines =
            String::from("BEGIN:VCALENDAR\nPRODID:-//PulseCal//PulseCal//EN\nVERSION:2.0\nCALSCALE:GREGORIAN\n");
        let mut line = |text: &str| {
            lines.push_str(text);
            lines.push('\n');
        };
        line(&format!("METHOD:{}", self.method.as_str()));
        if sayable {
            line(vtimezone(self.zone, self.starts_at, self.ends_at).trim_end());
        }
        let time = |name: &str, at: DateTime<Utc>| match sayable {
            true => {
                format!("{name};TZID={}:{}", self.zone.name(), at.with_timezone(&self.zone).format("%Y%m%dT%H%M%S"))
            }
            false => format!("{name}:{}", utc(at)),
        };
        line("BEGIN:VEVENT");
        // Nothing that an operator may change is part of it.
        line(&format!("UID:{}", self.id));
        line(&format!("SEQUENCE:{}", self.sequence));
        line(&format!("DTSTAMP:{}", utc(self.stamp)));
        line(&time("DTSTART", self.starts_at));
        line(&time("DTEND", self.ends_at));
        line(&format!("SUMMARY:{}", text_value(self.summary)));
        if let Some(location) = self.location {
            line(&format!("LOCATION:{}", text_value(location)));
        }
        line(&format!("DESCRIPTION:{}", text_value(self.description)));
        let status = match (self.method, self.firm) {
            (Method::Cancel, _) => "CANCELLED",
            (Method::Request, true) => "CONFIRMED",
            (Method::Request, false) => "TENTATIVE",
        };
        line(&format!("STATUS:{status}"));
        line("CLASS:PRIVATE");
        line(&format!("TRANSP:{}", if self.method == Method::Cancel { "TRANSPARENT" } else { "OPAQUE" }));
        line(&format!("ORGANIZER;CN={}:mailto:{}", parameter(self.organizer_name), uri(self.organizer)));
        let answer = if self.method == Method::Cancel { "RSVP=FALSE" } else { "PARTSTAT=NEEDS-ACTION;RSVP=TRUE" };
        line(&format!("ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;{answer}:mailto:{}", uri(self.attendee)));
        line("END:VEVENT");
        line("END:VCALENDAR");
        CalendarPart { method: self.method, text: folded(&lines) }
    }
}

/// Whether the local time of an instant, read by the rule of RFC 5545, means this instant. Instants have whole seconds there.
fn is_meant(zone: Zone, at: DateTime<Utc>) -> bool {
    let rest = TimeDelta::nanoseconds(i64::from(at.timestamp_subsec_nanos()));
    let at = at - rest;
    LocalMoment::of(zone, zone.local(at)).instant() == at
}

fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// A TEXT value (RFC 5545 3.3.11). Line breaks are kept, other control characters are not.
fn text_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len() + 8);
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\\' | ';' | ',' => value.extend(['\\', char]),
            '\n' => value.push_str("\\n"),
            _ if char.is_control() => value.push(' '),
            _ => value.push(char),
        }
    }
    value
}

/// A parameter's value in quotes; what may not stand within them is left out.
fn parameter(text: &str) -> String {
    format!("\"{}\"", one_line(text).replace('"', "'"))
}

/// An address within a mailto URI.
fn uri(address: &EmailAddress) -> String {
    let mut safe = String::new();
    for byte in address.expose().bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'@'
            | b'.'
            | b'-'
            | b'_'
            | b'+'
            | b'~'
            | b'!'
            | b'$'
            | b'*'
            | b'\'' => {
                safe.push(char::from(byte));
            }
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

/// Lines that end in CRLF and have 75 octets at most, folded between characters.
fn folded(lines: &str) -> String {
    let mut text = String::with_capacity(lines.len() + lines.len() / 16);
    for line in lines.lines() {
        let mut length = 0;
        for char in line.chars() {
            if length + char.len_utf8() > FOLD_AT {
                text.push_str("\r\n ");
                length = 1;
            }
            text.push(char);
            length += char.len_utf8();
        }
        text.push_str("\r\n");
    }
    text
}
