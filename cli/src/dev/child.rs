//! One program: start it, read its output, start it again when it ends, end it when asked.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::log::Log;

/// First wait before a program is started again; doubles with each end.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest wait: with the start itself, a program is back within 5 s.
const BACKOFF_LONGEST: Duration = Duration::from_secs(3);
/// A program that ran this long starts with the first wait again.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Which of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Scheduler,
    Api,
    Worker,
}

impl Role {
    /// In the order of stopping: no new firings, no new requests, then the work in hand is finished.
    pub(super) const ALL: [Self; 3] = [Self::Scheduler, Self::Api, Self::Worker];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    /// How long the program may take to end by itself. The worker drains its running jobs.
    fn grace(self) -> Duration {
        match self {
            Self::Scheduler | Self::Api => Duration::from_secs(12),
            Self::Worker => Duration::from_secs(45),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a program's keeper reports.
#[derive(Debug)]
pub(super) enum Event {
    /// It runs, with this address for metrics (worker and scheduler).
    Started { role: Role, pid: u32, metrics: Option<SocketAddr> },
    /// It ended though nobody asked, or could not be started; it will be started again.
    Ended { role: Role, how: String },
}

/// One program to keep running.
#[derive(Debug)]
pub(super) struct Program {
    role: Role,
    path: PathBuf,
}

impl Program {
    pub(super) fn new(role: Role, bin_dir: &Path) -> Self {
        let path = bin_dir.join(format!("pulsecal-{role}"));
        Self { role, path }
    }

    /// Runs the program again and again until `stop` becomes true; then ends it and returns.
    pub(super) async fn keep_running(self, mut stop: watch::Receiver<bool>, events: mpsc::Sender<Event>, log: Log) {
        let role = self.role;
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let how = match self.start(&log) {
                Err(error) => format!("cannot start {}: {error}", self.path.display()),
                Ok((mut child, pid, metrics)) => {
                    // The receiver is gone only when the supervisor is ending anyway.
                    let _ = events.send(Event::Started { role, pid, metrics }).await;
                    tokio::select! {
                        status = child.wait() => match status {
                            Ok(status) => status.to_string(),
                            Err(error) => error.to_string(),
                        },
                        () = asked(&mut stop) => {
                            end(&mut child, pid, role.grace()).await;
                            return;
                        }
                    }
                }
            };
            let _ = events.send(Event::Ended { role, how }).await;
            tokio::select! {
                () = tokio::time::sleep(backoff.next(started.elapsed())) => {}
                () = asked(&mut stop) => return,
            }
        }
    }

    fn start(&self, log: &Log) -> std::io::Result<(Child, u32, Option<SocketAddr>)> {
        let mut command = Command::new(&self.path);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C in a terminal reaches the supervisor only, which stops in order.
            .process_group(0)
            .kill_on_drop(true);
        let metrics = match self.role {
            Role::Api => None,
            Role::Worker | Role::Scheduler => Some(free_address()?),
        };
        if let Some(address) = metrics {
            command.env("METRICS_BIND", address.to_string());
        }
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| std::io::Error::other("ended at once"))?;
        if let Some(out) = child.stdout.take() {
            tokio::spawn(copy_lines(out, self.role, log.clone()));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(copy_lines(err, self.role, log.clone()));
        }
        Ok((child, pid, metrics))
    }
}

/// Returns when the program shall stop, also when nobody is left to say so.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A port that is free now. The program binds it a moment later; should another be faster, the program ends and is
/// started again with a new one.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

async fn copy_lines(from: impl AsyncRead + Unpin, role: Role, log: Log) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes, not text: a program's output need not be UTF-8.
    while let Ok(1..) = from.read_until(b'\n', &mut line).await {
        log.line(role.name(), String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// TERM, and KILL after the grace.
async fn end(child: &mut Child, pid: u32, grace: Duration) {
    // The standard library has no way to send TERM, but every shell has. The pid cannot be another's: the child is
    // not waited for yet.
    let sent =
        Command::new("/bin/sh").args(["-c", "kill -TERM \"$0\"", &pid.to_string()]).stdin(Stdio::null()).status().await;
    let asked = matches!(sent, Ok(status) if status.success());
    if !asked || tokio::time::timeout(grace, child.wait()).await.is_err() {
        // Fails only if it has just ended.
        let _ = child.kill().await;
    }
}

/// Waits between starts: doubling, bounded, and short again after a long run.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    ends: u32,
}

impl Backoff {
    /// The wait after a run of this length.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE_AFTER {
            self.ends = 0;
        }
        let wait = BACKOFF_FIRST * 2_u32.pow(self.ends.min(10));
        self.ends = self.ends.saturating_add(1);
        wait.min(BACKOFF_LONGEST)
    }
}
