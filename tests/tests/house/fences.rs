//! Who may import whom, and what stands where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The direct dependencies of a workspace member, development ones aside.
fn dependencies(member: &str) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == member).expect(member);
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().expect("name").to_owned())
        .collect()
}

#[test]
fn imports_go_one_way() {
    let own = |member: &str| -> BTreeSet<String> {
        dependencies(member).into_iter().filter(|name| name.starts_with("pulsecal-")).collect()
    };
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(own("pulsecal-core"), set(&[]));
    assert_eq!(own("pulsecal-jobs"), set(&["pulsecal-core"]));
    for process in ["pulsecal-api", "pulsecal-worker", "pulsecal-scheduler", "pulsecal-cli"] {
        assert_eq!(own(process), set(&["pulsecal-core", "pulsecal-jobs"]), "{process}");
    }
}

#[test]
fn libraries_stay_behind_their_fences() {
    let fences: &[(&str, &[&str])] = &[
        ("axum", &["pulsecal-api"]),
        ("apalis", &["pulsecal-worker"]),
        ("apalis-core", &["pulsecal-worker"]),
        ("apalis-redis", &["pulsecal-worker"]),
        ("redis", &["pulsecal-core", "pulsecal-worker"]),
        ("lettre", &["pulsecal-core"]),
        ("tera", &["pulsecal-core"]),
        ("sqlx", &["pulsecal-core"]),
    ];
    let members =
        ["pulsecal-core", "pulsecal-jobs", "pulsecal-api", "pulsecal-worker", "pulsecal-scheduler", "pulsecal-cli"];
    for member in members {
        let used = dependencies(member);
        for (library, homes) in fences {
            assert!(homes.contains(&member) || !used.contains(*library), "{member} must not use {library}");
        }
    }
}

pub fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        std::fs::read_dir(folder).expect("a folder of the workspace").map(|entry| entry.expect("readable").path())
    {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn sql_lives_in_the_store() {
    let mut files = Vec::new();
    for member in ["core/src", "jobs/src", "api/src", "worker/src", "scheduler/src", "cli/src"] {
        rust_files(&root().join(member), &mut files);
    }
    assert!(files.len() > 50, "only {} files were looked at", files.len());
    for file in files.iter().filter(|file| !file.starts_with(root().join("core/src/store"))) {
        let text = std::fs::read_to_string(file).expect("readable");
        assert!(!text.contains("sqlx::query"), "{} has SQL", file.display());
    }
}

#[test]
fn the_sample_environment_lists_what_the_code_reads() {
    let sample = std::fs::read_to_string(root().join(".env.sample")).expect(".env.sample");
    let listed: BTreeSet<&str> = sample
        .lines()
        .map(|line| line.trim_start_matches('#').trim())
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        })
        .collect();
    let read: BTreeSet<&str> = pulsecal_core::config::VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(listed, read);
}
