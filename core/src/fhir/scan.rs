//! Walks JSON byte by byte without holding it: finds where values begin and end.
//!
//! It knows strings, escapes and nesting, not grammar; what it cuts out is parsed afterwards.

use std::io::{self, BufRead};

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The input could not be read.
    Io(io::Error),
    /// The input ends inside a value.
    Truncated,
    /// A byte that cannot stand here.
    Unexpected,
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Bytes kept up to a limit, and whether there were more.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// The bytes, incomplete when `over`.
    pub bytes: Vec<u8>,
    /// More bytes or more values than allowed.
    pub over: bool,
}

impl Capture {
    /// Adds bytes unless that passes `most`; then nothing more is kept.
    pub fn push(&mut self, more: &[u8], most: usize) {
        if self.over || self.bytes.len() + more.len() > most {
            self.over = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(more);
        }
    }
}

/// A position in JSON text.
pub(super) struct Scanner<R> {
    reader: R,
    /// Line feeds passed so far.
    pub newlines: u64,
}

impl<R: BufRead> Scanner<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, newlines: 0 }
    }

    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next byte, not consumed; none at the end.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte that is no white space, not consumed.
    pub fn peek_token(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.newlines += u64::from(byte == b'\n');
            self.reader.consume(1);
        }
        Ok(None)
    }

    /// Consumes one byte that was peeked.
    pub fn bump(&mut self) {
        self.reader.consume(1);
    }

    /// Consumes the byte `wanted`, after white space.
    pub fn expect(&mut self, wanted: u8) -> Result<(), ScanError> {
        match self.peek_token()? {
            Some(byte) if byte == wanted => {
                self.bump();
                Ok(())
            }
            Some(_) => Err(ScanError::Unexpected),
            None => Err(ScanError::Truncated),
        }
    }

    /// Passes over one value and keeps its bytes in `capture`, up to `most` of them.
    pub fn value(&mut self, capture: &mut Capture, most: usize) -> Result<(), ScanError> {
        let first = self.peek_token()?.ok_or(ScanError::Truncated)?;
        if matches!(first, b'}' | b']' | b',' | b':') {
            return Err(ScanError::Unexpected);
        }
        let mut walk = Walk::default();
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if buffer.is_empty() {
                return if walk.in_scalar() { Ok(()) } else { Err(ScanError::Truncated) };
            }
            let (taken, ended, newlines) = walk.step(buffer)?;
            capture.push(&buffer[..taken], most);
            self.newlines += newlines;
            self.reader.consume(taken);
            if ended {
                return Ok(());
            }
        }
    }
}

/// Where within a value the walk stands.
#[derive(Default)]
struct Walk {
    depth: usize,
    in_string: bool,
    escaped: bool,
    scalar: bool,
}

impl Walk {
    fn in_scalar(&self) -> bool {
        self.scalar && self.depth == 0 && !self.in_string
    }

    /// How many of `bytes` belong to the value, whether it ends there, and the line feeds among them.
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, bool, u64), ScanError> {
        let mut newlines = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            newlines += u64::from(byte == b'\n');
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Ok((at + 1, true, newlines));
                    }
                }
                continue;
            }
            if self.in_scalar() {
                // A number or word ends before the byte that cannot belong to it.
                if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')) {
                    newlines -= u64::from(byte == b'\n');
                    return Ok((at, true, newlines));
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1).ok_or(ScanError::Unexpected)?;
                    if self.depth == 0 {
                        return Ok((at + 1, true, newlines));
                    }
                }
                _ if self.depth == 0 => {
                    if !(byte.is_ascii_alphanumeric() || byte == b'-') {
                        return Err(ScanError::Unexpected);
                    }
                    self.scalar = true;
                }
                _ => {}
            }
        }
        Ok((bytes.len(), false, newlines))
    }
}

/// At least as many as the JSON values in `bytes`: a bound on the tree it parses to.
pub(super) fn count_values(bytes: &[u8]) -> usize {
    let mut count = 1;
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        if escaped {
            escaped = false;
        } else if in_string {
            escaped = byte == b'\\';
            in_string = byte != b'"';
        } else {
            in_string = byte == b'"';
            count += usize::from(matches!(byte, b',' | b'{' | b'['));
        }
    }
    count
}
