//! PDF: a table over pages, with the organization, the moment, and "page x of y" on each. Cells are wrapped, never cut.
//!
//! How many pages there are is known at the end only, so rows are kept as text until then; their number is bounded
//! ([`super::MOST_PDF_ROWS`]).

mod letters;
mod tags;

use std::io::{self, Write};
use std::ops::Range;

use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::ArtifactType;

use self::letters::{Letters, Line};
use self::tags::{Tags, ornament, text};
use super::instants::Instants;
use super::{Cell, Column, Encoder, Heading, Kind, MOST_PDF_ROWS, Spec};

/// A4 across, in points.
const PAGE: (f32, f32) = (841.89, 595.28);
const MARGIN: f32 = 34.0;
const SIZE: f32 = 7.5;
const LINE: f32 = 10.0;
/// Between the rows, and between the columns.
const GAP: f32 = 4.0;
const TITLE_SIZE: f32 = 13.0;
/// Where the table begins, and how high it is at most.
const TABLE_TOP: f32 = MARGIN + 38.0;
const TABLE_HEIGHT: f32 = PAGE.1 - TABLE_TOP - MARGIN - 14.0;
/// Lines of one row on one page; a higher row goes on on the next.
const MOST_LINES: usize = 40;

pub(super) struct PdfEncoder<W> {
    out: W,
    heading: Heading,
    zone: String,
    columns: Vec<Column>,
    instants: Instants,
    /// All cells, one after the other, and where each ends.
    text: String,
    ends: Vec<u32>,
}

impl<W: Write> PdfEncoder<W> {
    pub(super) fn begin(spec: &Spec, heading: &Heading, out: W) -> Self {
        Self {
            out,
            heading: heading.clone(),
            zone: spec.zone.to_string(),
            columns: spec.columns.clone(),
            instants: Instants::new(spec.zone.tz()),
            text: String::new(),
            ends: Vec::new(),
        }
    }

    fn cell(&self, number: usize) -> &str {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[begin..self.ends[number] as usize]
    }
}

impl<W: Write> Encoder for PdfEncoder<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.ends.len() as u64 >= MOST_PDF_ROWS * self.columns.len() as u64 {
            return Err(io::Error::other("the rows are too many for a PDF"));
        }
        for cell in cells {
            match cell {
                Cell::Null => {}
                Cell::Text(text) => self.text.push_str(text),
                Cell::Number(number) => self.text.push_str(&number.to_string()),
                Cell::Id(id) => self.text.push_str(&id.to_string()),
                Cell::Instant(at) => self.text.push_str(self.instants.short(*at)),
                Cell::Date(day) => self.text.push_str(self.instants.day(*day)),
            }
            self.ends.push(u32::try_from(self.text.len()).map_err(io::Error::other)?);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<String>> {
        let mut letters = Letters::new().ok_or_else(|| io::Error::other("the font of this program is broken"))?;
        let widths = widths(&self.columns);
        let pages = self.pages(&mut letters, &widths);
        let mut document = Document::new();
        let title = format!("{} – appointments", self.heading.organization);
        document.set_metadata(Metadata::new().title(title).language("en".to_owned()).creator("PulseCal".to_owned()));
        let mut tags = Tags::new();
        for (number, page) in pages.iter().enumerate() {
            let target = (&mut document, &mut tags);
            self.draw_page(target, &mut letters, &widths, page, (number + 1, pages.len()))?;
        }
        document.set_tag_tree(tags.finish());
        let whole = document.finish().map_err(|error| io::Error::other(format!("{error:?}")))?;
        self.out.write_all(&whole)?;
        self.out.flush()?;
        let mut notes = Vec::new();
        if letters.missing > 0 {
            notes.push(format!(
                "{} characters are not in the PDF's font and show as boxes. The CSV and XLSX files have them.",
                letters.missing
            ));
        }
        Ok(notes)
    }
}

/// A part of a row on a page: which row, and which of its lines.
struct Part {
    row: usize,
    lines: Range<usize>,
}

impl<W: Write> PdfEncoder<W> {
    fn rows(&self) -> usize {
        self.ends.len() / self.columns.len().max(1)
    }

    /// The lines of each cell of a row.
    fn lines_of(&self, letters: &mut Letters, widths: &[f32], row: usize) -> Vec<Vec<Line>> {
        let first = row * self.columns.len();
        (first..).zip(widths).map(|(number, width)| letters.wrapped(self.cell(number), (width - GAP) / SIZE)).collect()
    }

    /// What stands on which page.
    fn pages(&self, letters: &mut Letters, widths: &[f32]) -> Vec<Vec<Part>> {
        let mut pages = vec![Vec::new()];
        let mut left = TABLE_HEIGHT - LINE - 2.0 * GAP;
        let full = left;
        for row in 0..self.rows() {
            let lines = self.lines_of(letters, widths, row).iter().map(Vec::len).max().unwrap_or(1).max(1);
            for from in (0..lines).step_by(MOST_LINES) {
                let part = Part { row, lines: from..lines.min(from + MOST_LINES) };
                #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
                let height = part.lines.len() as f32 * LINE + GAP;
                if height > left {
                    pages.push(Vec::new());
                    left = full;
                }
                left -= height;
                if let Some(page) = pages.last_mut() {
                    page.push(part);
                }
            }
        }
        pages
    }

    fn draw_page(
        &mut self,
        (document, tags): (&mut Document, &mut Tags),
        letters: &mut Letters,
        widths: &[f32],
        parts: &[Part],
        (number, of): (usize, usize),
    ) -> io::Result<()> {
        let settings = PageSettings::from_wh(PAGE.0, PAGE.1).ok_or_else(|| io::Error::other("no page"))?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        let first = number == 1;
        self.draw_title(&mut surface, tags, letters, first);
        let foot = letters.one_line(&format!("Page {number} of {of}"), 60.0);
        let at = (PAGE.0 - MARGIN - foot.width() * SIZE, PAGE.1 - MARGIN);
        ornament(&mut surface, ArtifactType::Footer, |surface| letters.draw(surface, at, &foot, SIZE));

        let mut top = TABLE_TOP;
        let mut left = MARGIN;
        for (column, width) in self.columns.iter().zip(widths) {
            let label = letters.one_line(&column.as_str().replace('_', " "), (width - GAP) / SIZE);
            let draw = |surface: &mut Surface<'_>| letters.draw(surface, (left, top + LINE - 2.0), &label, SIZE);
            if first {
                tags.head(text(&mut surface, draw));
            } else {
                ornament(&mut surface, ArtifactType::PaginationOther, draw);
            }
            left += width;
        }
        top += LINE + GAP;
        rule(&mut surface, top - 2.0, 120);
        top += GAP / 2.0;
        for part in parts {
            let cells = self.lines_of(letters, widths, part.row);
            let mut left = MARGIN;
            ink(&mut surface, 20);
            for (number, ((cell, width), column)) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
                let mut base = top + LINE - 2.0;
                // A cell with nothing in it has its place in the row too.
                let id = text(&mut surface, |surface| {
                    for line in cell.iter().take(part.lines.end).skip(part.lines.start) {
                        let right = column.kind() == Kind::Number || line.leads_left();
                        let at = if right { left + width - GAP - line.width() * SIZE } else { left };
                        letters.draw(surface, (at, base), line, SIZE);
                        base += LINE;
                    }
                });
                tags.cell(part.row, number, id);
                left += width;
            }
            #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
            let height = part.lines.len() as f32 * LINE + GAP;
            top += height;
            rule(&mut surface, top - GAP / 2.0, 225);
        }
        surface.finish();
        page.finish();
        Ok(())
    }

    /// The organization, and what the rows are; the ink is then that of heads.
    fn draw_title(&mut self, surface: &mut Surface<'_>, tags: &mut Tags, letters: &mut Letters, first: bool) {
        let as_of = self.instants.iso(self.heading.as_of).to_owned();
        let subtitle = format!("Appointments as of {as_of}. Times are those of {}. {} rows.", self.zone, self.rows());
        for (title, size, below, grey) in
            [(self.heading.organization.as_str(), TITLE_SIZE, TITLE_SIZE, 20), (&subtitle, SIZE, TITLE_SIZE + 12.0, 90)]
        {
            ink(surface, grey);
            let line = letters.one_line(title, (PAGE.0 - 2.0 * MARGIN) / size);
            let draw = |surface: &mut Surface<'_>| letters.draw(surface, (MARGIN, MARGIN + below), &line, size);
            if first {
                tags.title(text(surface, draw));
            } else {
                ornament(surface, ArtifactType::Header, draw);
            }
        }
    }
}

/// The width of the page, shared out as the columns need it.
fn widths(columns: &[Column]) -> Vec<f32> {
    let wanted = |column: &Column| match column.kind() {
        Kind::Instant => 16.0,
        Kind::Date => 11.0,
        _ => f32::from(column.width()).clamp(8.0, 24.0),
    };
    let all: f32 = columns.iter().map(wanted).sum();
    columns.iter().map(|column| wanted(column) / all * (PAGE.0 - 2.0 * MARGIN)).collect()
}

fn ink(surface: &mut Surface<'_>, grey: u8) {
    surface.set_fill(Some(Fill { paint: rgb::Color::new(grey, grey, grey).into(), ..Fill::default() }));
}

/// A thin line over the page.
fn rule(surface: &mut Surface<'_>, at: f32, grey: u8) {
    let mut path = PathBuilder::new();
    if let Some(rect) = Rect::from_xywh(MARGIN, at, PAGE.0 - 2.0 * MARGIN, 0.4) {
        path.push_rect(rect);
    }
    if let Some(path) = path.finish() {
        ink(surface, grey);
        ornament(surface, ArtifactType::Layout, |surface| surface.draw_path(&path));
    }
}

/// A place on a page.
fn point(at: (f32, f32)) -> Point {
    Point::from_xy(at.0, at.1)
}
