//! Names, e-mail addresses, phone numbers and zones as FHIR writes them.

use chrono_tz::Tz;

use super::node::Node;
use super::problem::{Effect, Problem, quote};

/// A person's name.
pub(super) struct Name {
    pub given: String,
    pub family: String,
}

/// Where people are reached.
pub(super) struct Contact {
    pub email: Option<String>,
    pub phone: Option<String>,
}

/// The name in use of a person: official, else usual, else any that is not outdated.
pub(super) fn human_name(root: &Node<'_>) -> Result<Name, Problem> {
    let mut names = Vec::new();
    for name in root.list("name")? {
        let rank = match name.str("use")? {
            Some("official") => 0,
            Some("usual") => 1,
            None => 2,
            Some("temp" | "anonymous") => 3,
            Some("nickname") => 4,
            Some("maiden" | "old") => continue,
            Some(other) => {
                return Err(name.problem_at("use", format!("{} is no use of a name", quote(other))));
            }
        };
        let mut given = Vec::new();
        for part in name.list("given")? {
            given.extend(part.as_line()?);
        }
        let mut family = name.line("family")?.unwrap_or_default();
        if given.is_empty() && family.is_empty() {
            family = name.line("text")?.unwrap_or_default();
        }
        let given = given.join(" ");
        if given.chars().count() > super::node::NAME_CHARS {
            return Err(name.problem_at("given", "is too long"));
        }
        if !(given.is_empty() && family.is_empty()) {
            names.push((rank, Name { given, family }));
        }
    }
    let best = names.into_iter().min_by_key(|(rank, _)| *rank);
    best.map(|(_, name)| name).ok_or_else(|| root.problem_at("name", "no name is given"))
}

/// The preferred e-mail address and phone number; an unusable one is left out and noted.
pub(super) fn contact(root: &Node<'_>, notes: &mut Vec<Problem>) -> Result<Contact, Problem> {
    let mut emails = Vec::new();
    let mut phones = Vec::new();
    for point in root.list("telecom")? {
        let usage = point.str("use")?;
        if usage == Some("old") {
            continue;
        }
        let system = point.str("system")?;
        let Some(value) = point.line("value").unwrap_or_else(|problem| {
            notes.push(problem.with_effect(Effect::Partial));
            None
        }) else {
            continue;
        };
        let rank = point.positive("rank")?.unwrap_or(u32::MAX);
        match system {
            Some("email") => {
                let address = value.strip_prefix("mailto:").unwrap_or(&value).to_owned();
                if is_address(&address) {
                    emails.push(((rank, 0), address));
                } else {
                    let problem = point.problem_at("value", "is no e-mail address that mail can be sent to");
                    notes.push(problem.with_effect(Effect::Partial));
                }
            }
            Some("phone" | "sms") => {
                let number = value.strip_prefix("tel:").unwrap_or(&value).to_owned();
                phones.push(((rank, u8::from(usage != Some("mobile"))), number));
            }
            _ => {}
        }
    }
    let first = |list: Vec<((u32, u8), String)>| list.into_iter().min_by_key(|(rank, _)| *rank).map(|(_, text)| text);
    Ok(Contact { email: first(emails), phone: first(phones) })
}

/// A plain `local@domain` as RFC 5321 allows it without quotes.
fn is_address(text: &str) -> bool {
    use lettre::Address;
    let parsed = text.parse::<Address>().is_ok();
    parsed && text.len() <= 254 && !text.contains(['"', '(', '<', ' ', '[']) && text.split('@').count() == 2
}

/// The two places of the standard extension, and its name before R5.
const ZONE_URLS: [&str; 2] =
    ["http://hl7.org/fhir/StructureDefinition/timezone", "http://hl7.org/fhir/StructureDefinition/tz-code"];

/// The zone that the extension `timezone` names, on the resource or on one of its addresses.
///
/// # Errors
/// An unknown zone, or two different ones: reminders in a wrong zone are worse than none.
pub(super) fn zone(root: &Node<'_>) -> Result<Option<Tz>, Problem> {
    let mut found = None;
    let mut holders = vec![root.clone()];
    holders.extend(root.list("address")?);
    for holder in holders {
        for extension in holder.list("extension")? {
            if !extension.str("url")?.is_some_and(|url| ZONE_URLS.contains(&url)) {
                continue;
            }
            let field = ["valueCode", "valueString"].into_iter().find(|field| extension.has(field));
            let Some(field) = field else {
                return Err(extension.problem_at("valueCode", "names no zone"));
            };
            let Some(name) = extension.str(field)? else {
                continue;
            };
            let zone: Tz = name
                .parse()
                .map_err(|_| extension.problem_at(field, format!("{} is no IANA time zone", quote(name))))?;
            if found.is_some_and(|other| other != zone) {
                return Err(extension.problem_at(field, "names another zone than an extension before it"));
            }
            found = Some(zone);
        }
    }
    Ok(found)
}
