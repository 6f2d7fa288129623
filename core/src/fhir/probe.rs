//! Tells from its content what a file is, before anything is taken from it.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::scan::{Capture, ScanError, Scanner};
use super::split::Layout;

/// How to read the file, and where its JSON begins; or why it is no FHIR.
pub(super) enum Probed {
    Readable { layout: Layout, start: u64 },
    NoFhir(&'static str),
}

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How many lines, and bytes of each, are searched for a resource when the first one is broken.
const SAMPLE_LINES: usize = 10;
const SAMPLE_BYTES: u64 = 64 * 1024;

/// Looks at the file; leaves the position anywhere.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut R) -> io::Result<Probed> {
    reader.rewind()?;
    let mut head = Vec::new();
    reader.by_ref().take(4096).read_to_end(&mut head)?;
    let start = if head.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 };
    if let Some(reason) = foreign(&head[start..]) {
        return Ok(Probed::NoFhir(reason));
    }
    let start = start as u64;
    reader.seek(SeekFrom::Start(start))?;
    let first = first_value(&mut *reader)?;
    Ok(match first {
        First::Nothing => Probed::NoFhir("the file is empty"),
        First::Bundle => readable(Layout::Values, start),
        First::ResourceInLine => readable(Layout::Lines, start),
        // A resource over several lines; or the first line of many is broken.
        First::Resource | First::Broken | First::CutShort | First::Untyped if is_lines(reader, start)? => {
            readable(Layout::Lines, start)
        }
        First::Resource => readable(Layout::Values, start),
        First::Untyped => Probed::NoFhir("the file is JSON, but names no resourceType"),
        First::CutShort => Probed::NoFhir("the file ends in the middle"),
        First::Broken => Probed::NoFhir("the file begins like JSON, but is not well-formed"),
    })
}

fn readable(layout: Layout, start: u64) -> Probed {
    Probed::Readable { layout, start }
}

/// Why the first bytes cannot be FHIR in JSON.
fn foreign(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(b"PK\x03\x04") || head.starts_with(b"\x28\xb5\x2f\xfd") {
        return Some("the file is compressed; unpack it first");
    }
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return Some("the text is UTF-16; save it as UTF-8");
    }
    if head.contains(&0) {
        return Some("the file is binary");
    }
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        // Nothing but white space so far: the walk decides.
        None | Some(b'{') => None,
        Some(b'<') if String::from_utf8_lossy(head).contains("http://hl7.org/fhir") => {
            Some("the file is FHIR in XML; convert it to JSON")
        }
        Some(b'<') => Some("the file is XML or HTML"),
        Some(b'[') => Some("the file is a JSON list"),
        Some(_) => Some("the file is no JSON"),
    }
}

enum First {
    Nothing,
    Bundle,
    /// Another resource that ends on the line it began.
    ResourceInLine,
    /// Another resource that goes on after its first line.
    Resource,
    /// JSON without a type.
    Untyped,
    Broken,
    CutShort,
}

fn first_value<R: BufRead>(reader: R) -> io::Result<First> {
    let mut scanner = Scanner::new(reader);
    if scanner.peek_token()?.is_none() {
        return Ok(First::Nothing);
    }
    let before = scanner.newlines;
    let mut typed = false;
    match walk(&mut scanner, before, &mut typed) {
        Ok(first) => Ok(first),
        Err(ScanError::Io(error)) => Err(error),
        Err(_) if typed => Ok(First::Resource),
        Err(ScanError::Truncated) => Ok(First::CutShort),
        Err(_) => Ok(First::Broken),
    }
}

fn walk<R: BufRead>(scanner: &mut Scanner<R>, before: u64, typed: &mut bool) -> Result<First, ScanError> {
    scanner.expect(b'{')?;
    loop {
        match scanner.peek_token()?.ok_or(ScanError::Truncated)? {
            b'}' => {
                return Ok(match (*typed, scanner.newlines == before) {
                    (true, true) => First::ResourceInLine,
                    (true, false) => First::Resource,
                    (false, _) => First::Untyped,
                });
            }
            b',' => scanner.bump(),
            b'"' => {}
            _ => return Err(ScanError::Unexpected),
        }
        if *typed && scanner.newlines > before {
            return Ok(First::Resource);
        }
        scanner.peek_token()?;
        let mut key = Capture::default();
        scanner.value(&mut key, 64)?;
        scanner.expect(b':')?;
        scanner.peek_token()?;
        let mut value = Capture::default();
        scanner.value(&mut value, 128)?;
        if key.bytes == b"\"resourceType\"" {
            if value.bytes == b"\"Bundle\"" {
                return Ok(First::Bundle);
            }
            *typed = value.bytes.len() > 2 && value.bytes.first() == Some(&b'"');
        }
    }
}

/// Whether the file is one object per line, some of them resources, even if the first is broken.
fn is_lines<R: BufRead + Seek>(reader: &mut R, start: u64) -> io::Result<bool> {
    reader.seek(SeekFrom::Start(start))?;
    let mut objects = 0;
    let mut resources = 0;
    for _ in 0..SAMPLE_LINES {
        let mut line = Vec::new();
        if reader.by_ref().take(SAMPLE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            reader.skip_until(b'\n')?;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // The lines of an object that is spread over several begin otherwise.
        if !line.starts_with(b"{") || line.trim_ascii().len() < 3 {
            return Ok(false);
        }
        objects += 1;
        let name = b"\"resourceType\"";
        resources += usize::from(line.windows(name.len()).any(|part| part == name));
    }
    Ok(objects > 1 && resources > 0)
}
