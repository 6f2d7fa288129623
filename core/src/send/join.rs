//! The message that tells a doctor whether an organization lets them in, or that it did not say so in time.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::ids::PersonId;
use crate::joining::{JOIN_DECISION, JoinMail};
use crate::mail::{DisplayName, one_line};
use crate::store::DbError;
use crate::store::joins::{self, JoinSubject, UNDECIDED_DAYS};

/// A request to join was decided, or ended by itself.
#[derive(Debug)]
pub struct JoinMessage;

impl Message for JoinMessage {
    type Ask = JoinMail;
    type Subject = JoinSubject;

    const KIND: &'static str = JOIN_DECISION;
    const CATEGORY: Category = Category::Required;
    const GONE: &'static str = "the request is no longer there";

    fn about(ask: &JoinMail) -> About {
        About { org: Some(ask.org), subject: ask.request.0, occurrence: "decided".into() }
    }

    async fn read(conn: &mut PgConnection, asked: &[JoinMail]) -> Result<HashMap<Uuid, JoinSubject>, DbError> {
        let ids: Vec<_> = asked.iter().map(|mail| mail.request).collect();
        Ok(joins::subjects(conn, &ids).await?.into_iter().map(|subject| (subject.request.id.0, subject)).collect())
    }

    fn recipient(subject: &JoinSubject) -> Recipient<'_> {
        // Who was not let in is nobody here: the account stands for them.
        Recipient {
            person: PersonId(subject.request.account.0),
            address: Some(&subject.request.email),
            privacy_level: 0,
        }
    }

    fn stale(subject: &JoinSubject, _ask: &JoinMail, _now: DateTime<Utc>) -> Option<&'static str> {
        (!["approved", "denied", "expired"].contains(&subject.request.state.as_str()))
            .then_some("the request is not decided")
    }

    fn content(desk: Desk<'_>, subject: &JoinSubject, _ask: &JoinMail, _now: DateTime<Utc>) -> Result<Content, String> {
        let page = desk.links.page("/sign-in").map_err(|error| error.to_string())?;
        let organization = one_line(&subject.organization);
        let view = json!({
            "lang": "en",
            "dir": "ltr",
            "approved": subject.request.state == "approved",
            "expired": subject.request.state == "expired",
            "days": UNDECIDED_DAYS,
            "organization": organization,
            "sender": organization,
            "note": subject.request.note.as_deref().map(one_line),
            "page_url": page,
        });
        let rendered = desk.templates.render_mail(JOIN_DECISION, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new(&organization), rendered })
    }

    async fn mark(
        _conn: &mut PgConnection,
        _ended: &[(JoinMail, Reached)],
        _now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        // The log knows whether it was sent; the decision is the same either way.
        Ok(())
    }
}
