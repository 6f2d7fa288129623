//! Invitations, read by a reader that knows the RFC and not the writer: it takes times from the VTIMEZONE alone, and keeps a
//! calendar as RFC 5546 says.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use pulsecal_core::mail::{EmailAddress, Invitation, Method};
use uuid::Uuid;

const ZONES: [&str; 20] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Europe/Chisinau",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Asuncion",
    "America/Havana",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Africa/Casablanca",
    "Africa/Cairo",
];

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an address")
}

fn invitation(
    id: u128,
    sequence: i32,
    method: Method,
    start: DateTime<Utc>,
    length: TimeDelta,
    zone: Tz,
    text: &str,
) -> String {
    Invitation {
        id: Uuid::from_u128(id),
        sequence,
        method,
        stamp: start,
        starts_at: start,
        ends_at: start + length,
        zone,
        firm: true,
        summary: text,
        location: Some(text),
        description: text,
        organizer_name: text,
        organizer: &address("visits@clinic.example.org"),
        attendee: &address("pat+visits@example.org"),
    }
    .part()
    .text
}

/// A property of a component: name, parameters, value.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    parameters: String,
    value: String,
}

/// A component: its name, its properties, the components in it.
#[derive(Clone, Debug, Default)]
struct Component {
    name: String,
    lines: Vec<Line>,
    within: Vec<Component>,
}

impl Component {
    fn read(text: &str) -> Self {
        assert!(text.ends_with("\r\n"));
        for line in text.split("\r\n") {
            assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{} octets: {line:?}", line.len());
        }
        let unfolded = text.replace("\r\n ", "");
        let mut open = vec![Component::default()];
        for line in unfolded.lines() {
            let colon = colon_of(line);
            let (head, value) = (&line[..colon], &line[colon + 1..]);
            let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
            match name {
                "BEGIN" => open.push(Self { name: value.to_owned(), ..Self::default() }),
                "END" => {
                    let done = open.pop().expect("something is open");
                    assert_eq!(done.name, value);
                    open.last_mut().expect("it is in something").within.push(done);
                }
                _ => open.last_mut().expect("it is in something").lines.push(Line {
                    name: name.to_owned(),
                    parameters: parameters.to_owned(),
                    value: value.to_owned(),
                }),
            }
        }
        assert_eq!(open.len(), 1, "all is closed");
        open.pop().and_then(|mut all| all.within.pop()).expect("a calendar")
    }

    fn line(&self, name: &str) -> &Line {
        let mut found = self.lines.iter().filter(|line| line.name == name);
        let line = found.next().unwrap_or_else(|| panic!("no {name} in {}", self.name));
        assert!(found.next().is_none(), "{name} is there once");
        line
    }

    fn within(&self, name: &str) -> Option<&Component> {
        self.within.iter().find(|component| component.name == name)
    }

    /// A TEXT value, unescaped.
    fn text(&self, name: &str) -> String {
        let (mut text, mut escaped) = (String::new(), false);
        for char in self.line(name).value.chars() {
            match (escaped, char) {
                (false, '\\') => escaped = true,
                (true, 'n' | 'N') => (text, escaped) = (text + "\n", false),
                (true, other) => (text, escaped) = (text + &other.to_string(), false),
                (false, ',' | ';') => panic!("an unescaped {char}"),
                (false, other) => text.push(other),
            }
        }
        text
    }

    /// The instant of a time of this calendar's event, by the rules of the VTIMEZONE in it.
    fn instant(&self, name: &str) -> DateTime<Utc> {
        let line = self.within("VEVENT").expect("an event").line(name);
        if let Some(utc) = line.value.strip_suffix('Z') {
            return local(utc).and_utc();
        }
        let zone = self.within("VTIMEZONE").expect("the zone that the time names");
        assert_eq!(line.parameters, format!("TZID={}", zone.line("TZID").value));
        let at = local(&line.value);
        // RFC 5545 3.6.5: the observance with the last onset that is not after the local time.
        let rule = zone.within.iter().filter(|rule| local(&rule.line("DTSTART").value) <= at);
        let rule = rule.max_by_key(|rule| local(&rule.line("DTSTART").value)).expect("a rule that holds");
        (at - offset(&rule.line("TZOFFSETTO").value)).and_utc()
    }
}

/// The colon that ends name and parameters: the first one outside quotes.
fn colon_of(line: &str) -> usize {
    let mut quoted = false;
    for (at, char) in line.char_indices() {
        match char {
            '"' => quoted = !quoted,
            ':' if !quoted => return at,
            _ => {}
        }
    }
    panic!("no colon in {line:?}")
}

fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").expect("a local time")
}

fn offset(text: &str) -> TimeDelta {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let seconds = number(1..3) * 3600 + number(3..5) * 60;
    TimeDelta::seconds(if text.starts_with('-') { -seconds } else { seconds })
}

/// The instants in 2026 and 2027 at which a zone's clocks change.
fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
    use chrono::{Offset, TimeZone};
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    let first: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let hours = (0..2 * 365 * 48).map(|half| first + TimeDelta::minutes(30 * half));
    hours.filter(|at| offset(*at) != offset(*at - TimeDelta::minutes(30))).collect()
}

#[test]
fn instants_are_the_visits_in_twenty_zones_across_every_change_of_clocks() {
    let mut edges = 0;
    for name in ZONES {
        let zone: Tz = name.parse().expect("a zone");
        let mut around = changes(zone);
        edges += around.len();
        around.push("2026-07-01T12:00:00Z".parse().expect("an instant"));
        for edge in around {
            for minutes in (-180..=180).step_by(15) {
                for length in [15, 60, 200] {
                    let (start, length) = (edge + TimeDelta::minutes(minutes), TimeDelta::minutes(length));
                    let calendar = Component::read(&invitation(1, 0, Method::Request, start, length, zone, "Visit"));
                    assert_eq!(calendar.instant("DTSTART"), start, "{name}");
                    assert_eq!(calendar.instant("DTEND"), start + length, "{name}");
                }
            }
        }
    }
    assert!(edges >= 60, "both edges of most zones in two years: {edges}");
}

proptest! {
    #[test]
    fn any_text_comes_back_and_stays_in_its_line(text in "[ -~äß✓\u{1F3E5}\n,;:\\\\\"]{0,200}", zone in 0..ZONES.len(), hour in 0..20_000_i64) {
        let zone: Tz = ZONES[zone].parse().expect("a zone");
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_454) + TimeDelta::hours(hour);
        let calendar = Component::read(&invitation(1, 3, Method::Request, start, TimeDelta::minutes(30), zone, &text));
        prop_assert_eq!(calendar.instant("DTSTART"), start);
        let event = calendar.within("VEVENT").expect("an event");
        for name in ["SUMMARY", "LOCATION", "DESCRIPTION"] {
            prop_assert_eq!(event.text(name), text.clone());
        }
        prop_assert_eq!(&event.line("ATTENDEE").value, "mailto:pat+visits@example.org");
        prop_assert_eq!(&event.line("ORGANIZER").value, "mailto:visits@clinic.example.org");
    }
}

/// A calendar that takes invitations as RFC 5546 2.1.5 and 3.2 say: by UID, and only newer ones.
#[derive(Default)]
struct Calendar {
    events: BTreeMap<String, (i32, bool, DateTime<Utc>)>,
}

impl Calendar {
    fn take(&mut self, text: &str) {
        let calendar = Component::read(text);
        let event = calendar.within("VEVENT").expect("an event");
        let sequence: i32 = event.line("SEQUENCE").value.parse().expect("a number");
        let uid = event.line("UID").value.clone();
        if self.events.get(&uid).is_some_and(|(newest, ..)| *newest >= sequence) {
            return;
        }
        let cancel = calendar.line("METHOD").value == "CANCEL";
        assert_eq!(cancel, event.line("STATUS").value == "CANCELLED");
        self.events.insert(uid, (sequence, !cancel, calendar.instant("DTSTART")));
    }

    fn shown(&self) -> Vec<DateTime<Utc>> {
        self.events.values().filter(|(_, there, _)| *there).map(|(.., at)| *at).collect()
    }
}

#[test]
fn invite_move_move_cancel_leaves_no_event_in_whatever_order_they_arrive() {
    let zone = chrono_tz::Europe::Berlin;
    let start: DateTime<Utc> = "2026-10-24T10:00:00Z".parse().expect("an instant");
    let half = TimeDelta::minutes(30);
    let mail = |sequence: i32, method, days| {
        invitation(7, sequence, method, start + TimeDelta::days(days), half, zone, "Visit")
    };
    let mails = [
        mail(0, Method::Request, 0),
        mail(1, Method::Request, 1),
        mail(2, Method::Request, 2),
        mail(3, Method::Cancel, 2),
    ];
    let mut calendar = Calendar::default();
    for (i, mail) in mails.iter().enumerate() {
        calendar.take(mail);
        let expected = [Some(0), Some(1), Some(2), None][i].map(|days| start + TimeDelta::days(days));
        assert_eq!(calendar.shown(), expected.into_iter().collect::<Vec<_>>(), "after mail {i}");
    }
    // Mail does not keep its order: after all four, in any order and with doubles, nothing is left.
    for order in [[3, 2, 1, 0], [0, 3, 1, 2], [2, 3, 0, 1], [1, 0, 3, 2]] {
        let mut calendar = Calendar::default();
        for i in order.into_iter().chain(order) {
            calendar.take(&mails[i]);
        }
        assert!(calendar.shown().is_empty(), "{order:?}");
    }
}
