//! Bodies of requests. The verbs are those of [`crate::fields::Fields`], by which handlers read them.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};

use super::kinds::Kind;

/// A body that is a JSON object and holds no other fields than these.
pub(crate) struct Body {
    pub(super) name: &'static str,
    pub(super) example: Value,
    object: ObjectBuilder,
}

impl Body {
    /// A body by the name of its schema, with an example of it.
    pub(crate) fn new(name: &'static str, example: Value) -> Self {
        let object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
        Self { name, example, object }
    }

    /// A field that must be there.
    pub(crate) fn required(mut self, name: &str, kind: impl Kind + Into<RefOr<Schema>>, about: &str) -> Self {
        self.object = self.object.property(name, kind.about(about)).required(name);
        self
    }

    /// A field that may be absent or null.
    pub(crate) fn optional(mut self, name: &str, kind: impl Kind + Into<RefOr<Schema>>, about: &str) -> Self {
        self.object = self.object.property(name, kind.about(about).or_null());
        self
    }

    /// A field that may be absent, and not null.
    pub(crate) fn set(mut self, name: &str, kind: impl Kind + Into<RefOr<Schema>>, about: &str) -> Self {
        self.object = self.object.property(name, kind.about(about));
        self
    }

    /// A field with a schema of its own.
    pub(crate) fn other(mut self, name: &str, schema: impl Into<RefOr<Schema>>, required: bool) -> Self {
        self.object = self.object.property(name, schema);
        if required {
            self.object = self.object.required(name);
        }
        self
    }

    /// The object itself, to be a field of another body.
    pub(crate) fn object(self) -> Object {
        self.object.build()
    }

    pub(super) fn into_parts(self) -> (&'static str, RefOr<Schema>, Value) {
        (self.name, self.object.build().into(), self.example)
    }
}

/// The schema of this name.
pub(crate) fn named(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}
