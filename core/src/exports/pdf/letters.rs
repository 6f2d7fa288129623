//! Letters of the one font: which glyphs a text becomes, how wide it is, and where its lines end. Words that were shaped once
//! are remembered, for a report has the same ones over and over.

use std::collections::HashMap;
use std::rc::Rc;

use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use rustybuzz::{Direction, Face, UnicodeBuffer};
use unicode_bidi::BidiInfo;

use super::point;

/// DejaVu Sans 2.37: Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Georgian and more. Its licence lies beside it.
const FONT: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
/// So many words are remembered; then all are forgotten.
const MOST_WORDS: usize = 20_000;
/// A longer word is shaped each time.
const LONGEST_REMEMBERED: usize = 64;
/// Where a word that is wider than its column is broken, at the latest.
const LONGEST_WORD: usize = 400;

/// A text in glyphs, in the order in which they are drawn. Widths are in parts of the font's size.
#[derive(Debug)]
struct Run {
    text: String,
    glyphs: Vec<KrillaGlyph>,
    width: f32,
    missing: u64,
}

/// A line: runs from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    runs: Vec<Rc<Run>>,
    width: f32,
    leads_left: bool,
}

impl Line {
    /// In parts of the font's size.
    pub(super) fn width(&self) -> f32 {
        self.width
    }

    /// Its script is written from right to left.
    pub(super) fn leads_left(&self) -> bool {
        self.leads_left
    }
}

pub(super) struct Letters {
    font: Font,
    face: Face<'static>,
    em: f32,
    /// Glyph and advance of the characters of ASCII, which need no shaping.
    ascii: Vec<(GlyphId, f32)>,
    words: HashMap<String, Rc<Run>>,
    /// Characters drawn that the font does not have.
    pub(super) missing: u64,
}

impl Letters {
    /// None: the font is broken.
    pub(super) fn new() -> Option<Self> {
        let font = Font::new(FONT.into(), 0)?;
        let face = Face::from_slice(FONT, 0)?;
        #[expect(clippy::cast_precision_loss, reason = "two thousand and some")]
        let em = face.units_per_em() as f32;
        let ascii = (0_u8..128).map(|byte| {
            let glyph = face.glyph_index(char::from(byte)).unwrap_or_default();
            let advance = f32::from(face.glyph_hor_advance(glyph).unwrap_or(0));
            (GlyphId::new(glyph.0.into()), advance / em)
        });
        let ascii = ascii.collect();
        Some(Self { font, face, em, ascii, words: HashMap::new(), missing: 0 })
    }

    /// The lines of a text in a column of this width.
    pub(super) fn wrapped(&mut self, text: &str, width: f32) -> Vec<Line> {
        let mut lines = Vec::new();
        for paragraph in text.split('\n').map(str::trim) {
            if paragraph.is_empty() {
                continue;
            }
            let whole = self.line(paragraph);
            if whole.width <= width {
                lines.push(whole);
            } else {
                self.wrap(paragraph, width, &mut lines);
            }
        }
        lines
    }

    fn wrap(&mut self, paragraph: &str, width: f32, lines: &mut Vec<Line>) {
        let space = self.ascii[usize::from(b' ')].1;
        let (mut begin, mut end, mut used) = (0, 0, 0.0);
        for word in paragraph.split_whitespace() {
            let at = word.as_ptr() as usize - paragraph.as_ptr() as usize;
            let mut wide = self.run(word, None).width;
            if used > 0.0 && used + space + wide > width {
                lines.push(self.line(&paragraph[begin..end]));
                (begin, used) = (at, 0.0);
            }
            let mut from = at;
            while wide > width {
                // A word that is wider than the column is broken where the column ends.
                let part = self.fitting(&paragraph[from..at + word.len()], width);
                if part == at + word.len() - from {
                    break;
                }
                lines.push(self.line(&paragraph[from..from + part]));
                from += part;
                (begin, used) = (from, 0.0);
                wide = self.run(&paragraph[from..at + word.len()], None).width;
            }
            used += if used > 0.0 { space + wide } else { wide };
            end = at + word.len();
        }
        if begin < end {
            lines.push(self.line(&paragraph[begin..end]));
        }
    }

    /// How many bytes of a word fit; at least one character, at most [`LONGEST_WORD`] of them.
    fn fitting(&self, word: &str, width: f32) -> usize {
        let mut used = 0.0;
        for (count, (at, letter)) in word.char_indices().enumerate() {
            let glyph = self.face.glyph_index(letter).unwrap_or_default();
            used += f32::from(self.face.glyph_hor_advance(glyph).unwrap_or(0)) / self.em;
            if count > 0 && (used > width || count > LONGEST_WORD) {
                return at;
            }
        }
        word.len()
    }

    /// A text that must fit in one line; what does not is left out.
    pub(super) fn one_line(&mut self, text: &str, width: f32) -> Line {
        self.wrapped(text, width).into_iter().next().unwrap_or_default()
    }

    fn line(&mut self, text: &str) -> Line {
        if text.is_ascii() {
            let run = self.run(text, None);
            return Line { width: run.width, runs: vec![run], leads_left: false };
        }
        let bidi = BidiInfo::new(text, None);
        let mut line = Line::default();
        for paragraph in &bidi.paragraphs {
            line.leads_left = paragraph.level.is_rtl();
            let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for run in runs {
                let direction =
                    if levels[run.start].is_rtl() { Direction::RightToLeft } else { Direction::LeftToRight };
                let run = self.run(&text[run], Some(direction));
                line.width += run.width;
                line.runs.push(run);
            }
        }
        line
    }

    fn run(&mut self, text: &str, direction: Option<Direction>) -> Rc<Run> {
        if let Some(known) = self.words.get(text) {
            return known.clone();
        }
        let run = Rc::new(if text.is_ascii() { self.plain(text) } else { self.shaped(text, direction) });
        if text.len() <= LONGEST_REMEMBERED {
            if self.words.len() >= MOST_WORDS {
                self.words.clear();
            }
            self.words.insert(text.to_owned(), run.clone());
        }
        run
    }

    fn plain(&self, text: &str) -> Run {
        let glyphs: Vec<_> = text
            .bytes()
            .enumerate()
            .map(|(at, byte)| {
                // Control characters have no glyph of their own.
                let (id, advance) = self.ascii[usize::from(if byte.is_ascii_control() { b' ' } else { byte })];
                KrillaGlyph::new(id, advance, 0.0, 0.0, 0.0, at..at + 1, None)
            })
            .collect();
        let width = glyphs.iter().map(|glyph| glyph.x_advance).sum();
        Run { text: text.to_owned(), glyphs, width, missing: 0 }
    }

    fn shaped(&self, text: &str, direction: Option<Direction>) -> Run {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        if let Some(direction) = direction {
            buffer.set_direction(direction);
        }
        buffer.guess_segment_properties();
        let backwards = buffer.direction() == Direction::RightToLeft;
        let shaped = rustybuzz::shape(&self.face, &[], buffer);
        let (infos, places) = (shaped.glyph_infos(), shaped.glyph_positions());
        #[expect(clippy::cast_precision_loss, reason = "distances of a few thousand units")]
        let part = |units: i32| units as f32 / self.em;
        let mut glyphs = Vec::with_capacity(infos.len());
        let mut missing = 0;
        for (number, (info, place)) in infos.iter().zip(places).enumerate() {
            // The text of a glyph reaches to where the next cluster begins; glyphs of one that leads left come backwards.
            let begin = info.cluster as usize;
            let next = if backwards {
                infos[..number].iter().rev().find(|other| other.cluster != info.cluster)
            } else {
                infos[number..].iter().find(|other| other.cluster != info.cluster)
            };
            let end = next.map_or(text.len(), |other| other.cluster as usize);
            missing += u64::from(info.glyph_id == 0);
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(info.glyph_id),
                part(place.x_advance),
                part(place.x_offset),
                part(place.y_offset),
                part(place.y_advance),
                begin..end.max(begin),
                None,
            ));
        }
        let width = glyphs.iter().map(|glyph| glyph.x_advance).sum();
        Run { text: text.to_owned(), glyphs, width, missing }
    }

    /// Draws a line from its left end on.
    pub(super) fn draw(&mut self, surface: &mut Surface<'_>, at: (f32, f32), line: &Line, size: f32) {
        let mut left = at.0;
        for run in &line.runs {
            self.missing += run.missing;
            surface.draw_glyphs(point((left, at.1)), &run.glyphs, self.font.clone(), &run.text, size, false);
            left += run.width * size;
        }
    }
}
