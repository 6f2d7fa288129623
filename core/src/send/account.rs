//! The messages to owners of accounts: an invitation, a link to set another password, and what they should know of. They are
//! the platform's, since an account is no organization's.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::ids::{AccountMailId, PersonId};
use crate::mail::{ACCOUNT_MAIL, DisplayName};
use crate::store::DbError;
use crate::store::account_mails::{self, AccountMailKind, AccountMailSubject};

/// A mail to the owner of an account.
#[derive(Debug)]
pub struct AccountMessage;

impl Message for AccountMessage {
    type Ask = AccountMailId;
    type Subject = AccountMailSubject;

    const KIND: &'static str = ACCOUNT_MAIL;
    const CATEGORY: Category = Category::Required;
    const GONE: &'static str = "the mail is no longer on record";

    fn about(ask: &AccountMailId) -> About {
        About { org: None, subject: ask.0, occurrence: "once".into() }
    }

    async fn read(
        conn: &mut PgConnection,
        asked: &[AccountMailId],
    ) -> Result<HashMap<Uuid, AccountMailSubject>, DbError> {
        Ok(account_mails::subjects(conn, asked).await?.into_iter().map(|subject| (subject.id.0, subject)).collect())
    }

    fn recipient(subject: &AccountMailSubject) -> Recipient<'_> {
        // The owner of an account is no person of one clinic: the account stands for them.
        Recipient { person: PersonId(subject.account.0), address: Some(&subject.email), privacy_level: 0 }
    }

    fn stale(subject: &AccountMailSubject, _ask: &AccountMailId, now: DateTime<Utc>) -> Option<&'static str> {
        if subject.used {
            return Some("its link was used or withdrawn");
        }
        (subject.expires_at <= now).then_some("it came too late to be of use")
    }

    fn content(
        desk: Desk<'_>,
        subject: &AccountMailSubject,
        _ask: &AccountMailId,
        _now: DateTime<Utc>,
    ) -> Result<Content, String> {
        let kind = subject.kind.ok_or("this release does not know the mail")?;
        let path = match kind {
            AccountMailKind::Invitation => format!("/welcome/{}", desk.links.account_token(subject.id, &subject.seed)),
            AccountMailKind::Reset => format!("/reset/{}", desk.links.account_token(subject.id, &subject.seed)),
            AccountMailKind::Verify => format!("/sign-up/{}", desk.links.account_token(subject.id, &subject.seed)),
            AccountMailKind::SignUpKnown => "/sign-in".to_owned(),
            // A notice: whoever did not do it sets another password.
            _ => "/forgot".to_owned(),
        };
        let page = desk.links.page(&path).map_err(|error| error.to_string())?;
        let sender = subject.sender.as_deref().unwrap_or("PulseCal");
        let view = json!({
            "lang": "en",
            "dir": "ltr",
            "kind": kind.as_str(),
            "sender": sender,
            "at": subject.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
            "until": subject.expires_at.format("%Y-%m-%d %H:%M UTC").to_string(),
            "page_url": page,
        });
        let rendered = desk.templates.render_mail(ACCOUNT_MAIL, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new(sender), rendered })
    }

    async fn mark(
        _conn: &mut PgConnection,
        _ended: &[(AccountMailId, Reached)],
        _now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        // The log knows whether it was sent; the account is the same either way.
        Ok(())
    }
}
