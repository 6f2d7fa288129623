//! Headless Chromium, which walks pages with axe: the machine's own, or npm's where it has none.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::npm;

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../browser/package.json")),
    ("package-lock.json", include_str!("../browser/package-lock.json")),
    ("walk.mjs", include_str!("../browser/walk.mjs")),
];
/// A walk takes no longer.
const LONGEST: Duration = Duration::from_secs(300);

/// A page that was looked at.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// The path that was asked for.
    pub path: String,
    /// Where that led to.
    pub ended: String,
    /// The answer's status.
    pub status: u16,
}

/// What somebody found on their walk.
#[derive(Debug, Deserialize)]
pub struct Walked {
    /// Who walked.
    pub role: String,
    /// The pages, in order.
    pub pages: Vec<Seen>,
    /// What is wrong with them.
    pub problems: Vec<String>,
}

/// Walks: `wanted` has `base`, `roles` (name, email and password, pages to begin with, whether to follow links) and `plain` (email, password and the
/// page of a visit to cancel without scripts). Pictures go to the folder that `BROWSER_SHOTS` names. None: neither Chromium nor npm can be had here.
///
/// # Panics
/// If the walk breaks off.
pub async fn walk(mut wanted: Value) -> Option<Vec<Walked>> {
    wanted["program"] = json!(own_program());
    wanted["shots"] = json!(std::env::var_os("BROWSER_SHOTS").map(PathBuf::from));
    let walking = tokio::task::spawn_blocking(move || {
        let home = npm::installed("browser", &FILES)?;
        let mut command = Command::new("timeout");
        command.arg(LONGEST.as_secs().to_string()).args(["node", "walk.mjs"]).current_dir(home);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        child.stdin.take().expect("piped").write_all(wanted.to_string().as_bytes()).expect("it reads");
        let done = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "the walk broke off: {text}");
        let line = text.lines().find_map(|line| line.strip_prefix("walk: ")).expect("what it found");
        Some(serde_json::from_str(line).expect("what it found is JSON"))
    });
    walking.await.expect("walked")
}

fn own_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}
