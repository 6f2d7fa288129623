//! What could not be understood, in the user's words.

use std::fmt;

/// What a [`Problem`] did to the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing further was read: the file is no FHIR, ends in the middle, or could not be read.
    Stopped,
    /// This resource is not imported; the rest is.
    Skipped,
    /// The resource is imported without this part.
    Partial,
}

/// What could not be understood, where, and why.
///
/// Holds ids, field paths and codes, never names, addresses or free text of a resource. Bounded in length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it did to the import.
    pub effect: Effect,
    /// The resource, `MedicationRequest/abc`, or where it stands when it has no usable id: `line 17`, `entry[3]`.
    pub resource: String,
    /// The field, `MedicationRequest.dosageInstruction[0].timing.repeat.when`; empty for the whole.
    pub path: String,
    /// Why, as a sentence for the person who imports.
    pub reason: String,
}

const RESOURCE_CHARS: usize = 100;
const PATH_CHARS: usize = 150;
const REASON_CHARS: usize = 250;

impl Problem {
    /// Makes a problem; over-long parts are cut.
    pub(super) fn new(effect: Effect, resource: &str, path: &str, reason: impl Into<String>) -> Self {
        Self {
            effect,
            resource: cut(resource, RESOURCE_CHARS),
            path: cut(path, PATH_CHARS),
            reason: cut(&reason.into(), REASON_CHARS),
        }
    }

    /// The same problem with another effect.
    pub(super) fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.path.is_empty() {
            write!(f, " at {}", self.path)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Problem {}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A code as it may be quoted in a problem: short and plain, so that no personal text slips in.
pub(super) fn quote(code: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:#%".contains(c);
    if !code.is_empty() && code.len() <= 40 && code.chars().all(plain) {
        format!("\"{code}\"")
    } else {
        "a text that is no code".to_owned()
    }
}
