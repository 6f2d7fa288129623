//! Files that belong to medical records: what they may be, and what is wrong with those that are none of it.

use std::fmt;

/// The largest file, in bytes.
pub const MOST_BYTES: usize = 10 << 20;
/// A record has no more files.
pub const MOST_PER_RECORD: i64 = 20;
/// The longest name of a file, in characters.
pub const FILE_NAME: usize = 120;

/// What a file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// A document.
    Pdf,
    /// A picture.
    Png,
    /// A photograph.
    Jpeg,
    /// Text in UTF-8.
    Text,
    /// An image of medicine, as its devices make it.
    Dicom,
}

impl MediaType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pdf, Self::Png, Self::Jpeg, Self::Text, Self::Dicom];

    /// As `Content-Type` has it, without parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Text => "text/plain",
            Self::Dicom => "application/dicom",
        }
    }

    /// Of a `Content-Type`, whatever its parameters and case; none: files are none of that.
    pub fn of(content_type: &str) -> Option<Self> {
        let given = content_type.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(given))
    }

    /// Whether a file is what it is said to be, by its first bytes.
    pub fn fits(self, file: &[u8]) -> bool {
        match self {
            Self::Text => std::str::from_utf8(file).is_ok_and(|text| !text.contains(is_no_text)),
            other => infer::get(file).is_some_and(|found| found.mime_type() == other.as_str()),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_no_text(letter: char) -> bool {
    letter.is_control() && !['\n', '\r', '\t', '\u{c}'].contains(&letter)
}

/// What is wrong with the name of a file; none: nothing. It is a name for people and for their disks, so it holds nothing that
/// leads out of a folder, hides or turns text around.
pub fn wrong_name(name: &str) -> Option<String> {
    let turns = |letter| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let bad = |letter: char| letter.is_control() || turns(letter) || "/\\:*?\"<>|".contains(letter);
    let fine = (1..=FILE_NAME).contains(&name.chars().count())
        && !name.contains(bad)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' ']);
    (!fine).then(|| format!("must be a file name of {FILE_NAME} characters at most, without / \\ : * ? \" < > |"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_is_said_to_be() {
        let dicom: Vec<u8> = [0; 128].into_iter().chain(*b"DICM\x02\x00").collect();
        let files: [(MediaType, &[u8]); 5] = [
            (MediaType::Pdf, b"%PDF-1.7\n"),
            (MediaType::Png, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            (MediaType::Jpeg, b"\xff\xd8\xff\xe0\0\x10JFIF"),
            (MediaType::Text, "Blutdruck 120/80\r\n\tgemessen".as_bytes()),
            (MediaType::Dicom, &dicom),
        ];
        for (kind, file) in files {
            for other in MediaType::ALL {
                // A PDF's first line is text as well.
                let both = other == MediaType::Text && kind == MediaType::Pdf;
                assert_eq!(other.fits(file), other == kind || both, "{kind} as {other}");
            }
        }
        assert!(!MediaType::Text.fits(b"\xff\xfe") && !MediaType::Text.fits(b"a\0b") && !MediaType::Pdf.fits(b""));
        assert_eq!(MediaType::of("Application/PDF; charset=x"), Some(MediaType::Pdf));
        assert_eq!(MediaType::of("text/html"), None);
    }

    #[test]
    fn names_are_names_and_no_paths() {
        for fine in ["scan.pdf", "Röntgen Thorax 2026-11-03.png", "x"] {
            assert_eq!(wrong_name(fine), None, "{fine}");
        }
        for bad in
            ["", ".htaccess", "../x", "a/b", "a\\b", "a\nb", "x\u{202e}fdp.exe", "a.", " a", "con:x", &"x".repeat(121)]
        {
            assert!(wrong_name(bad).is_some(), "{bad:?}");
        }
    }
}
