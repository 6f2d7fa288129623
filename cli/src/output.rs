//! How results are shown: a table for people, JSON for programs.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

/// Prints a line. Who reads may stop reading, as `head` does; then there is nobody left to tell.
pub fn say(line: &str) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// How to show results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of a table.
    pub json: bool,
}

impl Output {
    /// Shows rows: as a JSON array, or as a table of these columns.
    pub fn rows<T: Serialize>(self, columns: &[&str], rows: &[T]) {
        let values: Vec<Value> = rows.iter().map(|row| serde_json::to_value(row).unwrap_or(Value::Null)).collect();
        if self.json {
            say(&Value::Array(values).to_string());
            return;
        }
        let cell = |row: &Value, column: &str| match &row[column] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let lines: Vec<Vec<String>> =
            values.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|i| lines.iter().map(|line| line[i].chars().count()).chain([columns[i].len()]).max().unwrap_or(0))
            .collect();
        let print = |cells: &mut dyn Iterator<Item = &str>| {
            let line: Vec<String> = cells.zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
            say(line.join("  ").trim_end());
        };
        print(&mut columns.iter().copied());
        for line in &lines {
            print(&mut line.iter().map(String::as_str));
        }
        if lines.is_empty() {
            say("(none)");
        }
    }

    /// Shows one thing: as JSON, or as the sentence.
    pub fn one<T: Serialize>(self, value: &T, sentence: &str) {
        if self.json {
            say(&serde_json::to_value(value).unwrap_or(Value::Null).to_string());
        } else {
            say(sentence);
        }
    }
}
