//! Packages of npm, installed by a lock file, once, below the target folder.

use std::path::PathBuf;
use std::process::Command;

/// The folder of a package whose files (name, text) these are, with all that it depends on; none: npm cannot be had here.
///
/// # Panics
/// If the disk does not take it.
#[must_use]
pub fn installed(name: &str, files: &[(&str, &str)]) -> Option<PathBuf> {
    let built = std::env::current_exe().expect("the test knows its own file");
    let target = built.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists() || folder.ends_with("target"))?;
    let home = target.join("tools").join(name);
    let same = |(name, text): &(&str, &str)| std::fs::read_to_string(home.join(name)).is_ok_and(|there| there == *text);
    let done = home.join("node_modules/.package-lock.json");
    if files.iter().all(same) && done.exists() {
        return Some(home);
    }
    // It gets its name only when it is whole.
    std::fs::create_dir_all(target.join("tools")).expect("a folder");
    let part = tempfile::tempdir_in(target.join("tools")).expect("a folder");
    for (name, text) in files {
        std::fs::write(part.path().join(name), text).expect("written");
    }
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    if !Command::new("npm").args(install).current_dir(&part).status().is_ok_and(|done| done.success()) {
        return None;
    }
    let _older = std::fs::remove_dir_all(&home);
    // Another run may have been faster, which is as good.
    let _placed = std::fs::rename(part.path(), &home);
    done.exists().then_some(home)
}
