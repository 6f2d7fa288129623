//! Who may do what: a table of every route, and one of every role. Nothing else in the API knows roles.
//!
//! Extractors ([`crate::access::Tenant`], [`crate::pages::session::SignedIn`] and what is built on them) look a request's route
//! up here. A route that is not in the table is answered with an error, whoever asks. A test walks every row with every role.

use axum::extract::MatchedPath;
use axum::http::{Method, request::Parts};
use pulsecal_core::store::audit::Role;
use pulsecal_core::tokens::TokenScope::{self, *};

use crate::problem::Problem;

mod rules;

use Who::{Account, Anybody, Development, LinkHolder, Ops, Page, Patient, Session, ThisMachine, Token, TokenOrPage};
pub use rules::RULES;

/// Who a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Anybody,
    /// Whoever asks from the machine that the API runs on.
    ThisMachine,
    /// Whoever asks from this machine, where no mail server is set.
    Development,
    /// Whoever holds the link that was mailed to a patient, or to the owner of an account.
    LinkHolder,
    /// Whoever sends an API token that has this scope, of a person whose role has it.
    Token(TokenScope),
    /// Staff and operators who are signed in; with a scope: whose token and role have it.
    Page(Option<TokenScope>),
    /// Whoever is signed in, in whichever role.
    Session,
    /// Whoever is signed in with the password of an account, in whichever role: patients too.
    Account,
    /// Patients who are signed in, for what is theirs.
    Patient,
    /// Operators who are signed in, whose token has this scope.
    Ops(TokenScope),
    /// As [`Who::Token`], or as [`Who::Page`].
    TokenOrPage(TokenScope),
}

/// What a request that was answered leaves in the audit trail. Refusals leave `access.refused`, on whichever route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing, since it neither changes anything nor shows anything of a patient.
    Nothing,
    /// Somebody saw something of patients.
    Read(&'static str),
    /// Something was changed, in one of these ways; a request that changes nothing leaves nothing.
    Write(&'static [&'static str]),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The method; `GET` stands for `HEAD` too.
    pub method: &'static str,
    /// The path, as the router has it.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
    /// What it leaves.
    pub trace: Trace,
}

/// What who cares for patients may do.
const CARE: [TokenScope; 17] = [
    PatientsRead,
    PatientsWrite,
    PrescriptionsRead,
    PrescriptionsWrite,
    RemindersRead,
    RemindersWrite,
    AppointmentsRead,
    AppointmentsWrite,
    MessagesRead,
    JobsRead,
    ExportsRead,
    ExportsWrite,
    OrganizationRead,
    ChatRead,
    ChatWrite,
    ContactsRead,
    MembersRead,
];

/// What nurses may do: medical records are theirs and the doctors', and nobody else's of the staff.
const NURSE: [TokenScope; CARE.len() + 2] = and(CARE, [RecordsRead, RecordsWrite]);

/// What doctors may do besides.
const DOCTOR: [TokenScope; NURSE.len() + 2] = and(NURSE, [JoinsAsk, AuditRead]);

/// What is done at the desk, besides care: whom to call, who pays. Who cares for patients needs to know of contacts only.
const DESK: [TokenScope; 5] = [ContactsWrite, InsuranceRead, InsuranceWrite, PaymentsRead, PaymentsWrite];

/// What administrators of an organization may do: what who cares may, but for medical records, and what is the organization's to decide.
const ADMIN: [TokenScope; CARE.len() + DESK.len() + 6] = and(
    and::<_, _, { CARE.len() + DESK.len() }>(CARE, DESK),
    [JoinsAsk, JoinsDecide, OrganizationWrite, AuditRead, MembersWrite, TrailRead],
);

/// What who receives patients may do.
const RECEPTION: [TokenScope; DESK.len() + 10] = and(
    DESK,
    [
        PatientsRead,
        PatientsWrite,
        AppointmentsRead,
        AppointmentsWrite,
        MessagesRead,
        OrganizationRead,
        ChatRead,
        ChatWrite,
        ContactsRead,
        MembersRead,
    ],
);

const fn and<const A: usize, const B: usize, const N: usize>(
    some: [TokenScope; A],
    more: [TokenScope; B],
) -> [TokenScope; N] {
    let mut all = [some[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { some[at] } else { more[at - A] };
        at += 1;
    }
    all
}

/// What a role may do at most, whatever the token that somebody came with says. Who signed in with a password may all of it.
pub fn ceiling(role: Role) -> &'static [TokenScope] {
    match role {
        Role::Doctor => &DOCTOR,
        Role::Nurse => &NURSE,
        Role::Admin => &ADMIN,
        Role::Receptionist => &RECEPTION,
        Role::Ops => &[MessagesRead, JobsRead, OpsWrite],
        // Patients have their pages; the API is for staff and the systems of a clinic.
        _ => &[],
    }
}

/// The roles of staff and operators.
pub const STAFF: [Role; 5] = [Role::Doctor, Role::Nurse, Role::Receptionist, Role::Admin, Role::Ops];

/// Whether a person of this role may sign in at the pages of staff and operators.
pub fn is_staff(role: Role) -> bool {
    STAFF.contains(&role)
}

impl Who {
    /// The scope that it takes.
    pub fn scope(self) -> Option<TokenScope> {
        match self {
            Token(scope) | Page(Some(scope)) | Ops(scope) | TokenOrPage(scope) => Some(scope),
            Anybody | ThisMachine | Development | LinkHolder | Session | Account | Patient | Page(None) => None,
        }
    }
}

impl Rule {
    /// The rule of a request.
    ///
    /// # Errors
    /// It has none: a fault of ours.
    pub(crate) fn of(parts: &Parts) -> Result<&'static Self, Problem> {
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let method = if parts.method == Method::HEAD { "GET" } else { parts.method.as_str() };
        let found = RULES.iter().find(|rule| rule.path == path && rule.method == method);
        found.ok_or_else(|| Problem::internal(&format!("no rule says who may {method} {path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::Trace::Write;
    use super::*;

    #[test]
    fn a_route_has_one_rule() {
        for (at, rule) in RULES.iter().enumerate() {
            let again = RULES[at + 1..].iter().any(|other| (other.method, other.path) == (rule.method, rule.path));
            assert!(!again, "{} {}", rule.method, rule.path);
        }
    }

    #[test]
    fn what_changes_something_says_so_and_of_gets_one_alone_does() {
        for rule in RULES {
            let changes = rule.method != "GET" || rule.path == rules::OIDC_CALLBACK;
            assert_eq!(changes, matches!(rule.trace, Write(_)), "{} {}", rule.method, rule.path);
        }
    }

    #[test]
    fn who_is_no_staff_may_nothing() {
        for role in [Role::Patient, Role::Job, Role::Schedule, Role::Operator, Role::Nobody] {
            assert!(ceiling(role).is_empty() && !is_staff(role), "{role:?}");
        }
    }
}
