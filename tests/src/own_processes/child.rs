//! One child process: signals, its end, and its certain death.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::run_folder::RunFolder;

/// A signal by the name that `kill` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    Quit,
    Kill,
    Stop,
    Continue,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Sends a signal to processes known to be ours. False if `kill` could not deliver it to each.
pub(crate) fn signal_all(pids: &[u32], signal: Signal) -> bool {
    if pids.is_empty() {
        return true;
    }
    // The shell's own `kill`, because not every image has /bin/kill.
    Command::new("sh")
        .args(["-c", r#"name=$1; shift; kill -s "$name" "$@""#, "kill", signal.name()])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

enum State {
    Running(Child),
    Ended(ExitStatus),
}

/// A child in its own process group, killed on drop, and by the run's watchdog if the test process itself dies.
pub(crate) struct OwnChild {
    pid: u32,
    state: Mutex<State>,
}

impl OwnChild {
    /// Spawns the command; `last_signal` is what the watchdog sends first if the test process dies.
    pub(crate) fn spawn(command: &mut Command, last_signal: Signal) -> io::Result<(Self, Pipes)> {
        // Its own group, so that Ctrl-C in the terminal ends the test and the watchdog ends the children in order.
        let mut child = command.process_group(0).spawn()?;
        let pid = child.id();
        RunFolder::get().guard(pid, last_signal);
        let pipes = Pipes { stdout: child.stdout.take(), stderr: child.stderr.take() };
        Ok((Self { pid, state: Mutex::new(State::Running(child)) }, pipes))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the process ended, or `None` while it lives.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        Self::look(self.pid, &mut self.lock())
    }

    /// Sends the signal unless the process has ended; the lock makes sure that the pid is still this child's.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let mut state = self.lock();
        if Self::look(self.pid, &mut state).is_some() {
            return false;
        }
        match (&mut *state, signal) {
            (State::Running(child), Signal::Kill) => child.kill().is_ok(),
            _ => signal_all(&[self.pid], signal),
        }
    }

    /// Blocks until the process has ended, at most `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.status() {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            #[expect(clippy::disallowed_methods, reason = "a bounded wait on a thread of its own, in Drop too")]
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(pid: u32, state: &mut State) -> Option<ExitStatus> {
        let status = match state {
            State::Ended(status) => return Some(*status),
            State::Running(child) => child.try_wait().expect("the state of an own child can be asked")?,
        };
        *state = State::Ended(status);
        RunFolder::get().release(pid);
        Some(status)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        if self.signal(Signal::Kill) {
            self.wait(Duration::from_secs(5));
        }
    }
}

/// The ends of the pipes that the command asked for.
pub(crate) struct Pipes {
    pub(crate) stdout: Option<std::process::ChildStdout>,
    pub(crate) stderr: Option<std::process::ChildStderr>,
}

/// The processes whose parent is `pid`, read from /proc.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|candidate| state_and_parent(*candidate).is_some_and(|(_, parent)| parent == pid))
        .collect()
}

/// True if the process is no more, or only waits to be collected by whoever inherited it.
pub(crate) fn is_gone(pid: u32) -> bool {
    state_and_parent(pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X'))
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in brackets, may itself hold spaces and brackets.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, parent))
}
