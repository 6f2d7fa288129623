//! ASVS.md has each requirement of the standard's levels 1 and 2 once, and names tests that are there.

use std::collections::{BTreeMap, BTreeSet};

use crate::fences::root;

/// How many requirements each chapter of version 5.0.0 has at the levels 1 and 2.
const CHAPTERS: [(u32, usize, usize); 17] = [
    (1, 8, 19),
    (2, 4, 7),
    (3, 8, 11),
    (4, 2, 8),
    (5, 4, 5),
    (6, 13, 22),
    (7, 6, 12),
    (8, 4, 3),
    (9, 4, 3),
    (10, 5, 24),
    (11, 3, 11),
    (12, 3, 6),
    (13, 1, 12),
    (14, 2, 7),
    (15, 3, 10),
    (16, 0, 16),
    (17, 0, 7),
];

struct Row {
    number: String,
    level: u8,
    state: String,
    why: String,
    evidence: Vec<String>,
}

fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(root().join("docs/ASVS.md")).expect("docs/ASVS.md");
    let lines = page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{line}");
        Row {
            number: cells[0].to_owned(),
            level: cells[1].parse().expect(line),
            state: cells[3].to_owned(),
            why: cells[4].to_owned(),
            evidence: cells[5].split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        }
    });
    rows.collect()
}

#[test]
fn each_requirement_of_levels_1_and_2_stands_there_once() {
    let rows = rows();
    let numbers: BTreeSet<_> = rows.iter().map(|row| &row.number).collect();
    assert_eq!(numbers.len(), rows.len(), "one stands there twice");
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for row in &rows {
        let chapter = row.number.split('.').next().and_then(|chapter| chapter.parse().ok()).expect("a chapter");
        let of = counts.entry(chapter).or_default();
        match row.level {
            1 => of.0 += 1,
            2 => of.1 += 1,
            level => panic!("{}: level {level}", row.number),
        }
    }
    let expected = CHAPTERS.map(|(chapter, first, second)| (chapter, (first, second)));
    assert_eq!(counts, expected.into());
}

#[test]
fn what_is_met_names_tests_that_are_there_and_what_is_not_says_why() {
    let (mut applies, mut tested) = (0, 0);
    for row in rows() {
        let Row { number, state, why, evidence, .. } = row;
        assert!(["met", "not met", "does not apply"].contains(&state.as_str()), "{number}: {state}");
        assert!(!why.is_empty(), "{number} does not say how, or why not");
        assert!(state != "met" || !evidence.is_empty(), "{number} is met, but nothing shows it");
        let mut named = false;
        for place in &evidence {
            let (file, test) = place.split_once("::").map_or((place.as_str(), None), |(file, test)| (file, Some(test)));
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{number}: no {file}"));
            if let Some(test) = test {
                let at = text.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{number}: {file} has no {test}"));
                let before = text[..at].trim_end().trim_end_matches("async").trim_end();
                assert!(before.ends_with("test]") || before.ends_with(")]"), "{number}: {test} is no test");
                named = true;
            }
        }
        applies += usize::from(state != "does not apply");
        tested += usize::from(state == "met" && named);
    }
    println!("{tested} of {applies} that apply have a test");
    assert!(tested * 100 >= applies * 95, "{tested} of {applies} have a test; 95 % is what we hold ourselves to");
}
