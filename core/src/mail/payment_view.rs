//! What the templates about a payment may see: as for visits, a view keeps only what the patient's [`PrivacyLevel`] allows.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use url::Url;

use super::address::one_line;
use super::privacy::PrivacyLevel;
use super::wording::{LocalMoment, Locale};
use crate::money::Currency;

/// Everything known about a payment, before the privacy level is applied. No `Debug`: it holds personal data.
#[derive(Clone, Copy)]
pub struct PaymentFacts<'a> {
    /// What may be shown.
    pub level: PrivacyLevel,
    /// The clinic's name (from level 1).
    pub clinic_name: &'a str,
    /// The name the clinic uses where its own would tell too much (level 0).
    pub discreet_name: &'a str,
    /// The clinic's telephone number (from level 1).
    pub clinic_phone: Option<&'a str>,
    /// Of the amounts.
    pub currency: Currency,
    /// All of it (from level 1).
    pub amount: i64,
    /// What the insurance pays of it (from level 1).
    pub covered: i64,
    /// What is given back (from level 1); none: this is the receipt.
    pub refund: Option<i64>,
    /// When it was paid (from level 1).
    pub paid_at: DateTime<Utc>,
    /// The zone to show the time in.
    pub zone: Tz,
    /// What was paid for (from level 2), one of [`crate::payments::KINDS`].
    pub kind: &'a str,
}

/// The view of the mail `payment_mail`.
#[derive(Serialize)]
pub struct PaymentMailView {
    lang: &'static str,
    dir: &'static str,
    level: u8,
    sender: String,
    clinic_phone: Option<String>,
    back: bool,
    amount: Option<String>,
    refund: Option<String>,
    covered: Option<String>,
    own: Option<String>,
    when: Option<String>,
    kind: Option<&'static str>,
    page_url: String,
}

impl PaymentMailView {
    /// What may be said of it; `page` is where the patient signs in.
    #[must_use]
    pub fn new(facts: &PaymentFacts<'_>, page: &Url) -> Self {
        let amounts = facts.level >= PrivacyLevel::WhenWhere;
        let kind = match facts.kind {
            "consultation" => Some("Consultation"),
            "procedure" => Some("Procedure"),
            _ => None,
        };
        let written = |amount: i64| amounts.then(|| facts.currency.written(amount));
        let covered = (facts.covered > 0).then_some(facts.covered);
        Self {
            lang: Locale::En.lang(),
            dir: Locale::En.dir(),
            level: facts.level as u8,
            sender: one_line(if amounts { facts.clinic_name } else { facts.discreet_name }),
            clinic_phone: facts.clinic_phone.filter(|_| amounts).map(one_line),
            back: facts.refund.is_some(),
            amount: written(facts.amount),
            refund: facts.refund.and_then(written),
            covered: covered.and_then(written),
            own: covered.and_then(|covered| written(facts.amount - covered)),
            when: amounts.then(|| LocalMoment::new(facts.paid_at, facts.zone, Locale::En).to_string()),
            kind: kind.filter(|_| facts.level >= PrivacyLevel::Provider),
            page_url: page.to_string(),
        }
    }

    /// The name that the mail comes from.
    #[must_use]
    pub fn sender_name(&self) -> &str {
        &self.sender
    }
}
