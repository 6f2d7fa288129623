//! The messages of payments: a receipt, and what is given back.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::mail::{DisplayName, PaymentFacts, PaymentMailView, PrivacyLevel};
use crate::payments::{PAYMENT_MAIL, PaymentMail};
use crate::store::DbError;
use crate::store::payments::{self, PaymentSubject};
use crate::time::Zone;

/// Something was paid or given back.
#[derive(Debug)]
pub struct PaymentMessage;

impl Message for PaymentMessage {
    type Ask = PaymentMail;
    type Subject = PaymentSubject;

    const KIND: &'static str = PAYMENT_MAIL;
    const CATEGORY: Category = Category::Required;
    const GONE: &'static str = "the payment is no longer there";

    fn about(ask: &PaymentMail) -> About {
        let occurrence = ask.refund.map_or_else(|| "receipt".to_owned(), |refund| format!("refund/{refund}"));
        About { org: Some(ask.org), subject: ask.payment.0, occurrence }
    }

    async fn read(conn: &mut PgConnection, asked: &[PaymentMail]) -> Result<HashMap<Uuid, PaymentSubject>, DbError> {
        let ids: Vec<_> = asked.iter().map(|mail| mail.payment).collect();
        Ok(payments::subjects(conn, &ids).await?.into_iter().map(|subject| (subject.payment.0, subject)).collect())
    }

    fn recipient(subject: &PaymentSubject) -> Recipient<'_> {
        Recipient { person: subject.patient, address: subject.email.as_deref(), privacy_level: level(subject).into() }
    }

    fn stale(subject: &PaymentSubject, ask: &PaymentMail, _now: DateTime<Utc>) -> Option<&'static str> {
        if !subject.reachable {
            return Some("the patient is not to be written to");
        }
        if subject.completed_at.is_none() {
            return Some("it is not paid");
        }
        let there = ask.refund.is_none_or(|wanted| subject.refunds.iter().any(|(refund, _)| *refund == wanted));
        (!there).then_some("nothing was given back")
    }

    fn content(
        desk: Desk<'_>,
        subject: &PaymentSubject,
        ask: &PaymentMail,
        now: DateTime<Utc>,
    ) -> Result<Content, String> {
        let zone: Zone = subject.zone.parse().map_err(|_| "its zone is none")?;
        let given_back =
            |wanted| subject.refunds.iter().find(|(refund, _)| *refund == wanted).map(|(_, amount)| *amount);
        let facts = PaymentFacts {
            level: level(subject),
            clinic_name: &subject.clinic_name,
            discreet_name: subject.discreet_name.as_deref().unwrap_or("Your clinic"),
            clinic_phone: subject.clinic_phone.as_deref(),
            currency: subject.currency.parse().map_err(|_| "its currency is none")?,
            amount: subject.amount,
            covered: subject.covered,
            refund: ask.refund.and_then(given_back),
            paid_at: subject.completed_at.unwrap_or(now),
            zone: zone.tz(),
            kind: &subject.kind,
        };
        // Addresses tell as well.
        let path = if facts.level == PrivacyLevel::Discreet { "/p" } else { "/p/payments" };
        let page = desk.links.page(path).map_err(|error| error.to_string())?;
        let view = PaymentMailView::new(&facts, &page);
        let rendered = desk.templates.render_mail(PAYMENT_MAIL, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new(view.sender_name()), rendered })
    }

    /// A payment keeps nothing of its mails: the message log does.
    async fn mark(_: &mut PgConnection, _: &[(PaymentMail, Reached)], _: DateTime<Utc>) -> Result<(), DbError> {
        Ok(())
    }
}

/// The level of a proven address; any other gets the lowest.
fn level(subject: &PaymentSubject) -> PrivacyLevel {
    if subject.email_verified {
        PrivacyLevel::try_from(subject.privacy_level).unwrap_or_default()
    } else {
        PrivacyLevel::default()
    }
}
