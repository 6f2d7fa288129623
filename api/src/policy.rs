//! Who may do what: a table of every route, and one of every role. Nothing else in the API knows roles.
//!
//! Extractors ([`crate::access::Tenant`], [`crate::pages::session::SignedIn`] and what is built on them) look a request's route
//! up here. A route that is not in the table is answered with an error, whoever asks. A test walks every row with every role.

use axum::extract::MatchedPath;
use axum::http::{Method, request::Parts};
use pulsecal_core::store::audit::Role;
use pulsecal_core::tokens::TokenScope::{self, *};

use crate::problem::Problem;

use Trace::{Nothing, Read, Write};
use Who::{Account, Anybody, Development, LinkHolder, Ops, Page, Session, ThisMachine, Token, TokenOrPage};

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

const fn rule(method: &'static str, path: &'static str, who: Who, trace: Trace) -> Rule {
    Rule { method, path, who, trace }
}

/// Every route.
#[rustfmt::skip]
pub const RULES: [Rule; 70] = [
    rule("GET", "/", Anybody, Nothing),
    rule("GET", "/health/live", Anybody, Nothing),
    rule("GET", "/health/ready", Anybody, Nothing),
    rule("GET", "/metrics", ThisMachine, Nothing),
    rule("GET", "/assets/{name}", Anybody, Nothing),
    // The contract holds nothing of anybody: whoever writes a program against it needs no token yet.
    rule("GET", "/openapi.json", Anybody, Nothing),
    rule("GET", "/docs", Anybody, Nothing),

    rule("GET", "/v1/patients", Token(PatientsRead), Read("patient.list")),
    rule("GET", "/v1/patients/{id}", Token(PatientsRead), Read("patient.read")),
    rule("PATCH", "/v1/patients/{id}", Token(PatientsWrite), Write(&["patient.changed"])),
    rule("GET", "/v1/prescriptions", Token(PrescriptionsRead), Read("prescription.list")),
    rule("POST", "/v1/prescriptions", Token(PrescriptionsWrite), Write(&["prescription.written"])),
    rule("GET", "/v1/prescriptions/{id}", Token(PrescriptionsRead), Read("prescription.read")),
    rule("POST", "/v1/prescriptions/{id}/stop", Token(PrescriptionsWrite), Write(&["prescription.stopped"])),
    rule("GET", "/v1/medication-reminders", Token(RemindersRead), Read("reminder.list")),
    rule("POST", "/v1/medication-reminders", Token(RemindersWrite), Write(&["reminder.set"])),
    rule("GET", "/v1/medication-reminders/{id}", Token(RemindersRead), Read("reminder.read")),
    rule("PATCH", "/v1/medication-reminders/{id}", Token(RemindersWrite), Write(&["reminder.changed"])),
    rule("GET", "/v1/medication-reminders/{id}/occurrences", Token(RemindersRead), Read("dose.list")),
    rule("GET", "/v1/appointments", Token(AppointmentsRead), Read("appointment.list")),
    rule("POST", "/v1/appointments", Token(AppointmentsWrite), Write(&["appointment.booked"])),
    rule("GET", "/v1/appointments/{id}", Token(AppointmentsRead), Read("appointment.read")),
    rule("POST", "/v1/appointments/{id}/move", Token(AppointmentsWrite), Write(&["appointment.moved"])),
    rule("POST", "/v1/appointments/{id}/cancel", Token(AppointmentsWrite), Write(&["appointment.cancelled"])),
    rule("POST", "/v1/appointments/{id}/confirm", Token(AppointmentsWrite), Write(&["appointment.confirmed"])),
    rule("GET", "/v1/messages", Token(MessagesRead), Read("message.list")),
    rule("GET", "/v1/jobs", Token(JobsRead), Nothing),
    rule("GET", "/v1/exports", Token(ExportsRead), Nothing),
    rule("POST", "/v1/exports", Token(ExportsWrite), Write(&["export.request"])),
    rule("GET", "/v1/exports/{id}", Token(ExportsRead), Nothing),
    rule("DELETE", "/v1/exports/{id}", Token(ExportsWrite), Write(&["export.cancel"])),
    rule("GET", "/v1/exports/{id}/events", Token(ExportsRead), Nothing),
    rule("GET", "/v1/exports/{id}/download", Token(ExportsRead), Read("export.download")),
    rule("GET", "/files/e/{token}", TokenOrPage(ExportsRead), Read("export.download")),

    rule("GET", "/sign-in", Anybody, Nothing),
    rule("POST", "/sign-in", Anybody, Write(&["session.begun", "session.ended", "session.refused"])),
    rule("POST", "/sign-out", Session, Write(&["session.ended"])),
    rule("GET", "/forgot", Anybody, Nothing),
    rule("POST", "/forgot", Anybody, Write(&["account.reset_asked"])),
    rule("GET", "/reset/{token}", LinkHolder, Nothing),
    rule("POST", "/reset/{token}", LinkHolder, Write(&["password.reset"])),
    rule("GET", "/welcome/{token}", LinkHolder, Nothing),
    rule("POST", "/welcome/{token}", LinkHolder, Write(&["account.joined"])),
    rule("GET", "/account", Account, Nothing),
    rule("POST", "/account/password", Account, Write(&["password.changed", "password.refused"])),
    rule("POST", "/account/sessions", Account, Write(&["session.ended"])),
    rule("GET", "/account/memberships", Account, Nothing),
    rule("POST", "/account/memberships", Account, Write(&["session.begun"])),

    rule("GET", "/p/d/{token}", LinkHolder, Read("dose.read")),
    rule("POST", "/p/d/{token}", LinkHolder, Write(&["dose.taken", "dose.skipped", "dose.snoozed"])),
    rule("GET", "/p/d/{token}/done", LinkHolder, Read("dose.read")),
    rule("GET", "/p/a/{token}", LinkHolder, Read("appointment.read")),
    rule("POST", "/p/a/{token}", LinkHolder, Write(&[
        "appointment.confirmed", "appointment.move_asked", "appointment.moved", "appointment.cancelled",
    ])),

    rule("GET", "/staff", Page(None), Nothing),
    rule("GET", "/staff/exports", Page(Some(ExportsRead)), Nothing),
    rule("POST", "/staff/exports", Page(Some(ExportsWrite)), Write(&["export.request"])),
    rule("POST", "/staff/exports/{id}/cancel", Page(Some(ExportsWrite)), Write(&["export.cancel"])),
    rule("GET", "/staff/exports/{id}/events", Page(Some(ExportsRead)), Nothing),

    // Ids and numbers only, of every organization.
    rule("GET", "/ops", Ops(JobsRead), Nothing),
    rule("GET", "/ops/audit", Ops(JobsRead), Nothing),
    rule("GET", "/ops/jobs", Ops(JobsRead), Nothing),
    rule("GET", "/ops/jobs/{id}", Ops(JobsRead), Nothing),
    rule("POST", "/ops/jobs/{id}/{verb}", Ops(OpsWrite), Write(&["job.retry", "message.retry", "job.cancel"])),
    rule("POST", "/ops/queues/{queue}/{verb}", Ops(OpsWrite), Write(&["queue.pause", "queue.resume"])),
    rule("GET", "/ops/schedules", Ops(JobsRead), Nothing),
    rule("POST", "/ops/schedules/{name}/{verb}", Ops(OpsWrite), Write(&[
        "schedule.pause", "schedule.resume", "schedule.run_now",
    ])),

    // Mail that was sent to nobody.
    rule("GET", "/dev/inbox", Development, Nothing),
    rule("GET", "/dev/inbox/{id}", Development, Nothing),
    rule("GET", "/dev/inbox/{id}/html", Development, Nothing),
    rule("GET", "/dev/inbox/{id}/raw", Development, Nothing),
];

/// What a role may do at most, whatever the token that somebody came with says. Who signed in with a password may all of it.
pub fn ceiling(role: Role) -> &'static [TokenScope] {
    match role {
        Role::Doctor | Role::Nurse | Role::Admin => &[
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
        ],
        Role::Receptionist => &[PatientsRead, PatientsWrite, AppointmentsRead, AppointmentsWrite, MessagesRead],
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
            Anybody | ThisMachine | Development | LinkHolder | Session | Account | Page(None) => None,
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
    use super::*;

    #[test]
    fn a_route_has_one_rule() {
        for (at, rule) in RULES.iter().enumerate() {
            let again = RULES[at + 1..].iter().any(|other| (other.method, other.path) == (rule.method, rule.path));
            assert!(!again, "{} {}", rule.method, rule.path);
        }
    }

    #[test]
    fn what_changes_something_says_so_and_a_get_never_does() {
        for rule in RULES {
            assert_eq!(rule.method == "GET", !matches!(rule.trace, Write(_)), "{} {}", rule.method, rule.path);
        }
    }

    #[test]
    fn who_is_no_staff_may_nothing() {
        for role in [Role::Patient, Role::Job, Role::Schedule, Role::Operator, Role::Nobody] {
            assert!(ceiling(role).is_empty() && !is_staff(role), "{role:?}");
        }
    }
}
