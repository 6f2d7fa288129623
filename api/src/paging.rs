//! Lists come in pages; a cursor says where the next one begins.

use axum::Json;
use chrono::{DateTime, Utc};
use pulsecal_core::store::listing::{Before, Way};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema};
use uuid::Uuid;

use crate::contract::{Kind, kinds};
use crate::params::Params;

/// A page has so many rows when nothing else is asked for …
const USUAL: i64 = 50;
/// … and never more.
const MOST: i64 = 100;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    /// The rows.
    items: Vec<T>,
    /// To be sent as `cursor` for the next page; none: this is the last.
    next_cursor: Option<String>,
}

/// What the store is asked for: one row more than a page has, to see whether there is a next page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<C> {
    /// The last row of the page before.
    pub(crate) after: Option<C>,
    /// Rows to read.
    pub(crate) rows: i64,
}

/// A place in a list, as text that clients only send back.
pub(crate) trait Cursor: Sized {
    /// As text.
    fn write(&self) -> String;
    /// From text.
    fn read(text: &str) -> Option<Self>;
}

impl Cursor for Uuid {
    fn write(&self) -> String {
        self.simple().to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().filter(|_| text.len() == 32)
    }
}

impl Cursor for Before {
    fn write(&self) -> String {
        format!("{:x}-{}", self.at.timestamp_micros(), self.id.simple())
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('-')?;
        let at = DateTime::<Utc>::from_timestamp_micros(i64::from_str_radix(at, 16).ok()?)?;
        Some(Self { at, id: Uuid::read(id)? })
    }
}

/// A place in a list that is sorted by the start of its rows, earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartsAfter(pub(crate) Before);

impl StartsAfter {
    /// The place of a row.
    pub(crate) fn of(at: DateTime<Utc>, id: Uuid) -> Self {
        Self(Before { at, id })
    }
}

impl Cursor for StartsAfter {
    fn write(&self) -> String {
        self.0.write()
    }

    fn read(text: &str) -> Option<Self> {
        Before::read(text).map(Self)
    }
}

/// `cursor` and `limit`, as the contract names them.
pub(crate) fn parameters() -> [(&'static str, Object); 2] {
    let limit = kinds::number(1..=MOST).about("Rows of a page; 50 when nothing is said.");
    let cursor = kinds::like("^[0-9a-f-]+$", 60, "0197a000000070008000000000000001");
    [("limit", limit), ("cursor", cursor.about("The `next_cursor` of the page before."))]
}

/// A page of rows like this.
pub(crate) fn page_schema(row: RefOr<Schema>) -> Object {
    let items = ArrayBuilder::new().items(row).max_items(usize::try_from(MOST).ok());
    let next = kinds::like("^[0-9a-f-]+$", 60, "0197a000000070008000000000000001").or_null();
    ObjectBuilder::new()
        .property("items", items)
        .property("next_cursor", next.about("To be sent as `cursor` for the next page; null: this is the last."))
        .required("items")
        .required("next_cursor")
        .build()
}

/// A page that holds this row only.
pub(crate) fn page_example(row: Value) -> Value {
    json!({"items": [row], "next_cursor": null})
}

/// Reads `sort`: one of `words`, each with a `-` before it for the other way; the first when nothing is said. A place of one order is
/// none of another, so a cursor holds for the order that it was made in: whoever sends it with another gets that order from there on.
pub(crate) fn sort(params: &mut Params, words: &[&'static str]) -> (&'static str, Way) {
    let word = params.one_of("sort", words).or(words.first().copied()).unwrap_or_default();
    match word.strip_prefix('-') {
        Some(word) => (word, Way::Down),
        None => (word, Way::Up),
    }
}

/// `sort`, as the contract names it.
pub(crate) fn sorts(words: &[&str], about: &str) -> Object {
    let first = words.first().copied().unwrap_or_default();
    kinds::one_of(words).about(&format!("{about}; `-`: the other way. `{first}` when nothing is said."))
}

/// Reads `cursor` and `limit`.
pub(crate) fn wanted<C: Cursor>(params: &mut Params) -> Wanted<C> {
    let limit = params.parsed::<i64>("limit");
    if limit.is_some_and(|limit| !(1..=MOST).contains(&limit)) {
        params.wrong("limit", format!("must be 1 to {MOST}"));
    }
    let after = params.text("cursor").and_then(|text| {
        let cursor = C::read(&text);
        if cursor.is_none() {
            params.wrong("cursor", "must be the next_cursor of a page before");
        }
        cursor
    });
    Wanted { after, rows: limit.unwrap_or(USUAL) + 1 }
}

impl<C: Cursor> Wanted<C> {
    /// Those of the rows that were read which the page shows: there may be one more.
    pub(crate) fn shown<'r, R>(&self, rows: &'r [R]) -> &'r [R] {
        &rows[..rows.len().min(self.most())]
    }

    fn most(&self) -> usize {
        usize::try_from(self.rows - 1).unwrap_or(usize::MAX)
    }

    /// Makes the page of the rows that were read.
    pub(crate) fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> C,
        show: impl FnMut(R) -> T,
    ) -> Json<Page<T>> {
        let most = self.most();
        let more = rows.len() > most;
        rows.truncate(most);
        let next_cursor = rows.last().filter(|_| more).map(|row| place(row).write());
        Json(Page { items: rows.into_iter().map(show).collect(), next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_and_names_where_the_next_begins() {
        let mut params = Params::of("limit=2");
        let wanted: Wanted<Uuid> = wanted(&mut params);
        params.finish().expect("fine");
        assert_eq!(wanted.rows, 3);
        let rows: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let page = wanted.page(rows.clone(), |row| *row, |row| row).0;
        assert_eq!((page.items.len(), page.next_cursor.as_deref().and_then(Uuid::read)), (2, Some(rows[1])));
        let last = wanted.page(rows[..2].to_vec(), |row| *row, |row| row).0;
        assert_eq!(last.next_cursor, None);
    }

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let place = Before {
            at: DateTime::from_timestamp_micros(1_774_746_000_123_456).expect("in range"),
            id: Uuid::from_u128(7),
        };
        assert_eq!(Before::read(&place.write()), Some(place));
        for odd in ["", "-", "zz-00", "ffffffffffffffffff-00000000000000000000000000000007", "1-2"] {
            assert_eq!(Before::read(odd), None, "{odd}");
        }
        for query in ["limit=0", "limit=101", "limit=x", "cursor=x"] {
            let mut params = Params::of(query);
            let _: Wanted<Uuid> = wanted(&mut params);
            assert!(params.finish().is_err(), "{query}");
        }
    }
}
