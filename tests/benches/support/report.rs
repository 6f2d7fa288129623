//! A table for people and a JSON file for programs.

use std::fs;

use serde_json::{Map, Value, json};

use super::bed::Bed;
use super::checkout;

/// What a bench found: facts of the run, and rows of named numbers.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    facts: Map<String, Value>,
    rows: Vec<Vec<(String, Value)>>,
}

impl Report {
    /// Starts with what numbers depend on: machine, servers, load.
    pub async fn new(name: &'static str, bed: &Bed) -> Self {
        let mut report = Self { name, facts: Map::new(), rows: Vec::new() };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        report.fact("cores", cores);
        report.fact("load_before", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        for setting in ["server_version", "fsync", "synchronous_commit", "shared_buffers"] {
            report.fact(format!("postgres_{setting}"), bed.postgres_setting(setting).await);
        }
        if bed.postgres_setting("fsync").await != "on" {
            report.fact("doubt", "fsync is off: these numbers are better than what an installation would see");
        }
        report
    }

    /// Adds what holds for the whole run.
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.facts.insert(name.into(), value.into());
    }

    /// Adds a row; its names are the table's heads, in the order of the first row.
    pub fn row<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        self.rows.push(cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }

    /// Prints the table and writes `bench-results/NAME.json`.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[expect(clippy::print_stdout, reason = "a bench reports to the terminal")]
    pub fn finish(self) {
        println!("\n{}", self.name);
        for (name, value) in &self.facts {
            println!("  {name}: {}", shown(value));
        }
        println!("\n{}", self.table());
        let folder = checkout().join("bench-results");
        let path = folder.join(format!("{}.json", self.name));
        let rows: Vec<Map<String, Value>> = self.rows.iter().map(|row| row.iter().cloned().collect()).collect();
        let document = json!({"bench": self.name, "run": self.facts, "rows": rows});
        let text = serde_json::to_string_pretty(&document).expect("numbers and texts serialize");
        fs::create_dir_all(&folder).and_then(|()| fs::write(&path, text + "\n")).expect("the results can be written");
        println!("\n{}", path.display());
    }

    fn table(&self) -> String {
        // Columns in the order in which rows name them first.
        let mut heads: Vec<&String> = Vec::new();
        for (name, _) in self.rows.iter().flatten() {
            if !heads.contains(&name) {
                heads.push(name);
            }
        }
        let cell = |row: &[(String, Value)], head: &String| {
            row.iter().find(|(name, _)| name == head).map_or_else(String::new, |(_, value)| shown(value))
        };
        let body = self.rows.iter().map(|row| heads.iter().map(|head| cell(row, head)));
        let mut lines: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).clone()).collect()];
        lines.extend(body.map(Iterator::collect::<Vec<_>>));
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        let aligned = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let mut text = vec![aligned(&lines[0])];
        text.push(format!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|")));
        text.extend(lines[1..].iter().map(aligned));
        text.join("\n")
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(number) if number.fract() != 0.0 && number.abs() < 10.0 => format!("{number:.2}"),
            Some(number) if number.fract() != 0.0 && number.abs() < 100.0 => format!("{number:.1}"),
            Some(number) => format!("{number:.0}"),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The value below which this share (0 to 1) of the sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let mut place = 0;
    // The rank, counted rather than cast.
    while place < last && (place_of(place + 1)) < share * place_of(sorted.len()) {
        place += 1;
    }
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn place_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// `p50`, `p95`, `p99` and the largest of these values, sorted here.
pub fn spread(values: &mut [f64]) -> [f64; 4] {
    values.sort_by(f64::total_cmp);
    [0.50, 0.95, 0.99, 1.0].map(|share| percentile(values, share))
}
