//! Cells, as Postgres sends them in `COPY … (FORMAT binary)`: read in place, nothing is copied.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

use super::Kind;

/// A cell of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Words.
    Text(&'a str),
    /// A number.
    Number(i64),
    /// An id.
    Id(Uuid),
    /// An instant.
    Instant(DateTime<Utc>),
    /// A day.
    Date(NaiveDate),
}

/// What Postgres sent is not what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Postgres sent a row that cannot be read")]
pub struct CellError;

/// What a binary copy begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// 2000-01-01, in seconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// A message of the copy.
#[derive(Clone, Copy, Debug)]
pub enum Tuple<'a> {
    /// A row.
    Row(&'a [u8]),
    /// The end; no more rows come.
    End,
}

impl<'a> Tuple<'a> {
    /// Reads a message; the first of a copy begins with a head.
    ///
    /// # Errors
    /// It is no such message.
    pub fn read(message: &'a [u8]) -> Result<Self, CellError> {
        let mut rest = message;
        if let Some(after) = message.strip_prefix(SIGNATURE) {
            rest = after;
            let _flags = take::<4>(&mut rest)?;
            let extension = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).map_err(|_| CellError)?;
            rest = rest.get(extension..).ok_or(CellError)?;
        }
        if rest == (-1_i16).to_be_bytes() { Ok(Self::End) } else { Ok(Self::Row(rest)) }
    }
}

/// Reads the cells of a row into `cells`.
///
/// # Errors
/// The row has other columns.
pub(super) fn read_cells<'a>(mut row: &'a [u8], kinds: &[Kind], cells: &mut Vec<Cell<'a>>) -> Result<(), CellError> {
    cells.clear();
    if usize::try_from(i16::from_be_bytes(take(&mut row)?)) != Ok(kinds.len()) {
        return Err(CellError);
    }
    for kind in kinds {
        let length = i32::from_be_bytes(take(&mut row)?);
        if length == -1 {
            cells.push(Cell::Null);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| CellError)?;
        let (value, rest) = row.split_at_checked(length).ok_or(CellError)?;
        row = rest;
        cells.push(read_cell(value, *kind)?);
    }
    if row.is_empty() { Ok(()) } else { Err(CellError) }
}

fn read_cell(value: &[u8], kind: Kind) -> Result<Cell<'_>, CellError> {
    Ok(match kind {
        Kind::Text => Cell::Text(std::str::from_utf8(value).map_err(|_| CellError)?),
        Kind::Number => Cell::Number(i64::from_be_bytes(value.try_into().map_err(|_| CellError)?)),
        Kind::Id => Cell::Id(Uuid::from_slice(value).map_err(|_| CellError)?),
        Kind::Instant => {
            let micros = i64::from_be_bytes(value.try_into().map_err(|_| CellError)?);
            let since = DateTime::from_timestamp(POSTGRES_EPOCH, 0).ok_or(CellError)?;
            Cell::Instant(since.checked_add_signed(TimeDelta::microseconds(micros)).ok_or(CellError)?)
        }
        Kind::Date => {
            let days = i32::from_be_bytes(value.try_into().map_err(|_| CellError)?);
            let since = NaiveDate::from_ymd_opt(2000, 1, 1).ok_or(CellError)?;
            Cell::Date(since.checked_add_signed(TimeDelta::days(days.into())).ok_or(CellError)?)
        }
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CellError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(CellError)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_cut_or_has_more_is_refused() {
        let mut row = 2_i16.to_be_bytes().to_vec();
        row.extend(2_i32.to_be_bytes());
        row.extend("é".as_bytes());
        row.extend((-1_i32).to_be_bytes());
        let kinds = [Kind::Text, Kind::Number];
        let mut cells = Vec::new();
        read_cells(&row, &kinds, &mut cells).expect("whole");
        assert_eq!(cells, [Cell::Text("é"), Cell::Null]);
        for cut in 0..row.len() {
            assert_eq!(read_cells(&row[..cut], &kinds, &mut Vec::new()), Err(CellError), "{cut}");
        }
        row.push(0);
        assert_eq!(read_cells(&row, &kinds, &mut Vec::new()), Err(CellError));
    }
}
