//! The table of routes: who each is for, and what it leaves in the audit trail.

use pulsecal_core::tokens::TokenScope::*;

use super::Trace::{Nothing, Read, Write};
use super::Who::{
    Account, Anybody, Development, LinkHolder, Ops, Page, Patient, Session, ThisMachine, Token, TokenOrPage,
};
use super::{Rule, Trace, Who};

const fn rule(method: &'static str, path: &'static str, who: Who, trace: Trace) -> Rule {
    Rule { method, path, who, trace }
}

/// The one GET that changes something.
pub(super) const OIDC_CALLBACK: &str = "/sign-in/oidc/callback";

/// Every route.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule("GET", "/", Anybody, Nothing),
    rule("GET", "/health/live", Anybody, Nothing),
    rule("GET", "/health/ready", Anybody, Nothing),
    rule("GET", "/metrics", ThisMachine, Nothing),
    rule("GET", "/assets/{name}", Anybody, Nothing),
    // The contract holds nothing of anybody: whoever writes a program against it needs no token yet.
    rule("GET", "/openapi.json", Anybody, Nothing),
    rule("GET", "/docs", Anybody, Nothing),

    // Programs that show who they are by what they sign; RFC 6749 says how they are answered.
    rule("POST", "/oauth/token", Anybody, Write(&["token.granted"])),
    rule("GET", "/.well-known/smart-configuration", Anybody, Nothing),

    rule("GET", "/v1/patients", Token(PatientsRead), Read("patient.list")),
    rule("POST", "/v1/patients", Token(PatientsWrite), Write(&["patient.registered"])),
    rule("GET", "/v1/patients/{id}", Token(PatientsRead), Read("patient.read")),
    rule("PATCH", "/v1/patients/{id}", Token(PatientsWrite), Write(&["patient.changed"])),
    rule("GET", "/v1/patients/{id}/accesses", Token(AuditRead), Read("access.list")),
    rule("GET", "/v1/patients/{id}/emergency-contacts", Token(ContactsRead), Read("contact.list")),
    rule("POST", "/v1/patients/{id}/emergency-contacts", Token(ContactsWrite), Write(&["contact.added"])),
    rule("GET", "/v1/emergency-contacts/{id}", Token(ContactsRead), Read("contact.read")),
    rule("PATCH", "/v1/emergency-contacts/{id}", Token(ContactsWrite), Write(&["contact.changed"])),
    rule("POST", "/v1/emergency-contacts/{id}/consent", Token(ContactsWrite), Write(&["contact.consent_given"])),
    rule("POST", "/v1/emergency-contacts/{id}/withdraw-consent", Token(ContactsWrite), Write(&["contact.consent_withdrawn"])),
    rule("POST", "/v1/emergency-contacts/{id}/remove", Token(ContactsWrite), Write(&["contact.removed"])),
    // Of patients whom one treats; others take a broken glass.
    rule("POST", "/v1/patients/{id}/break-glass", Token(RecordsRead), Write(&["glass.broken"])),
    rule("GET", "/v1/medical-records", Token(RecordsRead), Read("record.list")),
    rule("POST", "/v1/medical-records", Token(RecordsWrite), Write(&["record.written"])),
    rule("GET", "/v1/medical-records/{id}", Token(RecordsRead), Read("record.read")),
    rule("PATCH", "/v1/medical-records/{id}", Token(RecordsWrite), Write(&["record.changed"])),
    rule("POST", "/v1/medical-records/{id}/withdraw", Token(RecordsWrite), Write(&["record.withdrawn"])),
    rule("GET", "/v1/prescriptions", Token(PrescriptionsRead), Read("prescription.list")),
    rule("POST", "/v1/prescriptions", Token(PrescriptionsWrite), Write(&["prescription.written"])),
    rule("GET", "/v1/prescriptions/{id}", Token(PrescriptionsRead), Read("prescription.read")),
    rule("POST", "/v1/prescriptions/{id}/stop", Token(PrescriptionsWrite), Write(&["prescription.stopped"])),
    rule("GET", "/v1/medication-reminders", Token(RemindersRead), Read("reminder.list")),
    rule("POST", "/v1/medication-reminders", Token(RemindersWrite), Write(&["reminder.set"])),
    rule("GET", "/v1/medication-reminders/{id}", Token(RemindersRead), Read("reminder.read")),
    rule("PATCH", "/v1/medication-reminders/{id}", Token(RemindersWrite), Write(&["reminder.changed"])),
    rule("GET", "/v1/medication-reminders/{id}/occurrences", Token(RemindersRead), Read("dose.list")),
    rule("POST", "/v1/occurrences/{id}/taken", Token(RemindersWrite), Write(&["dose.taken"])),
    rule("POST", "/v1/occurrences/{id}/skipped", Token(RemindersWrite), Write(&["dose.skipped"])),
    rule("GET", "/v1/organization", Token(OrganizationRead), Nothing),
    rule("PATCH", "/v1/organization", Token(OrganizationWrite), Write(&["organization.changed"])),
    rule("GET", "/v1/members", Token(MembersRead), Nothing),
    rule("POST", "/v1/members", Token(MembersWrite), Write(&["member.added"])),
    rule("GET", "/v1/members/{id}", Token(MembersRead), Nothing),
    rule("PATCH", "/v1/members/{id}", Token(MembersWrite), Write(&["member.changed"])),
    rule("POST", "/v1/members/{id}/role", Token(MembersWrite), Write(&["member.role_changed"])),
    rule("POST", "/v1/members/{id}/invite", Token(MembersWrite), Write(&["member.invited"])),
    rule("POST", "/v1/members/{id}/leave", Token(MembersWrite), Write(&["member.left"])),
    rule("POST", "/v1/members/{id}/return", Token(MembersWrite), Write(&["member.returned"])),
    rule("POST", "/v1/patients/{id}/invite", Token(PatientsWrite), Write(&["patient.invited"])),
    rule("GET", "/v1/join-requests", Token(JoinsDecide), Nothing),
    rule("POST", "/v1/join-requests", Token(JoinsAsk), Write(&["join.asked"])),
    rule("GET", "/v1/join-requests/mine", Token(JoinsAsk), Nothing),
    rule("GET", "/v1/join-requests/{id}", Token(JoinsDecide), Nothing),
    rule("POST", "/v1/join-requests/{id}/withdraw", Token(JoinsAsk), Write(&["join.withdrawn"])),
    rule("POST", "/v1/join-requests/{id}/approve", Token(JoinsDecide), Write(&["join.approved"])),
    rule("POST", "/v1/join-requests/{id}/deny", Token(JoinsDecide), Write(&["join.denied"])),
    rule("GET", "/v1/appointments", Token(AppointmentsRead), Read("appointment.list")),
    rule("POST", "/v1/appointments", Token(AppointmentsWrite), Write(&["appointment.booked"])),
    rule("GET", "/v1/appointments/{id}", Token(AppointmentsRead), Read("appointment.read")),
    rule("POST", "/v1/appointments/{id}/move", Token(AppointmentsWrite), Write(&["appointment.moved"])),
    rule("POST", "/v1/appointments/{id}/cancel", Token(AppointmentsWrite), Write(&["appointment.cancelled"])),
    rule("POST", "/v1/appointments/{id}/confirm", Token(AppointmentsWrite), Write(&["appointment.confirmed"])),
    rule("POST", "/v1/appointments/{id}/check-in", Token(AppointmentsWrite), Write(&["appointment.checked_in"])),
    rule("POST", "/v1/appointments/{id}/start", Token(AppointmentsWrite), Write(&["appointment.started"])),
    rule("POST", "/v1/appointments/{id}/complete", Token(AppointmentsWrite), Write(&["appointment.completed"])),
    rule("POST", "/v1/appointments/{id}/decline", Token(AppointmentsWrite), Write(&["appointment.declined"])),
    rule("POST", "/v1/appointments/{id}/no-show", Token(AppointmentsWrite), Write(&["appointment.no_show"])),
    rule("GET", "/v1/appointments/{id}/session", Token(AppointmentsRead), Read("session.read")),
    rule("POST", "/v1/appointments/{id}/session/join", Token(AppointmentsWrite), Write(&["session.joined"])),
    rule("GET", "/v1/chat-rooms", Token(ChatRead), Nothing),
    rule("POST", "/v1/chat-rooms", Token(ChatWrite), Write(&["chat.opened"])),
    rule("GET", "/v1/chat-rooms/{id}", Token(ChatRead), Nothing),
    rule("PATCH", "/v1/chat-rooms/{id}", Token(ChatWrite), Write(&["chat.changed"])),
    rule("GET", "/v1/chat-rooms/{id}/messages", Token(ChatRead), Nothing),
    rule("POST", "/v1/chat-rooms/{id}/messages", Token(ChatWrite), Write(&["chat.said"])),
    rule("POST", "/v1/chat-rooms/{id}/read", Token(ChatRead), Write(&["chat.read"])),
    rule("GET", "/v1/chat-rooms/{id}/live", Token(ChatRead), Nothing),
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
    rule("POST", "/sign-in", Anybody, Write(&["session.begun", "session.ended", "session.refused", "second_factor.asked", "lobby.begun"])),
    // Whoever has the cookie of a right password: without it there is nothing to see.
    rule("GET", "/sign-in/code", Anybody, Nothing),
    rule("POST", "/sign-in/code", Anybody, Write(&["session.begun", "second_factor.recovered", "second_factor.refused", "lobby.begun"])),
    rule("GET", "/sign-in/oidc", Anybody, Nothing),
    // Whoever has the cookie that this browser left with. The answer of another server comes by GET.
    rule("GET", OIDC_CALLBACK, Anybody, Write(&["session.begun", "session.refused", "second_factor.asked", "account.linked", "lobby.begun"])),
    rule("POST", "/sign-out", Session, Write(&["session.ended"])),
    rule("GET", "/sign-up", Anybody, Nothing),
    rule("POST", "/sign-up", Anybody, Write(&["account.sign_up_asked"])),
    rule("GET", "/sign-up/{token}", LinkHolder, Nothing),
    rule("POST", "/sign-up/{token}", LinkHolder, Write(&["account.signed_up", "account.sign_up_refused"])),
    // Whoever has the cookie of an account without a place.
    rule("GET", "/lobby", Anybody, Nothing),
    rule("POST", "/lobby/leave", Anybody, Write(&["lobby.ended"])),
    rule("GET", "/forgot", Anybody, Nothing),
    rule("POST", "/forgot", Anybody, Write(&["account.reset_asked"])),
    rule("GET", "/reset/{token}", LinkHolder, Nothing),
    rule("POST", "/reset/{token}", LinkHolder, Write(&["password.reset"])),
    rule("GET", "/welcome/{token}", LinkHolder, Nothing),
    rule("POST", "/welcome/{token}", LinkHolder, Write(&["account.joined"])),
    rule("GET", "/account", Account, Nothing),
    rule("POST", "/account/password", Account, Write(&["password.changed", "password.refused"])),
    rule("POST", "/account/sessions", Account, Write(&["session.ended"])),
    rule("GET", "/account/second-factor", Account, Nothing),
    rule("POST", "/account/second-factor", Account, Write(&["second_factor.begun", "password.refused"])),
    rule("POST", "/account/second-factor/confirm", Account, Write(&["second_factor.on", "second_factor.refused"])),
    rule("POST", "/account/second-factor/codes", Account, Write(&["second_factor.codes_made", "password.refused"])),
    rule("POST", "/account/second-factor/off", Account, Write(&["second_factor.off", "password.refused"])),
    rule("GET", "/account/memberships", Account, Nothing),
    rule("POST", "/account/memberships", Account, Write(&["session.begun"])),

    rule("GET", "/p/d/{token}", LinkHolder, Read("dose.read")),
    rule("POST", "/p/d/{token}", LinkHolder, Write(&["dose.taken", "dose.skipped", "dose.snoozed"])),
    rule("GET", "/p/d/{token}/done", LinkHolder, Read("dose.read")),
    rule("GET", "/p/t/{token}", LinkHolder, Read("session.read")),
    rule("POST", "/p/t/{token}", LinkHolder, Write(&["session.joined"])),
    rule("GET", "/p/a/{token}", LinkHolder, Read("appointment.read")),
    rule("POST", "/p/a/{token}", LinkHolder, Write(&[
        "appointment.confirmed", "appointment.move_asked", "appointment.moved", "appointment.cancelled",
    ])),

    rule("GET", "/p", Patient, Read("appointment.list")),
    rule("GET", "/p/medicines", Patient, Read("prescription.list")),
    rule("GET", "/p/records", Patient, Read("record.list")),
    rule("GET", "/p/accesses", Patient, Read("access.list")),
    rule("GET", "/p/data", Patient, Read("patient.read")),
    rule("GET", "/p/data/file", Patient, Read("patient.fetched")),

    rule("GET", "/staff", Page(None), Nothing),
    rule("GET", "/staff/agenda", Page(Some(AppointmentsRead)), Read("appointment.list")),
    rule("GET", "/staff/appointments/{id}", Page(Some(AppointmentsRead)), Read("appointment.read")),
    rule("POST", "/staff/appointments/{id}/confirm", Page(Some(AppointmentsWrite)), Write(&["appointment.confirmed"])),
    rule("POST", "/staff/appointments/{id}/move", Page(Some(AppointmentsWrite)), Write(&["appointment.moved"])),
    rule("POST", "/staff/appointments/{id}/cancel", Page(Some(AppointmentsWrite)), Write(&["appointment.cancelled"])),
    rule("GET", "/staff/patients", Page(Some(PatientsRead)), Read("patient.list")),
    // What of a patient it shows depends on the scopes of who looks.
    rule("GET", "/staff/patients/{id}", Page(Some(PatientsRead)), Read("patient.read")),
    rule("GET", "/staff/patients/{id}/accesses", Page(Some(AuditRead)), Read("access.list")),
    rule("POST", "/staff/patients/{id}/appointments", Page(Some(AppointmentsWrite)), Write(&["appointment.booked"])),
    rule("GET", "/staff/messages", Page(Some(MessagesRead)), Read("message.list")),
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
