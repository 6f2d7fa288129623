//! Who may use a route, in words and for programs, out of the table that decides it.

use pulsecal_core::store::audit::Role;
use serde_json::{Value, json};
use utoipa::openapi::security::SecurityRequirement;

use crate::policy::{Rule, STAFF, Trace, Who, ceiling};

/// The roles that may, as far as roles matter.
fn roles(who: Who) -> Option<Vec<&'static str>> {
    let may = |role: Role| match who {
        Who::Token(scope) | Who::TokenOrPage(scope) | Who::Page(Some(scope)) => Some(ceiling(role).contains(&scope)),
        Who::Ops(scope) => Some(role == Role::Ops && ceiling(role).contains(&scope)),
        Who::Page(None) => Some(true),
        Who::Anybody
        | Who::ThisMachine
        | Who::Development
        | Who::LinkHolder
        | Who::Session
        | Who::Account
        | Who::Patient => None,
    };
    STAFF
        .into_iter()
        .map(|role| may(role).map(|may| may.then_some(role.as_str())))
        .collect::<Option<Vec<_>>>()
        .map(|roles| roles.into_iter().flatten().collect())
}

/// The same in a sentence.
pub(super) fn sentence(rule: &Rule) -> String {
    let scope = rule.who.scope().map(|scope| format!("the scope `{scope}`")).unwrap_or_default();
    let roles = roles(rule.who).map(|roles| roles.join(", ")).unwrap_or_default();
    let who = match rule.who {
        Who::Anybody => "Anybody.".to_owned(),
        Who::ThisMachine => "Whoever asks from the machine that the API runs on.".to_owned(),
        Who::Development => "Whoever asks from this machine, where no mail server is set.".to_owned(),
        Who::LinkHolder => {
            "Whoever holds the link that was mailed to a patient, or to the owner of an account.".to_owned()
        }
        Who::Session => "Needs signing in, in whichever role.".to_owned(),
        Who::Account => "Needs signing in with a password, in whichever role.".to_owned(),
        Who::Patient => "Needs signing in with a password, as a patient.".to_owned(),
        Who::Token(_) => format!("Needs a token with {scope}, of a person with one of the roles {roles}."),
        Who::TokenOrPage(_) => {
            format!("Needs a token with {scope}, of a person with one of the roles {roles}, or signing in with one.")
        }
        Who::Page(None) => format!("Needs signing in, with one of the roles {roles}."),
        Who::Page(Some(_)) | Who::Ops(_) => format!("Needs signing in with {scope}, with one of the roles {roles}."),
    };
    match rule.trace {
        Trace::Nothing => who,
        Trace::Read(action) => format!("{who} Leaves `{action}` in the audit trail."),
        Trace::Write(actions) => format!("{who} A change leaves `{}` in the audit trail.", actions.join("` or `")),
    }
}

/// The same for programs: the extension `x-access`.
pub(super) fn extension(rule: &Rule) -> Value {
    let who = match rule.who {
        Who::Anybody => "anybody",
        Who::ThisMachine => "this_machine",
        Who::Development => "development",
        Who::LinkHolder => "link",
        Who::Token(_) => "token",
        Who::TokenOrPage(_) => "token_or_session",
        Who::Page(_) | Who::Ops(_) | Who::Session | Who::Account | Who::Patient => "session",
    };
    let leaves = match rule.trace {
        Trace::Nothing => Vec::new(),
        Trace::Read(action) => vec![action],
        Trace::Write(actions) => actions.to_vec(),
    };
    json!({"who": who, "scope": rule.who.scope().map(|scope| scope.as_str()), "roles": roles(rule.who), "leaves": leaves})
}

/// What proves who asks.
pub(super) fn security(rule: &Rule) -> Vec<SecurityRequirement> {
    let scopes: Vec<&str> = rule.who.scope().iter().map(|scope| scope.as_str()).collect();
    let by = |name: &str| SecurityRequirement::new(name, scopes.clone());
    match rule.who {
        Who::Anybody | Who::ThisMachine | Who::Development | Who::LinkHolder => Vec::new(),
        Who::Token(_) => vec![by("token")],
        Who::TokenOrPage(_) => vec![by("token"), by("session")],
        Who::Page(_) | Who::Ops(_) | Who::Session | Who::Account | Who::Patient => vec![by("session")],
    }
}
