//! Kinds of values, as schemas. The limits come from the constants that the code checks with.

use std::ops::RangeInclusive;

use pulsecal_core::mail::MAX_ADDRESS_OCTETS;
use pulsecal_core::time::Zone;
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type,
};

/// Any text that holds at least one visible character, and `most` characters at most.
pub(crate) fn text(most: usize) -> Object {
    // U+0000 is what Postgres does not store.
    let pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";
    string().min_length(Some(1)).max_length(Some(most)).pattern(Some(pattern)).build()
}

/// One line of text, with a visible character; a name of somebody or something.
pub(crate) fn line(most: usize) -> Object {
    let pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
    string().min_length(Some(1)).max_length(Some(most)).pattern(Some(pattern)).build()
}

/// Text of `most` characters at most, which may be empty but not blank.
pub(crate) fn text_or_empty(most: usize) -> Object {
    string().max_length(Some(most)).pattern(Some(r"^([^\u0000]*[^\s\u0000][^\u0000]*)?$")).build()
}

/// An e-mail address.
pub(crate) fn email() -> Object {
    string().format(Some(SchemaFormat::Custom("email".to_owned()))).max_length(Some(MAX_ADDRESS_OCTETS)).build()
}

/// Text of this form.
pub(crate) fn like(pattern: &str, most: usize, example: &str) -> Object {
    string().max_length(Some(most)).pattern(Some(pattern)).examples([json!(example)]).build()
}

/// One of these words.
pub(crate) fn one_of(words: &[&str]) -> Object {
    string().enum_values(Some(words.iter().copied())).build()
}

/// A whole number within these limits.
pub(crate) fn number(limits: RangeInclusive<i64>) -> Object {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    number.minimum(Some(*limits.start())).maximum(Some(*limits.end())).build()
}

/// Yes or no.
pub(crate) fn flag() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).build()
}

/// An id.
pub(crate) fn id() -> Object {
    formatted(KnownFormat::Uuid)
}

/// An instant, as RFC 3339 has it.
pub(crate) fn instant() -> Object {
    formatted(KnownFormat::DateTime)
}

/// A day.
pub(crate) fn day() -> Object {
    formatted(KnownFormat::Date)
}

/// An instant that falls on a whole minute.
pub(crate) fn whole_minute() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:00(\.0+)?(Z|[+-]\d{2}:\d{2})$"))
        .examples([json!("2026-12-01T09:00:00Z")])
        .build()
}

/// A time of day, to the minute.
pub(crate) fn time_of_day() -> Object {
    like(r"^([01]\d|2[0-3]):[0-5]\d(:00)?$", 8, "08:00")
}

/// A time zone, by its IANA name.
pub(crate) fn zone() -> Object {
    let mut zone = like("^[A-Za-z0-9_+/-]+$", Zone::longest_name(), "Europe/Berlin");
    zone.format = Some(SchemaFormat::Custom("time-zone".to_owned()));
    zone
}

/// A list.
pub(crate) fn list(of: Object, limits: RangeInclusive<usize>) -> ArrayBuilder {
    let list = ArrayBuilder::new().items(of).max_items(Some(*limits.end()));
    if *limits.start() == 0 { list } else { list.min_items(Some(*limits.start())) }
}

/// What a kind of value is shown with: its use.
pub(crate) trait Kind: Sized {
    /// The same, or null.
    fn or_null(self) -> Self;
    /// With a sentence about it.
    fn about(self, text: &str) -> Self;
}

impl Kind for Object {
    fn or_null(mut self) -> Self {
        self.schema_type = nullable(self.schema_type);
        if let Some(words) = &mut self.enum_values {
            words.push(Value::Null);
        }
        self
    }

    fn about(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }
}

impl Kind for Array {
    fn or_null(mut self) -> Self {
        self.schema_type = nullable(self.schema_type);
        self
    }

    fn about(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }
}

fn nullable(kind: SchemaType) -> SchemaType {
    match kind {
        SchemaType::Type(one) => SchemaType::from_iter([one, Type::Null]),
        other => other,
    }
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn formatted(format: KnownFormat) -> Object {
    string().format(Some(SchemaFormat::KnownFormat(format))).build()
}
