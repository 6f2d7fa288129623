//! Spreadsheets: text typed as text, so that nothing is a formula; instants as dates of the zone; head frozen, with filters.
//!
//! A workbook is a zip file of XML. Each sheet is packed and handed on while its rows come; what names the sheets stands at the
//! end. So nothing of it lies in memory or in a temporary file.

mod parts;
mod text;

use std::fmt::Write as _;
use std::io::{self, Write};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use self::text::push_escaped;
use super::instants::Instants;
use super::{Cell, Column, Encoder, Heading, Kind, Spec};

/// Rows of a sheet with its head: Excel knows no more.
const MOST_ROWS: u32 = 1_048_576;
/// XML of a sheet: a larger one would need a form of zip that Excel takes for damage.
const MOST_BYTES: u64 = 4_000_000_000;
/// UTF-16 units of a cell.
const MOST_UNITS: usize = 32_767;
/// So much XML is packed at once.
const PIECE: usize = 32 * 1024;
/// Packs nearly as small as the usual 6, in half the time.
const LEVEL: i64 = 3;

pub(super) struct XlsxEncoder<W: Write> {
    zip: ZipWriter<StreamWriter<W>>,
    columns: Vec<Column>,
    /// What the cells of each column begin with, but for the number of their row: `<c r="A`.
    begins: Vec<String>,
    instants: Instants,
    zone: String,
    as_of: DateTime<Utc>,
    /// XML that is not packed yet.
    xml: String,
    /// The rows of each sheet that is whole, with its head.
    sheets: Vec<u32>,
    /// Rows of the sheet that is written, with its head, and its XML.
    rows: u32,
    bytes: u64,
    row_number: String,
    cut: u64,
}

impl<W: Write> XlsxEncoder<W> {
    pub(super) fn begin(spec: &Spec, heading: &Heading, out: W) -> io::Result<Self> {
        let begins = (0..spec.columns.len()).map(|at| format!("<c r=\"{}", parts::letters(at)));
        let mut this = Self {
            zip: ZipWriter::new_stream(out),
            columns: spec.columns.clone(),
            begins: begins.collect(),
            instants: Instants::new(spec.zone.tz()),
            zone: spec.zone.to_string(),
            as_of: heading.as_of,
            xml: String::with_capacity(2 * PIECE),
            sheets: Vec::new(),
            rows: 0,
            bytes: 0,
            row_number: String::new(),
            cut: 0,
        };
        this.part("_rels/.rels", parts::ROOT_RELATIONS)?;
        this.part("docProps/app.xml", parts::APP)?;
        this.part("docProps/core.xml", &parts::properties(heading))?;
        this.part("xl/styles.xml", parts::STYLES)?;
        this.begin_sheet()?;
        Ok(this)
    }

    fn start(&mut self, name: &str) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(parts::zip_time(self.as_of));
        self.zip.start_file(name, options).map_err(io::Error::other)
    }

    fn part(&mut self, name: &str, xml: &str) -> io::Result<()> {
        self.start(name)?;
        self.zip.write_all(xml.as_bytes())
    }

    fn begin_sheet(&mut self) -> io::Result<()> {
        self.start(&format!("xl/worksheets/sheet{}.xml", self.sheets.len() + 1))?;
        self.bytes = 0;
        self.rows = 1;
        parts::push_sheet_begin(&mut self.xml, &self.columns, self.sheets.is_empty());
        self.xml.push_str("<row r=\"1\">");
        for (begin, column) in self.begins.iter().zip(&self.columns) {
            let zone = match column.kind() {
                Kind::Instant => format!(" ({})", self.zone),
                _ => String::new(),
            };
            let _ok = write!(self.xml, "{begin}1\" s=\"1\" t=\"inlineStr\"><is><t>{column}{zone}</t></is></c>");
        }
        self.xml.push_str("</row>");
        self.pack()
    }

    fn end_sheet(&mut self) -> io::Result<()> {
        parts::push_sheet_end(&mut self.xml, self.columns.len(), self.rows);
        self.sheets.push(self.rows);
        self.pack()
    }

    fn pack(&mut self) -> io::Result<()> {
        self.bytes += self.xml.len() as u64;
        self.zip.write_all(self.xml.as_bytes())?;
        self.xml.clear();
        Ok(())
    }

    fn push_text(xml: &mut String, text: &str) {
        let edge = |letter: Option<char>| letter.is_some_and(char::is_whitespace);
        let kept = edge(text.chars().next()) || edge(text.chars().next_back());
        xml.push_str(if kept {
            "\" t=\"inlineStr\"><is><t xml:space=\"preserve\">"
        } else {
            "\" t=\"inlineStr\"><is><t>"
        });
        push_escaped(xml, text);
        xml.push_str("</t></is></c>");
    }

    /// A number in one of the styles of [`parts::STYLES`]; the usual one is `""`.
    fn push_number(xml: &mut String, number: impl std::fmt::Display, style: &str) {
        let _ok = write!(xml, "\"{style}><v>{number}</v></c>");
    }
}

/// Days since the end of 1899, as Excel counts them; none where it counts otherwise or not at all.
fn serial(at: NaiveDateTime) -> Option<f64> {
    let zero = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(chrono::NaiveTime::MIN);
    let first = NaiveDate::from_ymd_opt(1900, 3, 1)?;
    if at.date() < first || at.year() > 9999 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "eight thousand years of seconds are exact")]
    Some((at - zero).num_seconds() as f64 / 86_400.0)
}

/// The text as far as it fits, and whether all of it did.
fn fitting(text: &str) -> (&str, bool) {
    if text.len() <= MOST_UNITS {
        return (text, true); // UTF-8 is never shorter
    }
    let mut units = 0;
    for (at, letter) in text.char_indices() {
        units += letter.len_utf16();
        if units > MOST_UNITS {
            return (&text[..at], false);
        }
    }
    (text, true)
}

impl<W: Write> Encoder for XlsxEncoder<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.rows == MOST_ROWS || self.bytes > MOST_BYTES {
            self.end_sheet()?;
            self.begin_sheet()?;
        }
        self.rows += 1;
        self.row_number.clear();
        let _ok = write!(self.row_number, "{}", self.rows);
        let xml = &mut self.xml;
        xml.push_str("<row r=\"");
        xml.push_str(&self.row_number);
        xml.push_str("\">");
        for (begin, cell) in self.begins.iter().zip(cells) {
            if *cell == Cell::Null {
                continue;
            }
            xml.push_str(begin);
            xml.push_str(&self.row_number);
            match cell {
                Cell::Null => {}
                Cell::Text(text) => {
                    let (text, whole) = fitting(text);
                    self.cut += u64::from(!whole);
                    Self::push_text(xml, text);
                }
                // A spreadsheet's numbers have 15 digits; what has more stays exact as text.
                Cell::Number(number) if number.unsigned_abs() >= 1_000_000_000_000_000 => {
                    Self::push_text(xml, &number.to_string());
                }
                Cell::Number(number) => Self::push_number(xml, number, ""),
                Cell::Id(id) => Self::push_text(xml, id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())),
                Cell::Instant(instant) => match serial(self.instants.local(*instant).0) {
                    Some(serial) => Self::push_number(xml, serial, parts::INSTANT),
                    None => Self::push_text(xml, self.instants.iso(*instant)),
                },
                Cell::Date(day) => match serial(day.and_time(chrono::NaiveTime::MIN)) {
                    Some(serial) => Self::push_number(xml, serial, parts::DAY),
                    None => Self::push_text(xml, self.instants.day(*day)),
                },
            }
        }
        xml.push_str("</row>");
        if xml.len() >= PIECE { self.pack() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<String>> {
        self.end_sheet()?;
        self.part("xl/workbook.xml", &parts::workbook(&self.sheets, self.columns.len()))?;
        self.part("xl/_rels/workbook.xml.rels", &parts::relations(self.sheets.len()))?;
        self.part("[Content_Types].xml", &parts::content_types(self.sheets.len()))?;
        let sheets = self.sheets.len();
        self.zip.finish().map_err(io::Error::other)?.into_inner().flush()?;
        let mut notes = Vec::new();
        if sheets > 1 {
            notes.push(format!("The rows are on {sheets} sheets: one holds 1,048,575 at most."));
        }
        if self.cut > 0 {
            notes.push(format!("{} cells were longer than the 32,767 characters that a spreadsheet holds, and were cut. The CSV file has them whole.", self.cut));
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_cut_by_utf16_units_and_between_letters() {
        let long = "😀".repeat(MOST_UNITS);
        let (cut, whole) = fitting(&long);
        assert!(!whole);
        assert_eq!(cut.encode_utf16().count(), MOST_UNITS - 1, "half a letter is none");
        assert_eq!(fitting("short"), ("short", true));
        let umlauts = "ä".repeat(20_000);
        assert_eq!(fitting(&umlauts), (umlauts.as_str(), true), "long in bytes only");
    }

    #[test]
    fn days_are_counted_as_excel_does() {
        let at = |text: &str| text.parse::<NaiveDateTime>().expect("a time");
        assert_eq!(serial(at("1900-03-01T00:00:00")), Some(61.0));
        assert_eq!(serial(at("2026-11-25T12:00:00")), Some(46_351.5));
        assert_eq!(serial(at("1900-02-28T00:00:00")), None, "Excel's 1900 has a 29 February");
    }
}
