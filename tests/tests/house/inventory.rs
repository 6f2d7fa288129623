//! What DATA.md, SECURITY.md and OPERATIONS.md list is what the database and the code have.

use std::collections::{BTreeMap, BTreeSet};

use pulsecal_api::policy::{RULES, Trace};
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::servers::Postgres;

use crate::fences::{root, rust_files};

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect(name)
}

/// The rows of the tables under a heading, each a list of its cells.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let from = page.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = page[from + 4..].split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows = lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
    rows.skip(1).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[tokio::test]
async fn every_table_is_listed_with_its_class_and_how_long_it_is_kept() {
    let db = TestDatabase::create(Postgres::shared().await).await;
    let there: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> '_sqlx_migrations'",
    )
    .fetch_all(&db.pool().await)
    .await
    .expect("the catalogue reads");
    let data = page("DATA.md");
    let classes: BTreeSet<_> = rows(&data, "Classes").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(classes.len(), 5);
    let listed = rows(&data, "Tables");
    for row in &listed {
        assert!(classes.contains(&row[1]), "{row:?}: no such class");
        assert!(!row[2].is_empty(), "{row:?}: for how long is not said");
    }
    let listed: BTreeSet<String> = listed.iter().map(|row| quoted(&row[0])[0].to_owned()).collect();
    assert_eq!(listed, there.into_iter().collect(), "DATA.md lists other tables than the database has");
}

#[test]
fn every_key_that_follows_from_the_secret_is_listed_with_what_another_one_means() {
    let data = page("DATA.md");
    let listed: BTreeSet<String> =
        rows(&data, "Keys").iter().flat_map(|row| quoted(&row[0])).map(str::to_owned).collect();
    let mut used = BTreeSet::new();
    let mut files = Vec::new();
    rust_files(&root().join("core/src"), &mut files);
    // Tests make keys of their own.
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for part in code.split("b\"pulsecal ").skip(1) {
            used.insert(format!("pulsecal {}", part.split(['"', '\\']).next().unwrap_or_default()));
        }
        // The keys of codes are those of people's apps.
        let keyed = code.contains("new_from_slice(") && !file.ends_with("accounts/second/totp.rs");
        assert!(!keyed || code.contains("b\"pulsecal "), "{} makes a key without a label", file.display());
        for part in code.split("Identities::derived(").skip(1) {
            used.insert(part.split('"').nth(1).unwrap_or_default().to_owned());
        }
    }
    assert!(used.len() > 5);
    assert_eq!(listed, used);
}

#[test]
fn the_bounds_that_are_written_are_those_of_the_code() {
    let bounds = rows(&page("DATA.md"), "Bounds");
    assert!(bounds.len() > 30);
    for row in bounds {
        let (file, name) = quoted(&row[2])[0].split_once("::").expect("FILE::NAME");
        let code = std::fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{row:?}: no such file"));
        let line = code.lines().find(|line| line.contains(&format!("const {name}: ")));
        let line = line.unwrap_or_else(|| panic!("{row:?}: no such constant"));
        let value = line.split_once(" = ").map(|(_, value)| value.trim_end_matches(';')).expect("a value");
        let value = value.strip_prefix("TimeDelta::").or(value.strip_prefix("Duration::")).unwrap_or(value);
        assert_eq!(row[1], value, "{file}: {name}");
    }
}

/// `Duration::from_secs(180)` as the table has it: `3 min`.
fn in_words(every: &str) -> String {
    let seconds: u64 = every.trim_start_matches("Duration::from_secs(").trim_end_matches(')').parse().expect(every);
    if seconds.is_multiple_of(60) && seconds > 60 { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

#[test]
fn the_limits_that_are_written_are_those_of_the_code() {
    let code = std::fs::read_to_string(root().join("api/src/limits.rs")).expect("limits.rs");
    let mut made: BTreeMap<(String, String), i32> = BTreeMap::new();
    for line in code.lines().filter(|line| line.contains(": Limit = Limit {") && !line.contains("STRANGERS")) {
        let after =
            |word: &str| line.split(word).nth(1).unwrap_or_default().split([',', '}']).next().unwrap_or_default();
        *made.entry((after("burst: ").trim().into(), in_words(after("every: ").trim()))).or_default() += 1;
    }
    assert!(made.len() > 3);
    // The first two rows are those of RATE_LIMITS; one rule may stand in several rows.
    let written: BTreeSet<_> =
        rows(&page("SECURITY.md"), "Limits").into_iter().skip(2).map(|row| (row[1].clone(), row[2].clone())).collect();
    assert_eq!(written, made.into_keys().collect());
}

#[test]
fn every_event_that_a_route_leaves_is_listed() {
    let mut listed = BTreeSet::new();
    for row in rows(&page("DATA.md"), "Events on record") {
        let thing = quoted(&row[0])[0].to_owned();
        listed.extend(quoted(&row[1]).into_iter().map(|event| format!("{thing}.{event}")));
    }
    for rule in RULES {
        let events = match rule.trace {
            Trace::Nothing => &[][..],
            Trace::Read(event) => &[event],
            Trace::Write(events) => events,
        };
        for event in events {
            assert!(
                listed.contains(*event),
                "{} {} leaves {event}, of which DATA.md says nothing",
                rule.method,
                rule.path
            );
        }
    }
}

#[test]
fn the_ways_in_are_written_down() {
    let security = page("SECURITY.md");
    for rule in RULES.iter().filter(|rule| rule.method == "POST") {
        let way_in = ["/sign-in", "/sign-up", "/forgot", "/reset", "/welcome", "/oauth/token"];
        if way_in.iter().any(|way| rule.path.starts_with(way)) {
            let known = rule.path.split("/{").next().unwrap_or_default();
            assert!(security.contains(&format!("{known}`")), "SECURITY.md says nothing of {known}");
        }
    }
}

#[test]
fn every_library_comes_from_the_registry_with_its_hash() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let (mut foreign, mut sources) = (0, BTreeSet::new());
    for package in lock.split("[[package]]").skip(1) {
        let of = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
            line.map(|value| value.trim_end_matches('"').to_owned())
        };
        let name = of("name").expect("a name");
        let Some(source) = of("source") else {
            assert!(name.starts_with("pulsecal"), "{name} has no source");
            continue;
        };
        assert!(source.starts_with("registry+https://"), "{name} comes from {source}");
        sources.insert(source);
        assert!(of("checksum").is_some_and(|hash| hash.len() == 64), "{name} has no hash");
        foreign += 1;
    }
    assert!(foreign > 100);
    assert_eq!(sources.len(), 1, "one registry is enough");
}
