//! The cookies of the pages: one for each way in which somebody is known, none of which a script can read.

use axum::http::{HeaderMap, HeaderValue, header};
use pulsecal_core::sessions::SessionSecret;

use crate::app::App;
use crate::problem::Problem;

/// What a cookie holds.
#[derive(Clone, Copy)]
pub(super) enum Cookie {
    /// A session.
    Session,
    /// A right password, whose code is to come.
    Half,
    /// Somebody who is signing in elsewhere, and will come back.
    Away,
    /// Somebody whose account has no place yet.
    Lobby,
}

impl Cookie {
    fn name(self, app: &App) -> &'static str {
        // The prefix makes browsers refuse it without Secure; on loopback without TLS there is no Secure.
        match (self, app.secure) {
            (Self::Session, true) => "__Host-pulsecal",
            (Self::Session, false) => "pulsecal",
            (Self::Half, true) => "__Host-pulsecal-half",
            (Self::Half, false) => "pulsecal-half",
            (Self::Away, true) => "__Host-pulsecal-away",
            (Self::Away, false) => "pulsecal-away",
            (Self::Lobby, true) => "__Host-pulsecal-lobby",
            (Self::Lobby, false) => "pulsecal-lobby",
        }
    }
}

/// What a request's cookie holds.
pub(super) fn raw_cookie<'a>(app: &App, headers: &'a HeaderMap, which: Cookie) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == which.name(app)).map(|(_, value)| value)
}

/// The secret in a request's cookie.
pub(super) fn cookie_of(app: &App, headers: &HeaderMap, which: Cookie) -> Option<SessionSecret> {
    SessionSecret::parse(raw_cookie(app, headers, which)?)
}

/// The header that gives the browser a session, or takes it away.
pub(super) fn set_cookie(app: &App, secret: Option<&SessionSecret>) -> Result<HeaderValue, Problem> {
    cookie(app, Cookie::Session, secret.map(SessionSecret::expose))
}

/// The header that gives the browser a cookie, or takes it away.
pub(super) fn cookie(app: &App, which: Cookie, value: Option<&str>) -> Result<HeaderValue, Problem> {
    let age = match (value, which) {
        (None, _) => "; Max-Age=0",
        // Whoever does not come back leaves nothing behind.
        (Some(_), Cookie::Away) => "; Max-Age=600",
        (Some(_), _) => "",
    };
    let (value, secure) = (value.unwrap_or_default(), if app.secure { "; Secure" } else { "" });
    let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", which.name(app));
    HeaderValue::from_str(&cookie).map_err(|error| Problem::internal(&error.to_string()))
}
