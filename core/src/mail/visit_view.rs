//! What the templates about a visit, and its invitation, may see: as for doses, a view keeps only what the patient's
//! [`PrivacyLevel`] allows.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::address::{EmailAddress, one_line};
use super::calendar::{CalendarPart, Invitation, Method};
use super::privacy::PrivacyLevel;
use super::wording::{LocalMoment, Locale};

/// What a link in a mail about a visit preselects on its page. Nothing is changed by following it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitChoice {
    /// They will come.
    Confirm,
    /// They want another time.
    Move,
    /// They will not come.
    Cancel,
}

impl VisitChoice {
    /// The value of `?choice=`, in neutral words: addresses are seen by proxies and in browser histories.
    #[must_use]
    pub fn as_query(self) -> &'static str {
        match self {
            Self::Confirm => "yes",
            Self::Move => "other",
            Self::Cancel => "no",
        }
    }

    /// Reads the value of `?choice=`; `None` for anything else.
    #[must_use]
    pub fn from_query(value: &str) -> Option<Self> {
        [Self::Confirm, Self::Move, Self::Cancel].into_iter().find(|choice| choice.as_query() == value)
    }
}

/// Everything known about one visit of one patient, before the privacy level is applied. No `Debug`: it holds personal data.
#[derive(Clone, Copy)]
pub struct VisitFacts<'a> {
    /// What may be shown.
    pub level: PrivacyLevel,
    /// The language to write in.
    pub locale: Locale,
    /// The clinic's name (from level 1).
    pub clinic_name: &'a str,
    /// The name the clinic uses where its own would tell too much (level 0).
    pub discreet_name: &'a str,
    /// The clinic's telephone number (from level 1).
    pub clinic_phone: Option<&'a str>,
    /// From (level 1).
    pub starts_at: DateTime<Utc>,
    /// Until (level 1).
    pub ends_at: DateTime<Utc>,
    /// The zone to show the time in.
    pub zone: Tz,
    /// It takes place online, not at the clinic (from level 1).
    pub online: bool,
    /// Where, if at the clinic (from level 1).
    pub place: Option<&'a str>,
    /// The meeting's address, if online (from level 1).
    pub meeting_url: Option<&'a str>,
    /// With whom (from level 2).
    pub doctor: Option<&'a str>,
    /// new, follow_up, check_up, procedure or other (from level 2).
    pub kind: &'a str,
    /// The patient said that they will come.
    pub confirmed: bool,
}

/// What is left of [`VisitFacts`] at a level.
#[derive(Serialize, Clone)]
struct Permitted {
    lang: &'static str,
    dir: &'static str,
    level: u8,
    sender: String,
    clinic_phone: Option<String>,
    when: Option<String>,
    mode: Option<&'static str>,
    place: Option<String>,
    meeting_url: Option<String>,
    doctor: Option<String>,
    kind: Option<&'static str>,
    confirmed: bool,
}

fn kind_words(kind: &str) -> Option<&'static str> {
    match kind {
        "new" => Some("First visit"),
        "follow_up" => Some("Follow-up visit"),
        "check_up" => Some("Check-up"),
        "procedure" => Some("Procedure"),
        _ => None,
    }
}

impl Permitted {
    fn new(facts: &VisitFacts<'_>) -> Self {
        let when_where = facts.level >= PrivacyLevel::WhenWhere;
        let provider = facts.level >= PrivacyLevel::Provider;
        Self {
            lang: facts.locale.lang(),
            dir: facts.locale.dir(),
            level: facts.level as u8,
            sender: one_line(if when_where { facts.clinic_name } else { facts.discreet_name }),
            clinic_phone: facts.clinic_phone.filter(|_| when_where).map(one_line),
            when: when_where.then(|| LocalMoment::new(facts.starts_at, facts.zone, facts.locale).to_string()),
            mode: when_where.then_some(if facts.online { "online" } else { "in_person" }),
            place: facts.place.filter(|_| when_where && !facts.online).map(one_line),
            meeting_url: facts.meeting_url.filter(|_| when_where && facts.online).map(one_line),
            doctor: facts.doctor.filter(|_| provider).map(one_line),
            kind: kind_words(facts.kind).filter(|_| provider),
            confirmed: facts.confirmed,
        }
    }

    fn mode_words(&self) -> &'static str {
        if self.mode == Some("online") { "Online visit" } else { "In-person visit" }
    }
}

/// The view of the mail `appointment_mail`.
#[derive(Serialize)]
pub struct VisitMailView {
    #[serde(flatten)]
    permitted: Permitted,
    says: &'static str,
    /// It does not take place.
    off: bool,
    page_url: String,
    confirm_url: Option<String>,
    move_url: Option<String>,
    cancel_url: Option<String>,
}

impl VisitMailView {
    /// The view of one mail. `says` is the word of what it says: `booked`, `moved`, `cancelled`, `declined`,
    /// `day_before` or `hour_before`. `page_url` is the page of this visit, without `choice`; it is shown at every level.
    #[must_use]
    pub fn new(facts: &VisitFacts<'_>, says: &'static str, page_url: &Url) -> Self {
        let permitted = Permitted::new(facts);
        let link = |choice: VisitChoice| {
            (permitted.level > 0).then(|| {
                let mut url = page_url.clone();
                url.query_pairs_mut().append_pair("choice", choice.as_query());
                url.to_string()
            })
        };
        let (confirm_url, move_url, cancel_url) =
            (link(VisitChoice::Confirm), link(VisitChoice::Move), link(VisitChoice::Cancel));
        let off = matches!(says, "cancelled" | "declined");
        Self { permitted, says, off, page_url: page_url.to_string(), confirm_url, move_url, cancel_url }
    }

    /// The name to put into `From`: it obeys the level like everything else.
    #[must_use]
    pub fn sender_name(&self) -> &str {
        &self.permitted.sender
    }
}

/// Which event an invitation is about, and between whom.
#[derive(Clone, Copy)]
pub struct Invited<'a> {
    /// The visit.
    pub visit: Uuid,
    /// Its sequence.
    pub sequence: i32,
    /// It is agreed, not only asked for.
    pub firm: bool,
    /// Add or change it, or drop it.
    pub method: Method,
    /// When the mail is written.
    pub stamp: DateTime<Utc>,
    /// The clinic's address.
    pub organizer: &'a EmailAddress,
    /// The patient's.
    pub attendee: &'a EmailAddress,
}

/// The invitation that goes with a mail; none at level 0, for an event says when and where.
#[must_use]
pub fn invitation(facts: &VisitFacts<'_>, invited: &Invited<'_>) -> Option<CalendarPart> {
    let permitted = Permitted::new(facts);
    permitted.when.as_ref()?;
    // What stands in the mail's subject stands here too: whether to travel comes first.
    let mut summary = permitted.mode_words().to_owned();
    match (&permitted.doctor, permitted.kind) {
        (Some(doctor), _) => summary.push_str(&format!(" with {doctor}, {}", permitted.sender)),
        (None, _) => summary.push_str(&format!(", {}", permitted.sender)),
    }
    let mut description = match permitted.mode {
        _ if invited.method == Method::Cancel => "This visit does not take place.".to_owned(),
        Some("online") => "This visit takes place online. Please do not travel to the clinic.".to_owned(),
        _ => "This visit takes place in person. Please come to the clinic.".to_owned(),
    };
    if let Some(kind) = permitted.kind {
        description.push_str(&format!("\n{kind}"));
    }
    if let Some(phone) = &permitted.clinic_phone {
        description.push_str(&format!("\nTelephone: {phone}"));
    }
    let location = if facts.online { permitted.meeting_url.as_deref() } else { permitted.place.as_deref() };
    Some(
        Invitation {
            id: invited.visit,
            sequence: invited.sequence,
            method: invited.method,
            stamp: invited.stamp,
            starts_at: facts.starts_at,
            ends_at: facts.ends_at,
            zone: facts.zone,
            firm: invited.firm,
            summary: &summary,
            location,
            description: &description,
            organizer_name: &permitted.sender,
            organizer: invited.organizer,
            attendee: invited.attendee,
        }
        .part(),
    )
}

/// A time that a visit may be moved to, on the page `visit`.
#[derive(Serialize)]
struct Offered {
    value: String,
    label: String,
}

/// What the page `visit` shows beside the facts.
#[derive(Clone, Copy, Default)]
pub struct VisitForm<'a> {
    /// Where it is posted to (path); the page itself.
    pub action: &'a str,
    /// The value of its hidden field `form_token`.
    pub token: &'a str,
    /// The version that the page shows.
    pub version: i32,
    /// `open`, `cancelled` or `over`.
    pub state: &'a str,
    /// It may still be moved.
    pub can_move: bool,
    /// It may still be cancelled.
    pub can_cancel: bool,
    /// The clinic was asked for another time.
    pub asked: bool,
    /// What the mail's link preselected.
    pub preselected: Option<VisitChoice>,
    /// A sentence on what was done.
    pub done: Option<&'a str>,
    /// A sentence on why the last try changed nothing.
    pub problem: Option<&'a str>,
    /// Times that it may be moved to (shown from level 1).
    pub times: &'a [DateTime<Utc>],
}

fn one_of_many(at: DateTime<Utc>, facts: &VisitFacts<'_>) -> String {
    let shown = LocalMoment::new(at, facts.zone, facts.locale).to_string();
    shown.split_once(" (").map_or(shown.clone(), |(local, _)| local.to_owned())
}

/// The view of the page `visit`.
#[derive(Serialize)]
pub struct VisitPageView {
    #[serde(flatten)]
    permitted: Permitted,
    form_action: String,
    form_token: String,
    version: i32,
    state: String,
    can_move: bool,
    can_cancel: bool,
    asked: bool,
    preselected: Option<&'static str>,
    done: Option<String>,
    problem: Option<String>,
    zone: Option<&'static str>,
    times: Vec<Offered>,
}

impl VisitPageView {
    /// The page where a patient looks at a visit and changes it.
    #[must_use]
    pub fn new(facts: &VisitFacts<'_>, form: &VisitForm<'_>) -> Self {
        let permitted = Permitted::new(facts);
        let times = form.times.iter().filter(|_| permitted.level > 0).map(|at| Offered {
            value: at.timestamp().to_string(),
            // The zone is said once, above the list.
            label: one_of_many(*at, facts),
        });
        Self {
            zone: (permitted.level > 0).then(|| facts.zone.name()),
            times: times.collect(),
            form_action: form.action.to_owned(),
            form_token: form.token.to_owned(),
            version: form.version,
            state: form.state.to_owned(),
            can_move: form.can_move,
            can_cancel: form.can_cancel,
            asked: form.asked,
            preselected: form.preselected.map(VisitChoice::as_query),
            done: form.done.map(str::to_owned),
            problem: form.problem.map(str::to_owned),
            permitted,
        }
    }
}

/// What the page `meeting` shows beside the facts.
#[derive(Clone, Copy)]
pub struct MeetingForm<'a> {
    /// Where it is posted to (path); the page itself.
    pub action: &'a str,
    /// The value of its hidden field `form_token`.
    pub token: &'a str,
    /// `soon`, `open`, `over` or `cancelled`.
    pub state: &'a str,
    /// When it may be joined.
    pub opens_at: DateTime<Utc>,
    /// The meeting's address, for who has just joined.
    pub meeting: Option<&'a str>,
    /// A sentence on why the last try came to nothing.
    pub problem: Option<&'a str>,
}

/// The view of the page `meeting`.
#[derive(Serialize)]
pub struct MeetingPageView {
    lang: &'static str,
    dir: &'static str,
    level: u8,
    sender: String,
    clinic_phone: Option<String>,
    when: Option<String>,
    doctor: Option<String>,
    opens: Option<String>,
    form_action: String,
    form_token: String,
    state: String,
    meeting_url: Option<String>,
    problem: Option<String>,
}

impl MeetingPageView {
    /// The page where a patient joins an online visit.
    #[must_use]
    pub fn new(facts: &VisitFacts<'_>, form: &MeetingForm<'_>) -> Self {
        let permitted = Permitted::new(facts);
        Self {
            lang: permitted.lang,
            dir: permitted.dir,
            level: permitted.level,
            sender: permitted.sender,
            clinic_phone: permitted.clinic_phone,
            opens: (permitted.level > 0).then(|| LocalMoment::new(form.opens_at, facts.zone, facts.locale).to_string()),
            when: permitted.when,
            doctor: permitted.doctor,
            form_action: form.action.to_owned(),
            form_token: form.token.to_owned(),
            state: form.state.to_owned(),
            meeting_url: form.meeting.map(one_line),
            problem: form.problem.map(str::to_owned),
        }
    }
}
