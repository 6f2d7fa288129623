//! The messages of visits.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::links::{Links, VisitLink};
use crate::mail::{
    DisplayName, EmailAddress, Invited, Locale, Method, PrivacyLevel, VisitFacts, VisitMailView, invitation,
};
use crate::store::DbError;
use crate::store::visits::{self, VisitSubject};
use crate::time::Zone;
use crate::visits::{APPOINTMENT_MAIL, Says, VisitMail, stale};

/// The link of a visit lasts so long after it: a visit may be moved far, and its oldest mail still leads to it.
const LINK_DAYS: i64 = 400;

/// A visit was booked, moved or cancelled, or comes soon.
#[derive(Debug)]
pub struct VisitMessage;

impl Message for VisitMessage {
    type Ask = VisitMail;
    type Subject = VisitSubject;

    const KIND: &'static str = APPOINTMENT_MAIL;
    const CATEGORY: Category = Category::Required;
    const GONE: &'static str = "the visit is no longer there";

    fn about(ask: &VisitMail) -> About {
        let occurrence = format!("{}/{}", ask.sequence, ask.says.as_str());
        About { org: Some(ask.org), subject: ask.visit.0, occurrence }
    }

    async fn read(conn: &mut PgConnection, asked: &[VisitMail]) -> Result<HashMap<Uuid, VisitSubject>, DbError> {
        let ids: Vec<_> = asked.iter().map(|mail| mail.visit).collect();
        Ok(visits::subjects(conn, &ids).await?.into_iter().map(|subject| (subject.visit.id.0, subject)).collect())
    }

    fn recipient(subject: &VisitSubject) -> Recipient<'_> {
        Recipient {
            person: subject.visit.patient,
            address: subject.email.as_deref(),
            privacy_level: level(subject).into(),
        }
    }

    fn stale(subject: &VisitSubject, ask: &VisitMail, now: DateTime<Utc>) -> Option<&'static str> {
        stale(&subject.visit, subject.reachable, subject.last_reminder, ask, now)
    }

    fn content(desk: Desk<'_>, subject: &VisitSubject, ask: &VisitMail, now: DateTime<Utc>) -> Result<Content, String> {
        let zone: Zone = subject.visit.zone.parse().map_err(|_| "its zone is none")?;
        let link = VisitLink { org: subject.visit.org, visit: subject.visit.id };
        let until = subject.visit.ends_at.max(now) + TimeDelta::days(LINK_DAYS);
        let meeting = meeting_page(desk.links, subject, now).map_err(|error| error.to_string())?;
        let mut facts = visit_facts(subject, zone);
        facts.meeting_url = meeting.as_ref().map(url::Url::as_str).or(facts.meeting_url);
        let page = desk.links.visit_page(link, until).map_err(|error| error.to_string())?;
        let view = VisitMailView::new(&facts, ask.says.as_str(), &page);
        let mut rendered = desk.templates.render_mail(APPOINTMENT_MAIL, &view).map_err(|error| error.to_string())?;
        let method = match ask.says {
            Says::Booked | Says::Moved => Some(Method::Request),
            Says::Cancelled | Says::Declined => Some(Method::Cancel),
            // Nothing has changed since the invitation.
            Says::DayBefore | Says::HourBefore => None,
        };
        if let Some(method) = method {
            let address = subject.email.as_deref().ok_or("there is no address to send it to")?;
            let attendee = EmailAddress::parse(address).map_err(|error| error.to_string())?;
            let invited = Invited {
                visit: subject.visit.id.0,
                sequence: subject.visit.sequence,
                firm: subject.visit.status == "booked",
                method,
                stamp: now,
                organizer: desk.from,
                attendee: &attendee,
            };
            rendered.calendar = invitation(&facts, &invited);
        }
        Ok(Content { from_name: DisplayName::new(view.sender_name()), rendered })
    }

    /// A visit keeps nothing of its mails: the message log does.
    async fn mark(_: &mut PgConnection, _: &[(VisitMail, Reached)], _: DateTime<Utc>) -> Result<(), DbError> {
        Ok(())
    }
}

/// The level of a proven address; any other gets the lowest.
fn level(subject: &VisitSubject) -> PrivacyLevel {
    match subject.email_verified {
        true => PrivacyLevel::try_from(subject.privacy_level).unwrap_or_default(),
        false => PrivacyLevel::default(),
    }
}

/// Where the patient joins an online visit that takes place in the clinic's own meetings: a page that leads on in its time only.
///
/// # Errors
/// `PUBLIC_URL` is none; it was checked at start.
pub fn meeting_page(
    links: &Links,
    subject: &VisitSubject,
    now: DateTime<Utc>,
) -> Result<Option<url::Url>, url::ParseError> {
    let visit = &subject.visit;
    if visit.meeting_url.is_some() || visit.meeting_room.is_none() || !subject.has_meetings {
        return Ok(None);
    }
    let link = VisitLink { org: visit.org, visit: visit.id };
    links.meeting_page(link, visit.ends_at.max(now) + TimeDelta::days(LINK_DAYS)).map(Some)
}

/// What mail and page of a visit start from.
pub fn visit_facts(subject: &VisitSubject, zone: Zone) -> VisitFacts<'_> {
    let visit = &subject.visit;
    VisitFacts {
        level: level(subject),
        locale: Locale::En,
        clinic_name: &subject.clinic_name,
        discreet_name: subject.discreet_name.as_deref().unwrap_or("Your clinic"),
        clinic_phone: subject.clinic_phone.as_deref(),
        starts_at: visit.starts_at,
        ends_at: visit.ends_at,
        zone: zone.tz(),
        online: visit.mode == "virtual",
        place: visit.place.as_deref(),
        meeting_url: visit.meeting_url.as_deref(),
        doctor: subject.doctor_name.as_deref(),
        kind: &visit.kind,
        confirmed: visit.confirmed_by_patient_at.is_some(),
    }
}
