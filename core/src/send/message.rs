//! What makes a kind of message: what it is about, when it is no longer right to send it, what it looks like, and what its
//! outcome means to its subject. The path ([`super::Sender`]) is the same for all of them.

use std::collections::HashMap;
use std::future::Future;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId};
use crate::links::Links;
use crate::mail::{DisplayName, EmailAddress, Rendered, Templates};
use crate::store::DbError;
pub use crate::store::send::Category;

/// One kind of message.
pub trait Message: 'static {
    /// Names one message: ids and numbers, as the args of its job.
    type Ask: Copy + Send + Sync + 'static;
    /// All that is known of what a message is about, read when it is sent.
    type Subject: Send + Sync + 'static;

    /// The kind in the message log. Never changes.
    const KIND: &'static str;
    /// Its class.
    const CATEGORY: Category;
    /// Why nothing is sent when its subject is no longer there.
    const GONE: &'static str;

    /// Which message this is.
    fn about(ask: &Self::Ask) -> About;

    /// Reads what the messages of a batch are about, by [`About::subject`]. One that is missing is gone.
    ///
    /// # Errors
    /// Postgres.
    fn read(
        conn: &mut PgConnection,
        asked: &[Self::Ask],
    ) -> impl Future<Output = Result<HashMap<Uuid, Self::Subject>, DbError>> + Send;

    /// To whom it goes.
    fn recipient(subject: &Self::Subject) -> Recipient<'_>;

    /// Why it must not go out, as things are at `now`; none: it is right to send it.
    fn stale(subject: &Self::Subject, ask: &Self::Ask, now: DateTime<Utc>) -> Option<&'static str>;

    /// What it says.
    ///
    /// # Errors
    /// What keeps it from being written, without personal data; the message has failed then.
    fn content(desk: Desk<'_>, subject: &Self::Subject, ask: &Self::Ask, now: DateTime<Utc>)
    -> Result<Content, String>;

    /// Tells the subjects how their messages ended, in the transaction that records it.
    ///
    /// # Errors
    /// Postgres.
    fn mark(
        conn: &mut PgConnection,
        ended: &[(Self::Ask, Reached)],
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), DbError>> + Send;
}

/// Which message: with kind, recipient and channel this is what makes it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Whose; none: the platform's own.
    pub org: Option<OrgId>,
    /// What it is about.
    pub subject: Uuid,
    /// Which occasion of it.
    pub occurrence: String,
}

/// To whom a message goes. No `Debug`: it holds personal data.
pub struct Recipient<'a> {
    /// The person.
    pub person: PersonId,
    /// Their address.
    pub address: Option<&'a str>,
    /// What they may be told, 0 to 3, as the log keeps it.
    pub privacy_level: i16,
}

/// Whether a message reached the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It was accepted.
    Sent,
    /// Nobody knows.
    Perhaps,
}

/// What messages are written with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// What they look like.
    pub templates: &'a Templates,
    /// Signs their links.
    pub links: &'a Links,
    /// Who they are from.
    pub from: &'a EmailAddress,
}

/// What a message says.
pub struct Content {
    /// The name of its sender.
    pub from_name: DisplayName,
    /// Subject and both parts.
    pub rendered: Rendered,
}
