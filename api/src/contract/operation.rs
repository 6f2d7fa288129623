//! One route of the API, as its handlers' file describes it.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema};

use super::body::Body;
use crate::problem::Problem;

/// A route: what it is for, what it takes, and what it answers when all is well. Who may use it is [`crate::policy`]'s to say,
/// and what every route may answer besides is added by [`super::answers`].
pub(crate) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) detail: &'static str,
    pub(super) query: Vec<(&'static str, RefOr<Schema>)>,
    pub(super) is_list: bool,
    pub(super) headers: Vec<&'static str>,
    pub(super) body: Option<(Body, Needed)>,
    pub(super) uploads: Vec<&'static str>,
    pub(super) answers: Vec<Good>,
    pub(super) problems: Vec<Problem>,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

/// Whether a body must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    Yes,
    No,
    /// Yes, as the fields of a form, which says by itself what is wrong.
    Form,
}

/// An answer when all is well.
pub(super) struct Good {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Vec<(&'static str, Option<RefOr<Schema>>)>,
    pub(super) example: Option<Value>,
    pub(super) headers: Vec<&'static str>,
}

impl Operation {
    /// A route of the policy table, in a few words.
    pub(crate) fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            detail: "",
            query: Vec::new(),
            is_list: false,
            headers: Vec::new(),
            body: None,
            uploads: Vec::new(),
            answers: Vec::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// More about it, in sentences.
    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    /// A parameter of the query; each may be left out.
    pub(crate) fn query(mut self, name: &'static str, kind: Object) -> Self {
        self.query.push((name, kind.into()));
        self
    }

    /// Takes a body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = Some((body, Needed::Yes));
        self
    }

    /// Takes a form.
    pub(crate) fn form(mut self, body: Body) -> Self {
        self.body = Some((body, Needed::Form));
        self
    }

    /// Takes a body that may be left out.
    pub(crate) fn body_or_none(mut self, body: Body) -> Self {
        self.body = Some((body, Needed::No));
        self
    }

    /// Takes a file of one of these media types.
    pub(crate) fn upload(mut self, media_types: impl IntoIterator<Item = &'static str>) -> Self {
        self.uploads.extend(media_types);
        self
    }

    /// Changes the version that `If-Match` names, if it names one.
    pub(crate) fn if_match(mut self) -> Self {
        self.headers.push("If-Match");
        self.fails([Problem::version_mismatch(2)])
    }

    /// Reads this header.
    pub(crate) fn takes(mut self, header: &'static str) -> Self {
        self.headers.push(header);
        self
    }

    /// What may stand in the way, besides what may on every route.
    pub(crate) fn fails(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// A schema that others of this route name.
    pub(crate) fn schema(mut self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.schemas.push((name.to_owned(), schema.into()));
        self
    }

    /// Answers with one thing.
    pub(crate) fn shows<T: ToSchema>(self, about: &'static str, example: Value) -> Self {
        self.answer::<T>(200, about, Some(example), &[])
    }

    /// Answers with one thing and its version.
    pub(crate) fn shows_version<T: ToSchema>(self, about: &'static str, example: Value) -> Self {
        self.answer::<T>(200, about, Some(example), &["ETag"])
    }

    /// Makes something, and answers with it.
    pub(crate) fn creates<T: ToSchema>(self, about: &'static str, example: Value) -> Self {
        self.answer::<T>(201, about, Some(example), &["Location", "ETag"])
    }

    /// Answers with a page of a list.
    pub(crate) fn lists<T: ToSchema>(mut self, about: &'static str, example: Value) -> Self {
        self.is_list = true;
        self.answer::<T>(200, about, Some(example), &[])
    }

    /// Answers with JSON.
    pub(crate) fn answer<T: ToSchema>(
        mut self,
        status: u16,
        about: &'static str,
        example: Option<Value>,
        headers: &[&'static str],
    ) -> Self {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        let content = vec![("application/json", Some(super::body::named(&name)))];
        self.answers.push(Good { status, about, content, example, headers: headers.to_vec() });
        self
    }

    /// Answers with something else than JSON.
    pub(crate) fn file(
        mut self,
        status: u16,
        about: &'static str,
        media_types: &[&'static str],
        headers: &[&'static str],
    ) -> Self {
        let content = media_types.iter().map(|kind| (*kind, None)).collect();
        self.answers.push(Good { status, about, content, example: None, headers: headers.to_vec() });
        self
    }
}
