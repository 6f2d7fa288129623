//! `./dev` as a person runs it, from a folder whose name shells and URLs find hard.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pulsecal_tests::http::Http;
use pulsecal_tests::processes::{Binaries, Process};
use pulsecal_tests::wait::until;
use serde_json::Value;

use crate::LIMIT;

/// A folder with the script in it. What still runs at the end is stopped.
struct Checkout(PathBuf);

impl Checkout {
    fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("pulsecal dev ü {} {test}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        fs::create_dir_all(root.join("dev.d")).expect("a folder");
        fs::create_dir_all(root.join(".dev")).expect("a folder");
        fs::copy(source.join("dev"), root.join("dev")).expect("copied");
        for part in fs::read_dir(source.join("dev.d")).expect("the parts").flatten() {
            fs::copy(part.path(), root.join("dev.d").join(part.file_name())).expect("copied");
        }
        // The servers that this run of tests uses, so that none is fetched here.
        let of = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(postgres), Some(redis)) = (of("PULSECAL_PG_BIN"), of("PULSECAL_REDIS_SERVER")) {
            fs::write(root.join(".dev/found"), format!("{postgres}\n{redis}\n")).expect("written");
        }
        Self(root)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.0.join("dev"));
        command.args(args).env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("DEV_BIN", Binaries::get().path("pulsecal").parent().expect("a folder"));
        command
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::spawn_command("./dev", self.command(args))
    }

    /// Runs the script to its end with these variables more; gives its exit code and its output.
    async fn run(&self, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        let process = Process::spawn_command("./dev", command);
        let code = process.wait_exit(Duration::from_secs(60)).await.code();
        (code, process.lines().join("\n"))
    }

    async fn status(&self) -> Value {
        let (code, text) = self.run(&["status", "--json"], &[]).await;
        assert_eq!(code, Some(0), "{text}");
        serde_json::from_str(&text).expect("status is JSON")
    }

    /// Processes of this checkout: those with its mark in their environment, and, as servers overwrite theirs, those
    /// at home in its data.
    fn running(&self) -> Vec<(u32, String)> {
        let mark = format!("PULSECAL_DEV_STATE={}/.dev", self.0.display());
        let data = fs::canonicalize(self.0.join(".dev/data")).unwrap_or_else(|_| self.0.join(".dev/data"));
        let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        let ours = |pid: u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            let at_home = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(&data));
            (marked || at_home).then(|| (pid, name(pid)))
        };
        let processes = fs::read_dir("/proc").expect("Linux").flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(ours).collect()
    }

    async fn nothing_runs(&self) {
        until(LIMIT, "nothing of ./dev runs", async || self.running().is_empty().then_some(())).await;
    }

    fn kill9_all(&self) {
        let pids = self.running().into_iter().map(|(pid, _)| pid.to_string());
        // It fails for one that ended by itself meanwhile; whether any is left, the caller asks.
        Command::new("sh").args(["-c", "kill -9 \"$@\"", "kill"]).args(pids).status().expect("sh runs");
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.0.join(name)).expect("it is there").permissions().mode() & 0o777
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // Nothing more can be done where this fails.
        let _ = self.command(&["down", "--purge"]).output();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The port that a URL names.
fn port(url: &Value) -> u16 {
    let url = reqwest::Url::parse(url.as_str().expect("a URL")).expect("a URL");
    url.port().expect("a port")
}

/// What follows `before`, up to a quote or the line's end.
fn between<'a>(page: &'a str, before: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split(['"', '\r', '\n']).next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_up_gives_a_clinic_whose_first_reminder_is_answered_without_a_script_and_leaves_nothing() {
    let checkout = Checkout::new("first");
    let (code, text) = checkout.run(&["status", "--json"], &[]).await;
    assert_eq!((code, text.as_str()), (Some(1), "{\"running\": false}"));

    let up = checkout.start(&["up"]);
    up.wait_line("PulseCal is up.", Duration::from_secs(60)).await;
    let status = checkout.status().await;
    for key in ["api", "inbox", "database_url", "redis_url"] {
        assert!(status[key].is_string(), "{key}: {status}");
    }
    assert_eq!((&status["running"], &status["ready"]), (&Value::Bool(true), &Value::Bool(true)));
    assert!(status["sign_ins"][0]["token"].is_string(), "{status}");
    assert!(status["sign_ins"][0]["email"].is_string() && status["sign_ins"][0]["password"].is_string(), "{status}");
    for name in [".dev/log", ".dev/keys", ".dev/blobs"] {
        assert_eq!(checkout.mode(name), 0o700, "{name} holds what is private");
    }
    let (code, text) = checkout.run(&["up", "--detach"], &[]).await;
    assert!(code == Some(0) && text.contains("Runs already"), "{text}");
    let (code, text) = checkout.run(&["reset"], &[("DATABASE_URL", "postgres://127.0.0.1:1/x")]).await;
    assert!(code == Some(1) && text.contains("yours to empty"), "{text}");

    let api = status["api"].as_str().expect("an address");
    let http = Http::new(api);
    let json = http.clone().with_header("accept", "application/json");
    let mail = until(Duration::from_secs(60), "the first reminder lies in the inbox", async || {
        // Confirmations of visits lie there as well.
        let list = json.get("/dev/inbox").await.expect_status(200).json();
        for mail in list.as_array()?.iter().rev() {
            let mail = json.get(&format!("/dev/inbox/{}", mail["id"].as_str().expect("an id"))).await.json();
            if mail["text"].as_str().is_some_and(|text| text.contains("/p/d/")) {
                return Some(mail);
            }
        }
        None
    })
    .await;
    let link = between(mail["text"].as_str().expect("a text part"), &format!("{api}/p/d/"));
    assert!(mail["html"].as_str().is_some_and(|html| html.contains(link)), "both parts have the link");
    let path = format!("/p/d/{}", link.split('?').next().unwrap_or_default());
    let form = http.get(&format!("/p/d/{link}")).await.expect_status(200).text();
    let fields = [("form_token", between(&form, "name=\"form_token\" value=\"")), ("choice", "done")];
    let posted = http.post_form(&path, &fields).await.expect_status(303);
    let done = http.get(posted.header("location").expect("where to")).await.expect_status(200).text();
    assert!(done.contains("Your answer is recorded."), "{done}");

    up.interrupt();
    assert_eq!(up.wait_exit(Duration::from_secs(60)).await.code(), Some(0), "{}", up.lines().join("\n"));
    checkout.nothing_runs().await;
    for key in ["api", "database_url", "redis_url"] {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port(&status[key]))).is_err(), "{key} still answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_of_everything_and_with_its_ports_taken_dev_up_brings_the_same_clinic_back() {
    let checkout = Checkout::new("again");
    let (code, text) = checkout.run(&["up", "--detach"], &[]).await;
    assert_eq!(code, Some(0), "{text}");
    let before = checkout.status().await;
    let names: Vec<_> = checkout.running().into_iter().map(|(_, name)| name).collect();
    for name in ["postgres", "-server", "pulsecal-api", "pulsecal-worker"] {
        assert!(names.iter().any(|found| found.ends_with(name)), "{name}: {names:?}");
    }

    checkout.kill9_all();
    checkout.nothing_runs().await;
    let (code, text) = checkout.run(&["status"], &[]).await;
    assert!(code == Some(1) && text.contains("Nothing runs"), "{text}");
    let taken: Vec<_> = ["api", "database_url", "redis_url"].map(|key| port(&before[key])).into();
    let _listeners: Vec<_> = taken.iter().map(|port| std::net::TcpListener::bind(("127.0.0.1", *port))).collect();

    let (code, text) = checkout.run(&["up", "--detach"], &[]).await;
    assert_eq!(code, Some(0), "{text}");
    let after = checkout.status().await;
    for key in ["api", "database_url", "redis_url"] {
        assert_ne!(port(&after[key]), port(&before[key]), "{key}");
    }
    assert_eq!(after["sign_ins"], before["sign_ins"], "the clinic is the one of before");
    let (_, clinics) = checkout.run(&["psql", "-Atc", "SELECT count(*) FROM organizations"], &[]).await;
    assert_eq!(clinics, "1");

    let (code, text) = checkout.run(&["down", "--purge"], &[]).await;
    assert!(code == Some(0) && text.contains("Nothing runs."), "{text}");
    checkout.nothing_runs().await;
    assert!(!checkout.0.join(".dev").exists());
    let (code, text) = checkout.run(&["up"], &[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    assert!(code == Some(1) && text.contains("REDIS_URL: nothing answers there"), "{text}");
    checkout.nothing_runs().await;
}
