//! The message that an export is ready: to whoever asked for it, with nothing of what is in it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::ids::{ExportId, OrgId};
use crate::mail::{DisplayName, EXPORT_READY};
use crate::store::DbError;
use crate::store::exports::{self, ReadySubject};

/// An export is ready.
#[derive(Debug)]
pub struct ExportReady;

/// Which export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyExport {
    /// Whose.
    pub org: OrgId,
    /// The export.
    pub export: ExportId,
}

impl Message for ExportReady {
    type Ask = ReadyExport;
    type Subject = ReadySubject;

    const KIND: &'static str = EXPORT_READY;
    const CATEGORY: Category = Category::Required;
    const GONE: &'static str = "the export is no longer there";

    fn about(ask: &ReadyExport) -> About {
        About { org: Some(ask.org), subject: ask.export.0, occurrence: "ready".into() }
    }

    async fn read(conn: &mut PgConnection, asked: &[ReadyExport]) -> Result<HashMap<Uuid, ReadySubject>, DbError> {
        let ids: Vec<_> = asked.iter().map(|ask| ask.export).collect();
        Ok(exports::ready_subjects(conn, &ids).await?.into_iter().map(|subject| (subject.export, subject)).collect())
    }

    fn recipient(subject: &ReadySubject) -> Recipient<'_> {
        Recipient { person: subject.person, address: subject.email.as_deref(), privacy_level: 0 }
    }

    fn stale(subject: &ReadySubject, _ask: &ReadyExport, _now: DateTime<Utc>) -> Option<&'static str> {
        if subject.state != "succeeded" {
            return Some("the file is no longer there");
        }
        if !subject.reachable {
            return Some("who asked for it is no longer active");
        }
        None
    }

    fn content(
        desk: Desk<'_>,
        subject: &ReadySubject,
        _ask: &ReadyExport,
        _now: DateTime<Utc>,
    ) -> Result<Content, String> {
        let page = desk.links.page("/staff/exports").map_err(|error| error.to_string())?;
        let sender = subject.discreet_name.as_deref().unwrap_or("Your clinic");
        let view = json!({"lang": "en", "dir": "ltr", "sender": sender, "page_url": page});
        let rendered = desk.templates.render_mail(EXPORT_READY, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new(sender), rendered })
    }

    async fn mark(
        _conn: &mut PgConnection,
        _ended: &[(ReadyExport, Reached)],
        _now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        // The log knows whether it was sent; the export is the same either way.
        Ok(())
    }
}
