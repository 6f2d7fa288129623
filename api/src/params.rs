//! Ids in paths and parameters in queries; what is wrong with them is said in a problem document.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use chrono::{DateTime, Datelike, Utc};

use crate::problem::{FieldError, Problem};

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
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    /// Reads a query. An empty parameter counts as absent.
    pub(crate) fn of(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self { pairs: pairs.filter(|(_, value)| !value.is_empty()).collect(), known: Vec::new(), errors: Vec::new() }
    }

    /// A parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        let mut found = None;
        let (mut twice, mut odd) = (false, false);
        self.pairs.retain(|(given, value)| {
            let this = given == name;
            if this {
                twice |= found.is_some();
                odd |= value.contains(['\0', '\u{fffd}']);
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
        found.filter(|_| !twice && !odd)
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

    /// A parameter that is an instant.
    pub(crate) fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        // A `+` that was not written as %2B has become a space on its way.
        let text = self.text(name)?.replace(' ', "+");
        let read = DateTime::parse_from_rfc3339(&text).map(|at| at.with_timezone(&Utc));
        match read {
            Ok(at) if (1900..=9999).contains(&at.year()) => Some(at),
            Ok(_) => {
                self.wrong(name, "must be in the years 1900 to 9999");
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
        assert_eq!(named, ["b", "c", "d", "e", "f"]);
        assert!(Params::of("unknown=1").finish().is_err());
        assert!(Params::of("").finish().is_ok());
    }
}
