//! CSV after RFC 4180: CRLF, quotes doubled, a head; UTF-8, ISO 8601 with offset. Nothing and the empty text are both an
//! empty cell.

use std::io::{self, Write};

use super::instants::Instants;
use super::{Cell, Encoder, Spec};

/// What a spreadsheet takes for the beginning of a formula, and the full-width forms that some turn into them.
const DANGEROUS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

pub(super) struct CsvEncoder<W: Write> {
    out: csv::Writer<W>,
    instants: Instants,
    guard: bool,
    text: String,
}

impl<W: Write> CsvEncoder<W> {
    pub(super) fn begin(spec: &Spec, mut out: W) -> io::Result<Self> {
        if spec.csv.bom {
            out.write_all("\u{feff}".as_bytes())?;
        }
        let mut out = csv::WriterBuilder::new()
            .delimiter(spec.csv.delimiter.byte())
            .terminator(csv::Terminator::CRLF)
            .buffer_capacity(128 * 1024)
            .from_writer(out);
        out.write_record(spec.columns.iter().map(|column| column.as_str())).map_err(io_error)?;
        Ok(Self { out, instants: Instants::new(spec.zone.tz()), guard: spec.csv.guard, text: String::new() })
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A text that a spreadsheet would run as a formula; some skip blanks before it.
fn is_dangerous(text: &str) -> bool {
    text.trim_start_matches([' ', '\u{a0}', '\u{feff}', '\0']).starts_with(DANGEROUS)
}

impl<W: Write> Encoder for CsvEncoder<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for cell in cells {
            let written = match cell {
                Cell::Null => self.out.write_field(""),
                Cell::Text(text) if self.guard && is_dangerous(text) => {
                    self.text.clear();
                    self.text.push('\'');
                    self.text.push_str(text);
                    self.out.write_field(&self.text)
                }
                Cell::Text(text) => self.out.write_field(text),
                Cell::Number(number) => {
                    use std::fmt::Write;
                    self.text.clear();
                    write!(self.text, "{number}").map_err(io::Error::other)?;
                    self.out.write_field(&self.text)
                }
                Cell::Id(id) => {
                    self.out.write_field(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes())
                }
                Cell::Instant(at) => self.out.write_field(self.instants.iso(*at)),
                Cell::Date(day) => self.out.write_field(self.instants.day(*day)),
            };
            written.map_err(io_error)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(io_error)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<String>> {
        self.out.flush()?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_known_also_behind_blanks_and_in_full_width() {
        for text in ["=1+1", "+1", "-1", "@SUM", "\tx", "\rx", "＝1", "＠x", " =1", "\u{feff}=1", "\u{a0}-1"] {
            assert!(is_dangerous(text), "{text:?}");
        }
        for text in ["", " ", "a=b", "1-2", "'=1", "Ann", "  spaces  "] {
            assert!(!is_dangerous(text), "{text:?}");
        }
    }
}
