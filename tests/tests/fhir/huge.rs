//! Files that are too long to hold, and readers that fail.

use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom};

use pulsecal_core::fhir::{self, Limits};

use super::support::{Items, bundle, ids, line, patient, problems};

/// Bytes that are made while they are read: some text, then one byte many times, then text again.
struct Made {
    parts: [(Vec<u8>, u64); 3],
    at: u64,
}

impl Made {
    fn new(before: &str, fill: u64, after: &str) -> Self {
        let (before, after) = (before.as_bytes().to_vec(), after.as_bytes().to_vec());
        let lengths = (before.len() as u64, after.len() as u64);
        Self { parts: [(before, lengths.0), (b"x".to_vec(), fill), (after, lengths.1)], at: 0 }
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let mut from = self.at;
        for (bytes, length) in &self.parts {
            if from < *length {
                let count = buffer.len().min(usize::try_from(length - from).unwrap_or(usize::MAX));
                if bytes.len() == 1 {
                    buffer[..count].fill(bytes[0]);
                } else {
                    let start = usize::try_from(from).expect("short");
                    buffer[..count].copy_from_slice(&bytes[start..start + count]);
                }
                self.at += count as u64;
                return Ok(count);
            }
            from -= length;
        }
        Ok(0)
    }
}

impl Seek for Made {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at,
            _ => return Err(Error::from(ErrorKind::Unsupported)),
        }
        Ok(self.at)
    }
}

/// The most memory this process ever held, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") / 1024
}

const HUGE: u64 = 200 * 1024 * 1024;

#[test]
fn a_line_of_200_megabytes_is_passed_over_in_little_memory() {
    let before = format!("{}\n{{\"resourceType\":\"Patient\",\"id\":\"huge\",\"photo\":\"", line("a"));
    let after = format!("\"}}\n{}\n", line("b"));
    let reader = BufReader::with_capacity(64 * 1024, Made::new(&before, HUGE, &after));
    let items: Items = fhir::read(reader, Limits::default()).collect();
    assert_eq!(ids(&items), ["a", "b"]);
    assert_eq!(problems(&items), ["line 2: is longer than 8388608 bytes and was passed over"]);
    assert!(peak_memory() < 150, "{} MiB", peak_memory());
}

#[test]
fn so_is_a_huge_entry_of_a_bundle() {
    let before = "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"huge\",\"photo\":\"";
    let after = format!("\"}}}},{{\"resource\":{}}}]}}", line("b"));
    let reader = BufReader::with_capacity(64 * 1024, Made::new(before, 24 * 1024 * 1024, &after));
    let items: Items = fhir::read(reader, Limits::default()).collect();
    assert_eq!(ids(&items), ["b"]);
    assert_eq!(problems(&items), ["entry[0]: is longer than 8388608 bytes and was passed over"]);
}

/// A reader that fails after some bytes.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        match self.0.read(buffer)? {
            0 => Err(Error::from(ErrorKind::ConnectionReset)),
            count => Ok(count),
        }
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        self.0.seek(to)
    }
}

#[test]
fn an_unreadable_file_is_one_problem() {
    for text in [bundle(&[patient()]).to_string(), line("a")] {
        let reader = BufReader::new(Failing(Cursor::new(text.into_bytes())));
        let items: Items = fhir::read(reader, Limits::default()).collect();
        assert_eq!(problems(&items), ["file: could not be read: connection reset"]);
        assert_eq!(items.len(), 1);
    }
}
