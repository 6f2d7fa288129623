//! CSV after RFC 4180: CRLF, quotes doubled, a head; UTF-8, ISO 8601 with offset. Nothing and the empty text are both an
//! empty cell.

use std::io::{self, Write};

use super::instants::Instants;
use super::{Cell, Encoder, Spec};

/// What a spreadsheet takes for the beginning of a formula, and the full-width forms that some turn into them.
const DANGEROUS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// So much is written at once.
const PIECE: usize = 64 * 1024;

pub(super) struct CsvEncoder<W: Write> {
    out: W,
    lines: Vec<u8>,
    instants: Instants,
    delimiter: u8,
    guard: bool,
}

impl<W: Write> CsvEncoder<W> {
    pub(super) fn begin(spec: &Spec, out: W) -> Self {
        let mut lines = Vec::with_capacity(2 * PIECE);
        if spec.csv.bom {
            lines.extend_from_slice("\u{feff}".as_bytes());
        }
        let delimiter = spec.csv.delimiter.byte();
        for (number, column) in spec.columns.iter().enumerate() {
            if number > 0 {
                lines.push(delimiter);
            }
            lines.extend_from_slice(column.as_str().as_bytes());
        }
        lines.extend_from_slice(b"\r\n");
        Self { out, lines, instants: Instants::new(spec.zone.tz()), delimiter, guard: spec.csv.guard }
    }

    fn text(&mut self, text: &str) {
        let guarded = self.guard && is_dangerous(text);
        let special = |byte: u8| byte == self.delimiter || matches!(byte, b'"' | b'\r' | b'\n');
        if !text.bytes().any(special) {
            if guarded {
                self.lines.push(b'\'');
            }
            self.lines.extend_from_slice(text.as_bytes());
            return;
        }
        self.lines.extend_from_slice(if guarded { b"\"'" } else { b"\"" });
        for byte in text.bytes() {
            if byte == b'"' {
                self.lines.push(b'"');
            }
            self.lines.push(byte);
        }
        self.lines.push(b'"');
    }
}

/// A text that a spreadsheet would run as a formula; some skip blanks before it.
fn is_dangerous(text: &str) -> bool {
    if text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    text.trim_start_matches([' ', '\u{a0}', '\u{feff}', '\0']).starts_with(DANGEROUS)
}

impl<W: Write> Encoder for CsvEncoder<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let begin = self.lines.len();
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                self.lines.push(self.delimiter);
            }
            match cell {
                Cell::Null => {}
                Cell::Text(text) => self.text(text),
                Cell::Number(number) => write!(self.lines, "{number}")?,
                Cell::Id(id) => {
                    let mut buffer = uuid::Uuid::encode_buffer();
                    self.lines.extend_from_slice(id.hyphenated().encode_lower(&mut buffer).as_bytes());
                }
                Cell::Instant(at) => self.lines.extend_from_slice(self.instants.iso(*at).as_bytes()),
                Cell::Date(day) => self.lines.extend_from_slice(self.instants.day(*day).as_bytes()),
            }
        }
        if self.lines.len() == begin {
            // A line with nothing is no row to many readers.
            self.lines.extend_from_slice(b"\"\"");
        }
        self.lines.extend_from_slice(b"\r\n");
        if self.lines.len() >= PIECE {
            self.out.write_all(&self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<String>> {
        self.out.write_all(&self.lines)?;
        self.out.flush()?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::array;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::exports::{Column, CsvOptions, Delimiter, Filters, Format};

    #[test]
    fn formulas_are_known_also_behind_blanks_and_in_full_width() {
        for text in ["=1+1", "+1", "-1", "@SUM", "\tx", "\rx", "＝1", "＠x", " =1", "\u{feff}=1", "\u{a0}-1"] {
            assert!(is_dangerous(text), "{text:?}");
        }
        for text in ["", " ", "a=b", "1-2", "'=1", "Ann", "  spaces  "] {
            assert!(!is_dangerous(text), "{text:?}");
        }
    }

    fn spec(columns: &[Column], delimiter: Delimiter) -> Spec {
        let csv = CsvOptions { delimiter, guard: false, ..CsvOptions::default() };
        let zone = "UTC".parse().expect("a zone");
        Spec { format: Format::Csv, columns: columns.to_vec(), filters: Filters::default(), zone, csv }
    }

    proptest! {
        #[test]
        fn another_reader_finds_the_same_cells(rows in vec(array::uniform3("[a\"'; ,\\t\\r\\né]{0,6}"), 0..8), semicolon: bool) {
            let delimiter = if semicolon { Delimiter::Semicolon } else { Delimiter::Comma };
            let mut out = Vec::new();
            let mut encoder = Box::new(CsvEncoder::begin(&spec(&[Column::Place, Column::Kind, Column::Mode], delimiter), &mut out));
            for row in &rows {
                encoder.row(&row.each_ref().map(|text| Cell::Text(text))).expect("written");
            }
            encoder.finish().expect("written");
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter.byte()).from_reader(&out[..]);
            let read: Vec<Vec<String>> =
                reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect();
            prop_assert_eq!(read, rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_row_of_one_empty_cell_is_a_row() {
        let mut out = Vec::new();
        let mut encoder = Box::new(CsvEncoder::begin(&spec(&[Column::Place], Delimiter::Comma), &mut out));
        encoder.row(&[Cell::Null]).expect("written");
        encoder.finish().expect("written");
        assert_eq!(out, b"place\r\n\"\"\r\n");
    }
}
