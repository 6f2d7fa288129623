//! Real Postgres and Redis servers that a test may stop, kill and bring back.

mod postgres;
mod redis;

pub use self::postgres::Postgres;
pub use self::redis::Redis;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::own_processes::child::{OwnChild, Signal};
use crate::own_processes::run_folder::PID_FILE;

/// How long a server may take to start (crash recovery included) or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// The process of one server: there is one, or none while it is down.
struct ServerProcess {
    name: &'static str,
    folder: PathBuf,
    child: Mutex<Option<OwnChild>>,
}

impl ServerProcess {
    fn new(name: &'static str, folder: PathBuf) -> Self {
        Self { name, folder, child: Mutex::new(None) }
    }

    /// Starts it and waits until `ready` (given the pid) says so.
    ///
    /// # Panics
    /// If one runs already, or it ends or is not ready in time; with the end of its log.
    fn start(&self, mut command: Command, last_signal: Signal, ready: impl Fn(u32) -> bool) {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(slot.is_none(), "{} runs already", self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap_or_else(|error| panic!("cannot write the log of {}: {error}", self.name));
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be cloned"))
            .stdout(log);
        let (child, _) = OwnChild::spawn(&mut command, last_signal)
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        std::fs::write(self.folder.join(PID_FILE), child.pid().to_string()).expect("the pid file can be written");
        let end = Instant::now() + LIMIT;
        while !ready(child.pid()) {
            if let Some(status) = child.status() {
                panic!("{} ended at its start ({status}):\n{}", self.name, self.log_end());
            }
            assert!(Instant::now() < end, "{} was not ready within {LIMIT:?}:\n{}", self.name, self.log_end());
            #[expect(clippy::disallowed_methods, reason = "a bounded wait on a thread of its own")]
            std::thread::sleep(Duration::from_millis(5));
        }
        *slot = Some(child);
    }

    /// Sends the signal and waits for the end; the server is then down. No effect if it is down already.
    fn stop(&self, signal: Signal) {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = slot.as_ref() else { return };
        child.signal(signal);
        assert!(child.wait(LIMIT).is_some(), "{} did not stop at {}:\n{}", self.name, signal.name(), self.log_end());
        *slot = None;
    }

    /// Waits for the end of a server that was asked to stop in another way.
    fn wait_stopped(&self) {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = slot.as_ref() else { return };
        assert!(child.wait(LIMIT).is_some(), "{} did not stop:\n{}", self.name, self.log_end());
        *slot = None;
    }

    fn signal(&self, signal: Signal) {
        let slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let child = slot.as_ref().unwrap_or_else(|| panic!("{} is down", self.name));
        assert!(child.signal(signal), "{} could not be signalled", self.name);
    }

    fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(OwnChild::pid)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let start = text.len().saturating_sub(3_000);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }
}

/// Runs a helper program to its end.
fn run_to_end(mut command: Command, what: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot {what}: {error}"));
    assert!(output.status.success(), "cannot {what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The program on PATH.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
