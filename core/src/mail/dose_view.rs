//! What the templates about one dose may see.
//!
//! A view is built from everything that is known and keeps only what the patient's
//! [`PrivacyLevel`] allows, so that a template cannot show what it never got.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use url::Url;

use super::address::one_line;
use super::privacy::PrivacyLevel;
use super::wording::{LocalMoment, Locale};

/// Which of a dose's reminders a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReminderStep {
    /// The reminder when the dose is due.
    First = 0,
    /// The first nudge, no answer having come.
    Nudge = 1,
    /// The last nudge.
    LastCall = 2,
}

impl ReminderStep {
    /// The step with this number, counted from 0; all beyond the second are the last call.
    #[must_use]
    pub fn from_index(index: u8) -> Self {
        match index {
            0 => Self::First,
            1 => Self::Nudge,
            _ => Self::LastCall,
        }
    }
}

/// The answer a link in a mail leads to. Links only preselect; nothing is recorded by a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoseChoice {
    /// The dose was taken.
    Taken,
    /// The dose is left out.
    Skip,
    /// Ask again later.
    Snooze,
}

impl DoseChoice {
    /// The value of `?choice=`: `done`, `skip` or `later`. Neutral words, since an address is seen
    /// by proxies and in browser histories.
    #[must_use]
    pub fn as_query(self) -> &'static str {
        match self {
            Self::Taken => "done",
            Self::Skip => "skip",
            Self::Snooze => "later",
        }
    }

    /// Reads the value of `?choice=`; `None` for anything else.
    #[must_use]
    pub fn from_query(value: &str) -> Option<Self> {
        [Self::Taken, Self::Skip, Self::Snooze].into_iter().find(|choice| choice.as_query() == value)
    }
}

/// The answer that the form on the page sends as `choice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoseAnswer {
    /// `done`: the dose was taken.
    Taken,
    /// `skip`: the dose is left out.
    Skip,
    /// `later-10`, `later-30` or `later-60`: ask again after so many minutes.
    Snooze(u16),
}

/// The snoozes that are offered, in minutes.
pub const SNOOZE_MINUTES: [u16; 3] = [10, 30, 60];

impl DoseAnswer {
    /// Reads the form's `choice`; `None` for anything that the page does not offer.
    #[must_use]
    pub fn from_form(value: &str) -> Option<Self> {
        match value {
            "done" => Some(Self::Taken),
            "skip" => Some(Self::Skip),
            other => {
                let minutes = other.strip_prefix("later-")?;
                SNOOZE_MINUTES.into_iter().find(|m| m.to_string() == minutes).map(Self::Snooze)
            }
        }
    }

    /// The link choice this answer belongs to.
    #[must_use]
    pub fn choice(self) -> DoseChoice {
        match self {
            Self::Taken => DoseChoice::Taken,
            Self::Skip => DoseChoice::Skip,
            Self::Snooze(_) => DoseChoice::Snooze,
        }
    }
}

/// Everything known about one dose of one patient, before the privacy level is applied.
/// No `Debug`: it holds personal data.
#[derive(Clone, Copy)]
pub struct DoseFacts<'a> {
    /// What may be shown.
    pub level: PrivacyLevel,
    /// Which reminder it is.
    pub step: ReminderStep,
    /// The language to write in.
    pub locale: Locale,
    /// The clinic's name (from level 1).
    pub clinic_name: &'a str,
    /// The name the clinic uses where its own would tell too much (level 0).
    pub discreet_name: &'a str,
    /// The clinic's telephone number (from level 1).
    pub clinic_phone: Option<&'a str>,
    /// When the dose is due (from level 1).
    pub due_at: DateTime<Utc>,
    /// The zone to show the time in.
    pub zone: Tz,
    /// Who prescribed (from level 2).
    pub prescriber: Option<&'a str>,
    /// The medicine's name (level 3).
    pub medicine: &'a str,
    /// How much of it, e.g. "1 tablet" (level 3).
    pub dosage: &'a str,
}

/// What is left of [`DoseFacts`] at a level.
#[derive(Serialize, Clone)]
struct Permitted {
    lang: &'static str,
    dir: &'static str,
    level: u8,
    step: u8,
    sender: String,
    clinic_phone: Option<String>,
    when: Option<String>,
    prescriber: Option<String>,
    medicine: Option<String>,
    dosage: Option<String>,
}

impl Permitted {
    fn new(facts: &DoseFacts<'_>) -> Self {
        let from = |least: PrivacyLevel| facts.level >= least;
        let when_where = from(PrivacyLevel::WhenWhere);
        let provider = from(PrivacyLevel::Provider);
        let medicine = from(PrivacyLevel::Medicine);
        let sender = if when_where { facts.clinic_name } else { facts.discreet_name };
        Self {
            lang: facts.locale.lang(),
            dir: facts.locale.dir(),
            level: facts.level as u8,
            step: facts.step as u8,
            // One line each: a line break in a name must not forge a line of the text part.
            sender: one_line(sender),
            clinic_phone: facts.clinic_phone.filter(|_| when_where).map(one_line),
            when: when_where.then(|| LocalMoment::new(facts.due_at, facts.zone, facts.locale).to_string()),
            prescriber: facts.prescriber.filter(|_| provider).map(one_line),
            medicine: medicine.then(|| one_line(facts.medicine)),
            dosage: medicine.then(|| one_line(facts.dosage)),
        }
    }
}

/// The view of the mail `medication_reminder`.
#[derive(Serialize)]
pub struct DoseMailView {
    // The fields of `Permitted` again: serde's flatten would cost more than the whole rendering.
    lang: &'static str,
    dir: &'static str,
    level: u8,
    step: u8,
    sender: String,
    clinic_phone: Option<String>,
    when: Option<String>,
    prescriber: Option<String>,
    medicine: Option<String>,
    dosage: Option<String>,
    answer_url: String,
    done_url: Option<String>,
    skip_url: Option<String>,
    later_url: Option<String>,
}

impl DoseMailView {
    /// The view of one reminder. `answer_url` is the page for this dose, without `choice`; it must
    /// be neutral itself, because it is shown at every level.
    #[must_use]
    pub fn new(facts: &DoseFacts<'_>, answer_url: &Url) -> Self {
        let Permitted { lang, dir, level, step, sender, clinic_phone, when, prescriber, medicine, dosage } =
            Permitted::new(facts);
        let link = |choice: DoseChoice| {
            (facts.level >= PrivacyLevel::WhenWhere).then(|| {
                let glue = if answer_url.query().is_some() { '&' } else { '?' };
                format!("{answer_url}{glue}choice={}", choice.as_query())
            })
        };
        Self {
            lang,
            dir,
            level,
            step,
            sender,
            clinic_phone,
            when,
            prescriber,
            medicine,
            dosage,
            answer_url: answer_url.to_string(),
            done_url: link(DoseChoice::Taken),
            skip_url: link(DoseChoice::Skip),
            later_url: link(DoseChoice::Snooze),
        }
    }

    /// The name to put into `From`: it obeys the level like everything else.
    #[must_use]
    pub fn sender_name(&self) -> &str {
        &self.sender
    }
}

/// The form on the page `dose_answer`.
#[derive(Clone, Copy)]
pub struct DoseForm<'a> {
    /// Where it is posted to (path).
    pub action: &'a str,
    /// The value of its hidden field `form_token`.
    pub token: &'a str,
    /// The answer that the mail's link preselected: its button is shown first and emphasised.
    pub preselected: Option<DoseChoice>,
    /// A sentence on why the last try was not recorded.
    pub problem: Option<&'a str>,
}

/// The view of the page `dose_answer`.
#[derive(Serialize)]
pub struct DosePageView {
    #[serde(flatten)]
    permitted: Permitted,
    form_action: String,
    form_token: String,
    preselected: Option<&'static str>,
    problem: Option<String>,
    snooze_minutes: [u16; 3],
}

impl DosePageView {
    /// The page where a patient answers for one dose.
    #[must_use]
    pub fn new(facts: &DoseFacts<'_>, form: DoseForm<'_>) -> Self {
        Self {
            permitted: Permitted::new(facts),
            form_action: form.action.to_owned(),
            form_token: form.token.to_owned(),
            preselected: form.preselected.map(DoseChoice::as_query),
            problem: form.problem.map(str::to_owned),
            snooze_minutes: SNOOZE_MINUTES,
        }
    }
}

/// The view of the page `dose_answered`.
#[derive(Serialize)]
pub struct DoseAnsweredView {
    #[serde(flatten)]
    permitted: Permitted,
    answer: &'static str,
    remind_at: Option<String>,
    change_url: Option<String>,
}

impl DoseAnsweredView {
    /// The page that says what was recorded. `remind_at` is when the next reminder comes, for a
    /// snooze (shown from level 1); `change_url` leads back to the form while the answer can still be changed.
    #[must_use]
    pub fn new(
        facts: &DoseFacts<'_>,
        answer: DoseAnswer,
        remind_at: Option<DateTime<Utc>>,
        change_url: Option<&str>,
    ) -> Self {
        Self {
            permitted: Permitted::new(facts),
            answer: answer.choice().as_query(),
            remind_at: remind_at
                .filter(|_| facts.level >= PrivacyLevel::WhenWhere)
                .map(|at| LocalMoment::new(at, facts.zone, facts.locale).to_string()),
            change_url: change_url.map(str::to_owned),
        }
    }
}
