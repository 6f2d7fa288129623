//! Cuts a file into resources: lines of NDJSON, or the entries of Bundles.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::scan::{Capture, ScanError, Scanner};

/// One resource's text, where it stands, and how it is wrapped.
pub(super) struct Unit {
    /// `line 17` or `entry[3]`.
    pub place: String,
    /// The JSON text, or nothing when it is over the limit.
    pub bytes: Option<Vec<u8>>,
    /// The text is an entry of a Bundle, with the resource in its field `resource`.
    pub is_entry: bool,
}

/// How the resources follow each other in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One resource per line.
    Lines,
    /// JSON values one after another: Bundles, or resources over several lines.
    Values,
}

/// Why no further unit could be cut out.
pub(super) enum SplitError {
    Io(io::Error),
    /// The text is no JSON from about this line on.
    Malformed {
        line: u64,
        truncated: bool,
    },
    /// A field `entry` in something that turned out to be no Bundle.
    NoBundle,
}

/// Walks over the units of a file.
pub(super) struct Splitter<R> {
    scanner: Scanner<R>,
    layout: Layout,
    most: usize,
    line: u64,
    bundles: u64,
    open: Option<OpenBundle>,
}

struct OpenBundle {
    next: u64,
    is_bundle: bool,
}

/// Longest name of a field that is looked at; longer ones are passed over.
const MAX_KEY: usize = 256;

impl<R: BufRead> Splitter<R> {
    /// Begins at the reader's position.
    pub fn new(reader: R, layout: Layout, most: usize) -> Self {
        Self { scanner: Scanner::new(reader), layout, most, line: 0, bundles: 0, open: None }
    }

    /// Goes back to where the file begins.
    pub fn restart(&mut self, start: u64) -> io::Result<()>
    where
        R: Seek,
    {
        self.scanner.get_mut().seek(SeekFrom::Start(start))?;
        self.scanner.newlines = 0;
        self.line = 0;
        self.bundles = 0;
        self.open = None;
        Ok(())
    }

    /// The next unit; none at the end of the file.
    pub fn next(&mut self) -> Result<Option<Unit>, SplitError> {
        match self.layout {
            Layout::Lines => self.next_line().map_err(SplitError::Io),
            Layout::Values => self.next_value(),
        }
    }

    fn next_line(&mut self) -> io::Result<Option<Unit>> {
        loop {
            let mut bytes = Vec::new();
            let most = self.most as u64 + 1;
            let reader = self.scanner.get_mut();
            if reader.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let over = bytes.len() > self.most && bytes.last() != Some(&b'\n');
            if over {
                bytes = Vec::new();
                reader.skip_until(b'\n')?;
            } else if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Ok(Some(Unit {
                place: format!("line {}", self.line),
                bytes: (!over).then_some(bytes),
                is_entry: false,
            }));
        }
    }

    fn next_value(&mut self) -> Result<Option<Unit>, SplitError> {
        self.step().map_err(|error| match error {
            StepError::NoBundle => SplitError::NoBundle,
            StepError::Scan(ScanError::Io(error)) => SplitError::Io(error),
            StepError::Scan(error) => SplitError::Malformed {
                line: self.scanner.newlines + 1,
                truncated: matches!(error, ScanError::Truncated),
            },
        })
    }

    fn step(&mut self) -> Result<Option<Unit>, StepError> {
        loop {
            if let Some(unit) = self.entry()? {
                return Ok(Some(unit));
            }
            if self.scanner.peek_token().map_err(ScanError::Io)?.is_none() {
                return Ok(None);
            }
            let line = self.scanner.newlines + 1;
            self.scanner.expect(b'{')?;
            let mut whole = Capture::default();
            whole.push(b"{", self.most);
            if self.fields(&mut whole, None)? {
                return Ok(Some(Unit {
                    place: format!("line {line}"),
                    bytes: (!whole.over).then_some(whole.bytes),
                    is_entry: false,
                }));
            }
        }
    }

    /// The next entry of the Bundle that is open; none when its list ends, or none is open.
    fn entry(&mut self) -> Result<Option<Unit>, StepError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        if open.next > 0 && self.scanner.peek_token().map_err(ScanError::Io)? == Some(b',') {
            self.scanner.bump();
        } else if open.next > 0 && self.scanner.peek_token().map_err(ScanError::Io)? != Some(b']') {
            return Err(self.unexpected());
        }
        if self.scanner.peek_token().map_err(ScanError::Io)? == Some(b']') {
            self.scanner.bump();
            let is_bundle = open.is_bundle;
            self.open = None;
            // What follows the list is passed over, but must still be JSON.
            self.fields(&mut Capture { bytes: Vec::new(), over: true }, Some(is_bundle))?;
            return Ok(None);
        }
        let mut capture = Capture::default();
        self.scanner.value(&mut capture, self.most)?;
        let place = match self.bundles {
            1 => format!("entry[{}]", open.next),
            nth => format!("bundle {nth} entry[{}]", open.next),
        };
        open.next += 1;
        Ok(Some(Unit { place, bytes: (!capture.over).then_some(capture.bytes), is_entry: true }))
    }

    fn unexpected(&mut self) -> StepError {
        match self.scanner.peek_token() {
            Ok(None) => ScanError::Truncated.into(),
            Ok(Some(_)) => ScanError::Unexpected.into(),
            Err(error) => ScanError::Io(error).into(),
        }
    }

    /// Reads the fields of an object up to its end, or up to the entries of a Bundle (then `open` is set).
    /// True when `whole` then holds a complete resource that is no Bundle.
    fn fields(&mut self, whole: &mut Capture, known: Option<bool>) -> Result<bool, StepError> {
        let mut is_bundle = known.unwrap_or(false);
        let mut other_type = false;
        let mut first = known.is_none();
        loop {
            match self.scanner.peek_token().map_err(ScanError::Io)? {
                Some(b'}') => {
                    self.scanner.bump();
                    whole.push(b"}", self.most);
                    return match known {
                        Some(_) if !is_bundle => Err(StepError::NoBundle),
                        Some(_) => Ok(false),
                        None => Ok(!is_bundle),
                    };
                }
                Some(b',') if !first => {
                    self.scanner.bump();
                    whole.push(b",", self.most);
                }
                Some(_) if first => {}
                _ => return Err(self.unexpected()),
            }
            first = false;
            if self.scanner.peek_token().map_err(ScanError::Io)? != Some(b'"') {
                return Err(self.unexpected());
            }
            let mut key = Capture::default();
            self.scanner.value(&mut key, MAX_KEY)?;
            self.scanner.expect(b':')?;
            whole.push(&key.bytes, self.most);
            whole.push(b":", self.most);
            whole.over |= key.over;
            let next = self.scanner.peek_token().map_err(ScanError::Io)?;
            match key.bytes.as_slice() {
                b"\"entry\"" if next == Some(b'[') && !other_type && known.is_none() => {
                    self.scanner.bump();
                    self.bundles += 1;
                    self.open = Some(OpenBundle { next: 0, is_bundle });
                    return Ok(false);
                }
                b"\"resourceType\"" => {
                    let mut value = Capture::default();
                    self.scanner.value(&mut value, MAX_KEY)?;
                    is_bundle = value.bytes == b"\"Bundle\"";
                    other_type = !is_bundle;
                    whole.push(&value.bytes, self.most);
                    whole.over |= value.over;
                }
                _ => {
                    let mut value = Capture { bytes: Vec::new(), over: whole.over };
                    let room = self.most.saturating_sub(whole.bytes.len());
                    self.scanner.value(&mut value, room)?;
                    whole.push(&value.bytes, self.most);
                    whole.over |= value.over;
                }
            }
        }
    }
}

enum StepError {
    Scan(ScanError),
    NoBundle,
}

impl From<ScanError> for StepError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}
