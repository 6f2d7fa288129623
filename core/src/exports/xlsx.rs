//! Spreadsheets: text typed as text, so that nothing is a formula; instants as dates of the zone; head frozen, with filters.
//!
//! The library's constant-memory mode keeps each sheet in a temporary file without a name until the workbook is put together,
//! and the workbook is put together in another: both vanish with the process.

use std::io::{self, Seek, SeekFrom, Write};

use chrono::{Datelike, NaiveDate, NaiveDateTime};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, XlsxError};

use super::instants::Instants;
use super::{Cell, Column, Encoder, Heading, Kind, Spec};

/// Rows of a sheet with its head: Excel knows no more.
const MOST_ROWS: u32 = 1_048_576;
/// UTF-16 units of a cell.
const MOST_UNITS: usize = 32_767;

pub(super) struct XlsxEncoder<W> {
    out: W,
    book: Workbook,
    columns: Vec<Column>,
    instants: Instants,
    instant_format: Format,
    date_format: Format,
    head_format: Format,
    zone: String,
    sheets: usize,
    next_row: u32,
    cut: u64,
}

impl<W: Write + Send> XlsxEncoder<W> {
    pub(super) fn begin(spec: &Spec, heading: &Heading, out: W) -> io::Result<Self> {
        let mut book = Workbook::new();
        let at = heading.as_of.naive_utc();
        let created = ExcelDateTime::from_timestamp(at.and_utc().timestamp()).map_err(io_error)?;
        book.set_properties(
            &DocProperties::new()
                .set_title("Appointments")
                .set_author(&heading.organization)
                .set_creation_datetime(&created),
        );
        let mut this = Self {
            out,
            book,
            columns: spec.columns.clone(),
            instants: Instants::new(spec.zone.tz()),
            instant_format: Format::new().set_num_format("yyyy-mm-dd hh:mm"),
            date_format: Format::new().set_num_format("yyyy-mm-dd"),
            head_format: Format::new().set_bold(),
            zone: spec.zone.to_string(),
            sheets: 0,
            next_row: 0,
            cut: 0,
        };
        this.begin_sheet().map_err(io_error)?;
        Ok(this)
    }

    fn begin_sheet(&mut self) -> Result<(), XlsxError> {
        self.end_sheet()?;
        self.sheets += 1;
        let name = if self.sheets == 1 { "Appointments".to_owned() } else { format!("Appointments {}", self.sheets) };
        let sheet = self.book.add_worksheet_with_constant_memory()?;
        sheet.set_name(name)?;
        sheet.set_freeze_panes(1, 0)?;
        for (at, column) in (0_u16..).zip(&self.columns) {
            sheet.set_column_width(at, f64::from(column.width()))?;
        }
        for (at, column) in (0_u16..).zip(&self.columns) {
            let label = match column.kind() {
                Kind::Instant => format!("{column} ({})", self.zone),
                _ => column.to_string(),
            };
            sheet.write_string_with_format(0, at, label, &self.head_format)?;
        }
        self.next_row = 1;
        Ok(())
    }

    fn end_sheet(&mut self) -> Result<(), XlsxError> {
        let last_column = u16::try_from(self.columns.len().saturating_sub(1)).unwrap_or(0);
        if let Some(sheet) = self.book.worksheets_mut().last_mut() {
            sheet.autofilter(0, 0, self.next_row.saturating_sub(1).max(1), last_column)?;
        }
        Ok(())
    }

    fn write_row(&mut self, cells: &[Cell<'_>]) -> Result<(), XlsxError> {
        if self.next_row == MOST_ROWS {
            self.begin_sheet()?;
        }
        let row = self.next_row;
        self.next_row += 1;
        let Some(sheet) = self.book.worksheets_mut().last_mut() else { return Ok(()) };
        for (at, cell) in (0_u16..).zip(cells) {
            match cell {
                Cell::Null => {}
                Cell::Text(text) => {
                    let (text, whole) = fitting(text);
                    self.cut += u64::from(!whole);
                    sheet.write_string(row, at, text)?;
                }
                // A spreadsheet's numbers have 15 digits; what has more stays exact as text.
                Cell::Number(number) if number.unsigned_abs() >= 1_000_000_000_000_000 => {
                    sheet.write_string(row, at, number.to_string())?;
                }
                #[expect(clippy::cast_precision_loss, reason = "15 digits are exact")]
                Cell::Number(number) => {
                    sheet.write_number(row, at, *number as f64)?;
                }
                Cell::Id(id) => {
                    sheet.write_string(row, at, id.to_string())?;
                }
                Cell::Instant(instant) => match serial(self.instants.local(*instant).0) {
                    Some(serial) => {
                        sheet.write_number_with_format(row, at, serial, &self.instant_format)?;
                    }
                    None => {
                        sheet.write_string(row, at, self.instants.iso(*instant))?;
                    }
                },
                Cell::Date(day) => match serial(day.and_time(chrono::NaiveTime::MIN)) {
                    Some(serial) => {
                        sheet.write_number_with_format(row, at, serial, &self.date_format)?;
                    }
                    None => {
                        sheet.write_string(row, at, self.instants.day(*day))?;
                    }
                },
            }
        }
        Ok(())
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

fn io_error(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

impl<W: Write + Send> Encoder for XlsxEncoder<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.write_row(cells).map_err(io_error)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<String>> {
        self.end_sheet().map_err(io_error)?;
        // A zip file is put together with seeks, which an encrypted stream has not.
        let mut whole = tempfile::tempfile()?;
        self.book.save_to_writer(&mut whole).map_err(io_error)?;
        whole.seek(SeekFrom::Start(0))?;
        io::copy(&mut io::BufReader::with_capacity(256 * 1024, whole), &mut self.out)?;
        self.out.flush()?;
        let mut notes = Vec::new();
        if self.sheets > 1 {
            notes.push(format!("The rows are on {} sheets: one holds 1,048,575 at most.", self.sheets));
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
