//! Scopes as SMART writes them (`system/Patient.rs`), and ours.

use crate::tokens::{Scopes, TokenScope};

/// What is read and what is written, by the resources of FHIR that they are closest to.
const RESOURCES: [(&str, TokenScope, Option<TokenScope>); 4] = [
    ("Patient", TokenScope::PatientsRead, Some(TokenScope::PatientsWrite)),
    ("MedicationRequest", TokenScope::PrescriptionsRead, Some(TokenScope::PrescriptionsWrite)),
    ("Appointment", TokenScope::AppointmentsRead, Some(TokenScope::AppointmentsWrite)),
    ("Communication", TokenScope::MessagesRead, None),
];
const READ: &str = "rs";
const WRITE: &str = "cu";
/// The letters of a scope, each once and in this order: create, read, update, delete, search.
const LETTERS: &str = "cruds";

/// One of the scopes that somebody asked for, as it is called where it is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it allows here.
    pub scope: TokenScope,
    /// Its name, in the way that it was asked for.
    pub name: String,
}

/// The scopes that are asked for, with blanks between them. What is not known here is passed over (RFC 6749, 3.3).
pub fn wanted(asked: &str) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for word in asked.split(' ').filter(|word| !word.is_empty()).take(100) {
        let found = match word.strip_prefix("system/") {
            Some(smart) => of_resource(smart),
            None => word.parse().map(|scope| Wanted { scope, name: word.to_owned() }).into_iter().collect(),
        };
        all.extend(found);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all.dedup();
    all
}

fn of_resource(smart: &str) -> Vec<Wanted> {
    let Some((resource, letters)) = smart.split_once('.') else { return Vec::new() };
    let mut rest = LETTERS.chars();
    let in_order = !letters.is_empty() && letters.chars().all(|letter| rest.any(|next| next == letter));
    if !in_order {
        return Vec::new();
    }
    let asks = |of: &str| letters.chars().any(|letter| of.contains(letter));
    let named = RESOURCES.iter().filter(|(name, ..)| resource == "*" || resource == *name);
    named
        .flat_map(|(name, read, write)| {
            let read = asks(READ).then_some((*read, READ));
            let write = write.filter(|_| asks(WRITE)).map(|scope| (scope, WRITE));
            [read, write]
                .into_iter()
                .flatten()
                .map(move |(scope, letters)| Wanted { scope, name: format!("system/{name}.{letters}") })
        })
        .collect()
}

/// What a client is registered with: names of either kind.
///
/// # Errors
/// The first that is not known.
pub fn registered(names: &[String]) -> Result<Scopes, String> {
    let mut all = Vec::new();
    for name in names {
        let found = wanted(name);
        if found.is_empty() {
            return Err(format!("there is no scope {name:?}; there are {}", supported().join(", ")));
        }
        all.extend(found.into_iter().map(|wanted| wanted.scope));
    }
    Ok(Scopes::of(all))
}

/// The names of all scopes, for who wants to ask.
pub fn supported() -> Vec<String> {
    let of_smart = wanted("system/*.cruds").into_iter().map(|wanted| wanted.name);
    // Operators are people.
    let ours = TokenScope::ALL.into_iter().filter(|scope| *scope != TokenScope::OpsWrite);
    of_smart.chain(ours.map(|scope| scope.as_str().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &str) -> Vec<String> {
        wanted(asked).into_iter().map(|wanted| format!("{}={}", wanted.name, wanted.scope)).collect()
    }

    #[test]
    fn scopes_of_smart_are_read_by_resource_and_letters() {
        assert_eq!(names("system/Patient.rs"), ["system/Patient.rs=patients:read"]);
        assert_eq!(names("system/Patient.r"), ["system/Patient.rs=patients:read"]);
        assert_eq!(
            names("system/Appointment.cruds"),
            ["system/Appointment.cu=appointments:write", "system/Appointment.rs=appointments:read"]
        );
        assert_eq!(names("system/Communication.cruds"), ["system/Communication.rs=messages:read"]);
        assert_eq!(names("system/*.rs").len(), 4);
        assert_eq!(names("reminders:read  system/Patient.rs reminders:read").len(), 2);
        for nothing in [
            "",
            "system/Patient.",
            "system/Patient.d",
            "system/Patient.sr",
            "system/Patient.rr",
            "system/Patient.read",
            "system/Patient.rs?_id=1",
            "user/Patient.rs",
            "patient/Patient.rs",
            "system/Observation.rs",
            "openid",
        ] {
            assert_eq!(names(nothing), Vec::<String>::new(), "{nothing}");
        }
    }

    #[test]
    fn a_client_is_registered_with_known_scopes_only() {
        let both = registered(&["system/Patient.rs".into(), "reminders:read".into()]).expect("known");
        assert_eq!(both.names(), ["patients:read", "reminders:read"]);
        assert!(registered(&["system/Patient.rs".into(), "launch".into()]).expect_err("unknown").contains("launch"));
    }
}
