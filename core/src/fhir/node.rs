//! A JSON value together with its path, so that every complaint can say where.

use serde_json::Value;

use super::problem::{Effect, Problem};
use super::reference::Identifier;

/// A value of a resource and where it stands.
#[derive(Clone)]
pub(super) struct Node<'a> {
    resource: &'a str,
    path: String,
    value: &'a Value,
}

/// Longest text that is taken over from a resource, in characters.
pub(super) const NAME_CHARS: usize = 200;
const IDENTIFIERS: usize = 50;

impl<'a> Node<'a> {
    /// The resource itself; `resource` is how problems name it, `kind` begins every path.
    pub fn root(resource: &'a str, kind: &str, value: &'a Value) -> Self {
        Self { resource, path: kind.to_owned(), value }
    }

    /// A problem with this value; the resource cannot be imported.
    pub fn problem(&self, reason: impl Into<String>) -> Problem {
        Problem::new(Effect::Skipped, self.resource, &self.path, reason)
    }

    /// A problem with a field of this object.
    pub fn problem_at(&self, field: &str, reason: impl Into<String>) -> Problem {
        let path = format!("{}.{field}", self.path);
        Problem::new(Effect::Skipped, self.resource, &path, reason)
    }

    /// The field of an object; none where it is absent or null.
    pub fn get(&self, field: &str) -> Option<Node<'a>> {
        let value = self.value.get(field).filter(|value| !value.is_null())?;
        Some(Node { resource: self.resource, path: format!("{}.{field}", self.path), value })
    }

    /// Whether the object has a field.
    pub fn has(&self, field: &str) -> bool {
        self.value.get(field).is_some_and(|value| !value.is_null())
    }

    /// The items of a list field; none where it is absent.
    pub fn list(&self, field: &str) -> Result<Vec<Node<'a>>, Problem> {
        let Some(node) = self.get(field) else {
            return Ok(Vec::new());
        };
        let Value::Array(items) = node.value else {
            return Err(node.problem("must be a list"));
        };
        let item = |(at, value)| Node { resource: self.resource, path: format!("{}[{at}]", node.path), value };
        // A null stands for an item that has only extensions.
        let filled = items.iter().enumerate().filter(|(_, value)| !value.is_null());
        Ok(filled.map(item).collect())
    }

    /// A field that is an object.
    pub fn object(&self, field: &str) -> Result<Option<Node<'a>>, Problem> {
        match self.get(field) {
            Some(node) if !node.value.is_object() => Err(node.problem("must be an object")),
            node => Ok(node),
        }
    }

    /// This value as a text, as written.
    pub fn text(&self) -> Result<&'a str, Problem> {
        self.value.as_str().ok_or_else(|| self.problem("must be a text"))
    }

    /// A field that is a text, as written.
    pub fn str(&self, field: &str) -> Result<Option<&'a str>, Problem> {
        self.get(field).map(|node| node.text()).transpose()
    }

    /// A field that is one line for people: trimmed, not empty, at most [`NAME_CHARS`] characters.
    ///
    /// # Errors
    /// A line break or another control character, because the text goes into subjects and headers.
    pub fn line(&self, field: &str) -> Result<Option<String>, Problem> {
        self.get(field).map(|node| node.as_line()).transpose().map(Option::flatten)
    }

    /// This value as [`Node::line`]; none when only white space.
    pub fn as_line(&self) -> Result<Option<String>, Problem> {
        let text = self.text()?.trim_matches([' ', '\t']);
        if text.chars().any(unfit) {
            return Err(self.problem("has a line break or another control character"));
        }
        if text.chars().count() > NAME_CHARS {
            return Err(self.problem(format!("is longer than {NAME_CHARS} characters")));
        }
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    /// A field that may have several lines, made one: white space becomes single spaces, cut at `most` characters.
    pub fn prose(&self, field: &str, most: usize) -> Result<Option<String>, Problem> {
        let Some(node) = self.get(field) else {
            return Ok(None);
        };
        let words: Vec<&str> = node.text()?.split_whitespace().collect();
        let text: String = words.join(" ").chars().filter(|c| !unfit(*c)).take(most).collect();
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A field that is true or false.
    pub fn bool(&self, field: &str) -> Result<Option<bool>, Problem> {
        let read = |node: Node<'_>| node.value.as_bool().ok_or_else(|| node.problem("must be true or false"));
        self.get(field).map(read).transpose()
    }

    /// A field that is a whole number from 1 on.
    pub fn positive(&self, field: &str) -> Result<Option<u32>, Problem> {
        let read = |node: Node<'_>| {
            let number = node.value.as_u64().and_then(|n| u32::try_from(n).ok());
            number.filter(|n| *n > 0).ok_or_else(|| node.problem("must be a whole number above 0"))
        };
        self.get(field).map(read).transpose()
    }

    /// A field that is a whole number from 0 on.
    pub fn unsigned(&self, field: &str) -> Result<Option<u32>, Problem> {
        let read = |node: Node<'_>| {
            let number = node.value.as_u64().and_then(|n| u32::try_from(n).ok());
            number.ok_or_else(|| node.problem("must be a whole number, 0 or more"))
        };
        self.get(field).map(read).transpose()
    }

    /// A field that is a decimal number above 0.
    pub fn decimal(&self, field: &str) -> Result<Option<f64>, Problem> {
        let read = |node: Node<'_>| {
            let number = node.value.as_f64().filter(|n| n.is_finite() && *n > 0.0);
            number.ok_or_else(|| node.problem("must be a number above 0"))
        };
        self.get(field).map(read).transpose()
    }

    /// At most one of several fields of which FHIR allows one.
    pub fn one_of(&self, fields: &[&str]) -> Result<(), Problem> {
        let present: Vec<&&str> = fields.iter().filter(|field| self.has(field)).collect();
        match present.as_slice() {
            [first, second, ..] => {
                Err(self.problem(format!("has both {first} and {second}, of which FHIR allows one")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an object whose meaning extensions may change: they are not to be ignored.
    pub fn refuse_modifiers(&self) -> Result<(), Problem> {
        if self.has("modifierExtension") {
            return Err(self.problem_at(
                "modifierExtension",
                "changes the meaning of what it stands on in a way that PulseCal does not know",
            ));
        }
        Ok(())
    }

    /// The name of a `CodeableConcept`: its text, else what a person chose, else the first name of a code.
    pub fn concept_name(&self) -> Result<Option<String>, Problem> {
        if let Some(text) = self.line("text")? {
            return Ok(Some(text));
        }
        let codings = self.list("coding")?;
        let chosen = codings.iter().filter(|coding| coding.bool("userSelected") == Ok(Some(true)));
        for coding in chosen.chain(codings.iter()) {
            if let Some(display) = coding.line("display")? {
                return Ok(Some(display));
            }
        }
        Ok(None)
    }

    /// The field `identifier`: those that have a value.
    pub fn identifiers(&self) -> Result<Vec<Identifier>, Problem> {
        let items = self.list("identifier")?;
        if items.len() > IDENTIFIERS {
            return Err(self.problem_at("identifier", format!("has more than {IDENTIFIERS} entries")));
        }
        let mut found = Vec::new();
        for item in items {
            if let Some(identifier) = item.as_identifier()?
                && !found.contains(&identifier)
            {
                found.push(identifier);
            }
        }
        Ok(found)
    }

    /// This object as an `Identifier`; none without a value.
    pub fn as_identifier(&self) -> Result<Option<Identifier>, Problem> {
        let system = self.line("system")?;
        Ok(self.line("value")?.map(|value| Identifier { system, value }))
    }
}

fn unfit(c: char) -> bool {
    // Besides control characters: line and paragraph separators, and what reorders text around it.
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
