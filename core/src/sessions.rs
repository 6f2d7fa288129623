//! Sessions at the pages: a cookie with 256 random bits, of which only a hash is kept. A session comes from a token, and is
//! worth no more than it, or from an account, and is worth what its person's role is. When the token is revoked or expires, the
//! person is no longer the account's, or no longer active, it ends with the next request.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::ids::{Ids, OrgId, PersonId, RequestId, SessionId};
use crate::store::audit::{self, Actor, Entry};
use crate::store::sessions::{self, NewSessionRow, SessionBearer};
pub use crate::store::sessions::{SeenFrom, Source};
use crate::store::{DbError, Tx};
use crate::tokens::fingerprint;

/// Without a request for so long, a session ends.
const IDLE_SECONDS: i32 = 30 * 60;
/// However busy it is, it ends after so long.
const LONGEST: TimeDelta = TimeDelta::hours(12);
/// When it was used last is written so often at most.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);
/// Ended sessions are kept so long.
const KEPT: TimeDelta = TimeDelta::days(30);
/// The 32 random bytes in base64.
const SECRET_CHARS: usize = 43;

/// What the cookie holds. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl SessionSecret {
    /// A cookie's value; none: it has not the shape of one of ours, so there is nothing to search for.
    pub fn parse(text: &str) -> Option<Self> {
        let fine = text.len() == SECRET_CHARS
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        fine.then(|| Self(text.to_owned()))
    }

    /// A new one.
    pub fn anew(ids: Ids) -> Self {
        Self(URL_SAFE_NO_PAD.encode(ids.secret()))
    }

    /// The value, for the cookie.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// What each form of the session's pages carries, so that no other page can send it.
    pub fn form_token(&self) -> String {
        fingerprint(&["form token", &self.0])
    }

    /// Whether this is the session's form token.
    pub fn is_form_token(&self, sent: &str) -> bool {
        self.form_token().as_bytes().ct_eq(sent.as_bytes()).into()
    }
}

/// Who holds this session; none: sign in anew.
///
/// # Errors
/// Postgres.
pub async fn find(tx: &mut Tx, secret: &SessionSecret) -> Result<Option<SessionBearer>, DbError> {
    let now = tx.now();
    sessions::find(tx.conn(), &secret.hash(), now).await
}

/// Who a session is for.
#[derive(Clone)]
pub struct NewSession {
    /// Their organization.
    pub org: OrgId,
    /// The person.
    pub person: PersonId,
    /// What they signed in with.
    pub source: Source,
    /// From where.
    pub from: SeenFrom,
}

/// Makes a session, with its audit entry. The transaction sees its organization.
///
/// # Errors
/// Postgres.
pub async fn begin(tx: &mut Tx, by: Actor, new: NewSession) -> Result<SessionSecret, DbError> {
    let (id, now): (SessionId, _) = (tx.new_id(), tx.now());
    let secret = SessionSecret::anew(tx.ids());
    let NewSession { org, person, source, from } = new;
    let row = NewSessionRow { id, org, person, source, from, idle_seconds: IDLE_SECONDS, expires_at: now + LONGEST };
    sessions::forget_ended(tx.conn(), person, now - KEPT).await?;
    sessions::insert(tx.conn(), &row, &secret.hash(), now).await?;
    let detail = match source {
        Source::Token(token) => serde_json::json!({"token": token}),
        Source::Account(account) => serde_json::json!({"account": account}),
    };
    note(tx, by, org, "session.begun", id, Some(detail)).await?;
    Ok(secret)
}

/// Ends a session, with its audit entry. The transaction sees its organization. False: it had ended before.
///
/// # Errors
/// Postgres.
pub async fn sign_out(tx: &mut Tx, by: Actor, org: OrgId, session: SessionId) -> Result<bool, DbError> {
    let now = tx.now();
    let ended = sessions::revoke(tx.conn(), session, now).await?;
    if ended {
        note(tx, by, org, "session.ended", session, None).await?;
    }
    Ok(ended)
}

/// Puts on record that somebody tried a token that opens nothing. Of whom is not known, so it belongs to the platform.
///
/// # Errors
/// Postgres.
pub async fn note_failure(tx: &mut Tx, request: RequestId) -> Result<(), DbError> {
    let (ids, now, attempt): (_, _, Uuid) = (tx.ids(), tx.now(), tx.new_id());
    let entry = Entry {
        org: None,
        actor: Actor::UnknownToken { request },
        action: "session.refused",
        subject_type: "sign_in",
        subject: attempt,
        outcome: "failed",
        detail: None,
    };
    audit::write(tx.conn(), ids, &[entry], now).await
}

/// Notes that the session was used; see [`is_seen_late`].
///
/// # Errors
/// Postgres.
pub async fn seen(tx: &mut Tx, bearer: &SessionBearer) -> Result<(), DbError> {
    let now = tx.now();
    sessions::seen(tx.conn(), bearer.session, now).await
}

/// Whether [`seen`] has something to write.
pub fn is_seen_late(bearer: &SessionBearer, now: chrono::DateTime<chrono::Utc>) -> bool {
    now - bearer.seen_at >= SEEN_EVERY
}

pub(crate) async fn note(
    tx: &mut Tx,
    by: Actor,
    org: OrgId,
    action: &'static str,
    session: SessionId,
    detail: Option<serde_json::Value>,
) -> Result<(), DbError> {
    let (ids, now) = (tx.ids(), tx.now());
    let entry = Entry {
        org: Some(org),
        actor: by,
        action,
        subject_type: "session",
        subject: session.0,
        outcome: "success",
        detail,
    };
    audit::write(tx.conn(), ids, &[entry], now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_token_belongs_to_one_session_and_gives_it_not_away() {
        let (one, other) = (SessionSecret::anew(Ids), SessionSecret::anew(Ids));
        assert!(one.is_form_token(&one.form_token()) && !one.is_form_token(&other.form_token()));
        assert!(!one.is_form_token("") && !one.form_token().contains(one.expose()));
        assert_eq!(SessionSecret::parse(one.expose()), Some(one.clone()));
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn only_what_looks_like_a_session_is_searched_for() {
        let good = "a".repeat(SECRET_CHARS);
        for wrong in ["", &good[1..], &format!("{good}a"), &good.replacen('a', "\0", 1), &good.replacen('a', "é", 1)] {
            assert!(SessionSecret::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
