//! Mail: whom it goes to, what it may say, how it is rendered, built and handed to a server.
//!
//! The way of one message: a view that keeps only what the privacy level allows
//! ([`DoseMailView`]), rendering ([`Templates`]), the message's bytes ([`OutgoingMail`]), the
//! transaction with the server ([`SmtpTransport`]) and its exact end ([`Delivery`]).

mod address;
mod calendar;
mod dose_view;
mod message;
mod payment_view;
mod privacy;
mod smtp;
mod template;
#[cfg(test)]
mod template_tests;
mod visit_view;
mod vtimezone;
mod wording;

pub(crate) use address::one_line;
pub use address::{AddressError, DisplayName, EmailAddress, MAX_ADDRESS_OCTETS, MessageId};
pub use calendar::{CalendarPart, Invitation, Method};
pub use dose_view::{
    DoseAnswer, DoseAnsweredView, DoseChoice, DoseFacts, DoseForm, DoseMailView, DosePageView, ReminderStep,
    SNOOZE_MINUTES,
};
pub use message::OutgoingMail;
pub use payment_view::{PaymentFacts, PaymentMailView};
pub use privacy::{PrivacyLevel, UnknownPrivacyLevel};
pub use smtp::{Delivery, Envelope, SmtpConfig, SmtpConfigError, SmtpTimeouts, SmtpTransport, Stage, StartTlsPolicy};
pub use template::{ACCOUNT_MAIL, ALARM, EXPORT_READY, MEDICATION_REMINDER, Rendered, TemplateError, Templates};
pub use visit_view::{
    Invited, MeetingForm, MeetingPageView, VisitChoice, VisitFacts, VisitForm, VisitMailView, VisitPageView, invitation,
};
pub use wording::{LocalMoment, Locale};
