//! The product's own binaries, run as an operator would run them.

mod binaries;
mod lines;

pub use self::binaries::Binaries;
pub(crate) use self::binaries::migrations_folder;

use std::ffi::OsString;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use self::lines::Lines;
use crate::own_processes::child::{OwnChild, Signal};
use crate::threads::blocking;
use crate::wait::until;

/// What is handed on from the tests' environment; all else must be said by the test.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "RUST_BACKTRACE", "RUST_LOG", "LLVM_PROFILE_FILE"];

/// A running binary. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Arc<OwnChild>,
    lines: Arc<Lines>,
}

/// What a command that ran to its end left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a binary of the workspace without arguments, with only these variables and a few of the system's.
    ///
    /// # Panics
    /// If the binary cannot be built or started.
    pub fn spawn<K: Into<OsString>, V: Into<OsString>>(binary: &str, env: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::spawn_with(binary, &[], env)
    }

    /// Starts it with arguments.
    pub fn spawn_with<K: Into<OsString>, V: Into<OsString>>(
        binary: &str,
        arguments: &[&str],
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut command = Command::new(Binaries::get().path(binary));
        command.args(arguments).env_clear();
        for name in INHERITED {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(env.into_iter().map(|(name, value)| (name.into(), value.into())));
        Self::spawn_command(binary, command)
    }

    /// Starts any program as it is described; its output is captured.
    pub fn spawn_command(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, pipes) = OwnChild::spawn(&mut command, Signal::Terminate)
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let lines = Lines::reading(pipes);
        Self { name: name.to_owned(), child: Arc::new(child), lines }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// How it ended; `None` while it lives (also while it is stopped).
    pub fn status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// The last lines of output and error output, in the order in which they were read.
    pub fn lines(&self) -> Vec<String> {
        self.lines.all()
    }

    /// A mark in the output, for [`Self::wait_line_after`].
    pub fn mark(&self) -> u64 {
        self.lines.count()
    }

    /// Waits for a line that contains `pattern`; one that is there already counts.
    ///
    /// # Panics
    /// If none comes within the limit, or the process ends without one.
    pub async fn wait_line(&self, pattern: &str, limit: Duration) -> String {
        self.wait_line_after(0, pattern, limit).await
    }

    /// Waits for a line after the mark.
    pub async fn wait_line_after(&self, mark: u64, pattern: &str, limit: Duration) -> String {
        let end = tokio::time::Instant::now() + limit;
        loop {
            // Asked first: what the process wrote before its end is read after it.
            let over = self.status().is_some() && self.lines.at_end();
            if let Some(line) = self.lines.first_after(mark, pattern) {
                return line;
            }
            let late = tokio::time::Instant::now() >= end;
            assert!(
                !over && !late,
                "{} {} without a line that contains {pattern:?}. Its last lines:\n{}",
                self.name,
                if over { "ended".to_owned() } else { format!("ran for {limit:?}") },
                self.lines.end()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL; returns when the process is no more.
    pub fn kill9(&self) {
        self.child.signal(Signal::Kill);
        assert!(self.child.wait(Duration::from_secs(5)).is_some(), "{} survives SIGKILL", self.name);
    }

    /// SIGTERM.
    pub fn term(&self) {
        self.child.signal(Signal::Terminate);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.child.signal(Signal::Interrupt);
    }

    /// SIGSTOP: the process stands still and keeps all it has open.
    pub fn stop(&self) {
        self.child.signal(Signal::Stop);
    }

    /// SIGCONT: a stopped process goes on.
    pub fn cont(&self) {
        self.child.signal(Signal::Continue);
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it has not ended within the limit.
    pub async fn stop_gracefully(&self, limit: Duration) -> ExitStatus {
        self.term();
        self.wait_exit(limit).await
    }

    /// Waits for the end, whatever its reason.
    ///
    /// # Panics
    /// If it has not ended within the limit.
    pub async fn wait_exit(&self, limit: Duration) -> ExitStatus {
        let what = format!("{} has ended", self.name);
        until(limit, &what, async || self.status()).await
    }
}

/// Runs a binary of the workspace to its end.
///
/// # Panics
/// If it does not end within the limit; it is then killed.
pub async fn run<K: Into<OsString>, V: Into<OsString>>(
    binary: &str,
    arguments: &[&str],
    env: impl IntoIterator<Item = (K, V)>,
    limit: Duration,
) -> Finished {
    let env: Vec<(OsString, OsString)> = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let (binary, arguments) = (binary.to_owned(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
    // Blocking, because the first use may build the binaries.
    let process = blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::spawn_with(&binary, &arguments, env)
    })
    .await;
    let status = process.wait_exit(limit).await;
    let lines = Arc::clone(&process.lines);
    until(Duration::from_secs(5), "the output of an ended process is read", async || lines.at_end().then_some(()))
        .await;
    Finished { status, stdout: lines.stdout(), stderr: lines.stderr() }
}
