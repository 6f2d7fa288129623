//! The message that an alarm was raised, or is over: the platform's own, to the operators of ALERT_MAIL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::ids::{AlarmMailId, PersonId};
use crate::mail::{ALARM, DisplayName};
use crate::store::DbError;
use crate::store::alarms::{self, AlarmSubject};

/// An alarm was raised, or is over.
#[derive(Debug)]
pub struct AlarmMessage;

impl Message for AlarmMessage {
    type Ask = AlarmMailId;
    type Subject = AlarmSubject;

    const KIND: &'static str = ALARM;
    const CATEGORY: Category = Category::Critical;
    const GONE: &'static str = "the alarm is no longer on record";

    fn about(ask: &AlarmMailId) -> About {
        About { org: None, subject: ask.0, occurrence: "change".into() }
    }

    async fn read(conn: &mut PgConnection, asked: &[AlarmMailId]) -> Result<HashMap<Uuid, AlarmSubject>, DbError> {
        Ok(alarms::subjects(conn, asked).await?.into_iter().map(|subject| (subject.id.0, subject)).collect())
    }

    fn recipient(subject: &AlarmSubject) -> Recipient<'_> {
        // An operator is no person of a clinic: the mail stands for them.
        Recipient { person: PersonId(subject.id.0), address: Some(&subject.address), privacy_level: 0 }
    }

    fn stale(subject: &AlarmSubject, _ask: &AlarmMailId, _now: DateTime<Utc>) -> Option<&'static str> {
        if subject.stands { None } else { Some("the alarm has changed since") }
    }

    fn content(
        desk: Desk<'_>,
        subject: &AlarmSubject,
        _ask: &AlarmMailId,
        _now: DateTime<Utc>,
    ) -> Result<Content, String> {
        let alarm = subject.alarm.ok_or("this release does not know the alarm")?;
        // An occasion is told to people of several roles: /sign-in leads each to where theirs begins.
        let page = if subject.about.is_some() { "/sign-in" } else { "/ops" };
        let page = desk.links.page(page).map_err(|error| error.to_string())?;
        let view = json!({
            "lang": "en",
            "dir": "ltr",
            "sender": "PulseCal",
            "raised": subject.raised,
            "sentence": if subject.raised { alarm.says() } else { alarm.over() },
            "since": subject.since.format("%Y-%m-%d %H:%M UTC").to_string(),
            "about": subject.about,
            "page_url": page,
        });
        let rendered = desk.templates.render_mail(ALARM, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new("PulseCal"), rendered })
    }

    async fn mark(
        _conn: &mut PgConnection,
        _ended: &[(AlarmMailId, Reached)],
        _now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        // The log knows whether it was sent; the alarm is the same either way.
        Ok(())
    }
}
