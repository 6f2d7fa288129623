//! Rendering: all templates are compiled into the program and parsed once, at start.

use std::sync::Arc;

use serde::Serialize;
use tera::{Context, Tera};

use super::address::one_line;
use super::calendar::CalendarPart;

/// The kind of the mails to owners of accounts.
pub const ACCOUNT_MAIL: &str = "account_mail";
/// The kind of the mail that tells operators of an alarm.
pub const ALARM: &str = "alarm";
/// The kind of the mail that reminds of a dose.
pub const MEDICATION_REMINDER: &str = "medication_reminder";
/// The kind of the mail that says that an export is ready.
pub const EXPORT_READY: &str = "export_ready";

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../templates/", $name)))),*]
    };
}

/// Every template there is. A mail is three of them, `mail/<kind>/{subject.txt,body.txt,body.html}`;
/// a page is `pages/<name>.html`.
pub(super) const SOURCES: &[(&str, &str)] = &embedded![
    "mail/layout.html",
    "mail/account_mail/subject.txt",
    "mail/account_mail/body.txt",
    "mail/account_mail/body.html",
    "mail/alarm/subject.txt",
    "mail/alarm/body.txt",
    "mail/alarm/body.html",
    "mail/appointment_mail/subject.txt",
    "mail/appointment_mail/body.txt",
    "mail/appointment_mail/body.html",
    "mail/export_ready/subject.txt",
    "mail/export_ready/body.txt",
    "mail/export_ready/body.html",
    "mail/join_decision/subject.txt",
    "mail/join_decision/body.txt",
    "mail/join_decision/body.html",
    "mail/medication_reminder/subject.txt",
    "mail/medication_reminder/body.txt",
    "mail/medication_reminder/body.html",
    "mail/payment_mail/subject.txt",
    "mail/payment_mail/body.txt",
    "mail/payment_mail/body.html",
    "pages/layout.html",
    "pages/dose_answer.html",
    "pages/dose_answered.html",
    "pages/visit.html",
    "pages/meeting.html",
    "pages/link_problem.html",
    "pages/error.html",
    "pages/inbox.html",
    "pages/inbox_message.html",
    "pages/desk.html",
    "pages/sign_in.html",
    "pages/forgot.html",
    "pages/reset.html",
    "pages/welcome.html",
    "pages/account.html",
    "pages/memberships.html",
    "pages/sign_in_code.html",
    "pages/sign_in_oidc.html",
    "pages/sign_up.html",
    "pages/confirm_address.html",
    "pages/lobby.html",
    "pages/account_token.html",
    "pages/account_tokens.html",
    "pages/second_factor.html",
    "pages/recovery_codes.html",
    "pages/staff_exports.html",
    "pages/staff.html",
    "pages/staff_agenda.html",
    "pages/staff_patients.html",
    "pages/staff_patient.html",
    "pages/staff_visit.html",
    "pages/staff_messages.html",
    "pages/visit_tags.html",
    "pages/patient_visits.html",
    "pages/patient_medicines.html",
    "pages/patient_payments.html",
    "pages/patient_records.html",
    "pages/patient_data.html",
    "pages/accesses.html",
    "pages/ops.html",
    "pages/ops_jobs.html",
    "pages/ops_job.html",
    "pages/ops_schedules.html",
    "pages/ops_audit.html",
    "pages/docs.html",
];

/// Why a template could not be parsed or rendered. Names the template, never what it was given.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A template does not parse, or refers to one that is missing.
    #[error("a template does not parse: {0}")]
    Parse(String),
    /// There is no such mail or page.
    #[error("there is no template {0}")]
    Unknown(String),
    /// The view lacks a value that the template uses, or cannot be serialised.
    #[error("template {0} does not fit its view")]
    Render(String),
}

/// A rendered mail. No `Debug`: it holds what only its recipient may read.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line, without control characters.
    pub subject: String,
    /// The plain text part, complete on its own.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// What a calendar reads of it, if it is about an event.
    pub calendar: Option<CalendarPart>,
}

/// All parsed templates. A clone is cheap and shares them.
#[derive(Clone)]
pub struct Templates {
    tera: Arc<Tera>,
}

impl Templates {
    /// Parses every template. Values are escaped in those that end in `.html`, and only there.
    ///
    /// # Errors
    /// [`TemplateError::Parse`] if one does not parse: a fault of the program, to stop the start on.
    pub fn new() -> Result<Self, TemplateError> {
        let mut tera = Tera::new();
        tera.autoescape_on([".html"]);
        tera.add_raw_templates(SOURCES.iter().copied()).map_err(|error| TemplateError::Parse(error.to_string()))?;
        Ok(Self { tera: Arc::new(tera) })
    }

    /// Renders the three parts of the mail `kind`.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`] for a kind without templates, [`TemplateError::Render`] if the
    /// view lacks something that they use.
    pub fn render_mail<V: Serialize>(&self, kind: &str, view: &V) -> Result<Rendered, TemplateError> {
        let part = |file: &str| format!("mail/{kind}/{file}");
        let mut context = context_of(kind, view)?;
        let subject = one_line(&self.render(&part("subject.txt"), &context)?);
        // The HTML part's title is the subject, so that the two cannot disagree.
        context.insert("subject", &subject);
        Ok(Rendered {
            subject,
            text: self.render(&part("body.txt"), &context)?,
            html: self.render(&part("body.html"), &context)?,
            calendar: None,
        })
    }

    /// Renders `pages/<name>.html`. `csp_nonce` is what the response's Content-Security-Policy
    /// allows as `style-src 'nonce-…'`, new for every response.
    ///
    /// # Errors
    /// As [`Templates::render_mail`].
    pub fn render_page<V: Serialize>(&self, name: &str, csp_nonce: &str, view: &V) -> Result<String, TemplateError> {
        let mut context = context_of(name, view)?;
        context.insert("csp_nonce", csp_nonce);
        self.render(&format!("pages/{name}.html"), &context)
    }

    fn render(&self, name: &str, context: &Context) -> Result<String, TemplateError> {
        self.tera.render(name, context).map_err(|error| match error.kind() {
            tera::ErrorKind::TemplateNotFound(_) => TemplateError::Unknown(name.to_owned()),
            // tera quotes the values it stumbled over, so its own text stays out of the error.
            _ => TemplateError::Render(name.to_owned()),
        })
    }
}

fn context_of<V: Serialize>(name: &str, view: &V) -> Result<Context, TemplateError> {
    Context::from_serialize(view).map_err(|_may_quote_values| TemplateError::Render(name.to_owned()))
}
