//! Ids in paths and parameters in queries; what is wrong with them is said in a problem document.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{FromRequestParts, MatchedPath, Path};
use axum::http::request::Parts;
use chrono::{DateTime, Datelike, NaiveDate, Utc};

use crate::problem::{FieldError, Problem};

/// The longest parameter, in characters.
pub(crate) const LONGEST: usize = 500;

/// Whether an instant is one that people and databases can mean.
pub(crate) fn is_in_years(at: DateTime<Utc>) -> bool {
    (1900..=9999).contains(&at.year())
}

/// What is wrong with one that is not.
pub(crate) const WRONG_YEAR: &str = "must be in the years 1900 to 9999";

/// The id in a path. One that is none is simply not found.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let none = || Problem::not_found("There is nothing with this id.");
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| none())?;
        Ok(Self(text.parse().map_err(|_| none())?))
    }
}

/// The parameters of a query, taken out one by one.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    /// The names that were asked for: those of the request.
    known: Vec<String>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let programs = parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str().starts_with("/v1/"));
        Ok(if programs { Self::of(query) } else { Self::of_form(query) })
    }
}

impl Params {
    /// Reads a query. A parameter that is empty is wrong: left out of a filter, it would show what nobody asked for.
    pub(crate) fn of(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self { pairs: pairs.collect(), known: Vec::new(), errors: Vec::new() }
    }

    /// Reads the query of a form, which sends every field: one that is empty counts as absent.
    fn of_form(query: &str) -> Self {
        let Self { pairs, .. } = Self::of(query);
        let pairs = pairs.into_iter();
        Self { pairs: pairs.filter(|(_, value)| !value.is_empty()).collect(), known: Vec::new(), errors: Vec::new() }
    }

    /// A parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        let mut found = None;
        let (mut twice, mut odd, mut empty, mut long) = (false, false, false, false);
        self.pairs.retain(|(given, value)| {
            let this = given == name;
            if this {
                twice |= found.is_some();
                odd |= value.contains(['\0', '\u{fffd}']);
                empty |= value.is_empty();
                long |= value.chars().count() > LONGEST;
                found = Some(value.clone());
            }
            !this
        });
        if twice {
            self.wrong(name, "is given more than once");
        }
        if odd {
            self.wrong(name, "must be UTF-8 without the character U+0000");
        }
        if empty {
            self.wrong(name, "must not be empty; leave it out");
        }
        if long {
            self.wrong(name, format!("must have {LONGEST} characters at most"));
        }
        found.filter(|_| !twice && !odd && !empty && !long)
    }

    /// A parameter that is read by its type.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// A parameter that is one of some words.
    pub(crate) fn one_of(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let given = self.text(name)?;
        let found = words.iter().find(|word| **word == given);
        if found.is_none() {
            self.wrong(name, format!("must be one of {}", words.join(", ")));
        }
        found.copied()
    }

    /// A parameter that is a day.
    pub(crate) fn day(&mut self, name: &str) -> Option<NaiveDate> {
        match self.text(name)?.parse::<NaiveDate>() {
            Ok(day) if (1900..=9999).contains(&day.year()) => Some(day),
            Ok(_) => {
                self.wrong(name, WRONG_YEAR);
                None
            }
            Err(_) => {
                self.wrong(name, "must be a day as in 2026-11-23");
                None
            }
        }
    }

    /// A parameter that is an instant.
    pub(crate) fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        // A `+` that was not written as %2B has become a space on its way.
        let text = self.text(name)?.replace(' ', "+");
        let read = DateTime::parse_from_rfc3339(&text).map(|at| at.with_timezone(&Utc));
        match read {
            Ok(at) if is_in_years(at) => Some(at),
            Ok(_) => {
                self.wrong(name, WRONG_YEAR);
                None
            }
            Err(_) => {
                self.wrong(name, "must be an instant as in 2026-11-23T08:00:00Z or 2026-11-23T08:00:00+01:00");
                None
            }
        }
    }

    /// Puts something wrong on record.
    pub(crate) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError { field: name.chars().take(60).collect(), message: message.into() });
    }

    /// All was read: nothing may be left, and nothing may be wrong.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.pairs.iter().take(20).map(|(name, _)| name.clone()).collect();
        for name in unknown {
            self.wrong(&name, format!("is not a parameter of this request, which has {}", self.known.join(", ")));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_what_is_wrong_is_named() {
        let mut params = Params::of("a=1&b=x&c=1&c=2&d=%ff&e=%00&f=odd&g=&h=2026-03-29T02:00:00+01:00");
        assert_eq!(params.parsed::<u8>("a"), Some(1));
        assert_eq!(params.parsed::<u8>("b"), None);
        for name in ["c", "d", "e", "g"] {
            assert_eq!(params.text(name), None, "{name}");
        }
        assert_eq!(params.one_of("f", &["even"]), None);
        assert_eq!(params.instant("h").map(|at| at.timestamp()), Some(1_774_746_000));
        let named: Vec<_> = params.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["b", "c", "d", "e", "g", "f"]);
        let long = "x".repeat(LONGEST + 1);
        assert!(Params::of(&format!("a={long}")).text("a").is_none());
        assert_eq!(Params::of_form("g=&a=1").text("g"), None);
        assert!(Params::of_form("g=").finish().is_ok());
        assert!(Params::of("unknown=1").finish().is_err());
        assert!(Params::of("").finish().is_ok());
    }
}
