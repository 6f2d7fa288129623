//! Report exports: what can be asked for, and how rows become a file.
//!
//! Rows come out of one snapshot of Postgres ([`crate::store::export_rows`]), go through an encoder ([`Encoder`]) and a seal
//! ([`Sealing`]), and into the blob store ([`write_file`]), piece by piece: no step holds more than a few of them.

mod cell;
mod columns;
mod csv;
mod file;
mod file_name;
mod instants;
mod pdf;
mod seal;
mod spec;
mod xlsx;

pub use cell::{Cell, CellError, Tuple};
pub use columns::{Column, Kind};
pub use file::{Encoded, FileError, Order, Progress, RowBatch, encode_to, write_file};
pub use file_name::file_name;
pub use seal::{Opened, Sealing};
pub use spec::{CsvOptions, Delimiter, Filters, Format, Spec, SpecError, States};

use std::io::{self, Write};

/// A PDF is laid out in memory, which bounds its rows; what is longer is refused in words.
pub const MOST_PDF_ROWS: u64 = 100_000;

/// Turns rows into a file. Rows are not kept, but by PDF, whose rows are bounded.
pub trait Encoder {
    /// Adds a row; it has as many cells as there are columns.
    ///
    /// # Errors
    /// The output, or the temporary file.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;

    /// Ends the file. Gives what its reader should know.
    ///
    /// # Errors
    /// As [`Encoder::row`].
    fn finish(self: Box<Self>) -> io::Result<Vec<String>>;
}

/// What stands at the head of a file.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The organization's name.
    pub organization: String,
    /// The moment that the rows show.
    pub as_of: chrono::DateTime<chrono::Utc>,
}

/// The encoder for `spec`, which writes to `out`.
///
/// # Errors
/// The output, or the temporary file.
pub fn encoder<'a, W: Write + Send + 'a>(spec: &Spec, heading: &Heading, out: W) -> io::Result<Box<dyn Encoder + 'a>> {
    Ok(match spec.format {
        Format::Csv => Box::new(csv::CsvEncoder::begin(spec, out)),
        Format::Xlsx => Box::new(xlsx::XlsxEncoder::begin(spec, heading, out)?),
        Format::Pdf => Box::new(pdf::PdfEncoder::begin(spec, heading, out)),
    })
}
