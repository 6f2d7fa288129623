//! The supervisor behind `./dev up`: runs api, worker and scheduler side by side, each with its name before
//! every log line, restarts what ends, and stops all in order.
//!
//! `./dev` brings up the servers, migrates, seeds and sets the environment; the programs inherit it. What runs is
//! written to the state folder: `supervisor.pid`, `pids`, `status.json`, and, once the API is ready, `welcome.txt`.

mod child;
mod health;
mod log;
mod state;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use child::{Event, Program, Role};
use log::Log;
use state::State;

/// How often a program may end before the system was ready once; then the start has failed.
const FAILURES_BEFORE_READY: u32 = 3;

/// How long all programs must have been up to call the system ready: one with a wrong setting ends sooner.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What the supervisor needs beside the environment that the programs inherit.
#[derive(Debug, clap::Args)]
pub struct SuperviseArgs {
    /// Folder of the state files and the log.
    #[arg(long)]
    pub state_dir: PathBuf,
    /// Folder of `pulsecal-api`, `pulsecal-worker` and `pulsecal-scheduler`.
    #[arg(long)]
    pub bin_dir: PathBuf,
    /// Seconds until the API must be ready.
    #[arg(long, default_value_t = 90)]
    pub ready_within: u64,
}

/// Runs the three programs until a signal (INT, TERM, HUP) ends them in order. A second signal ends them at once.
///
/// # Errors
/// If the environment is incomplete, a state file cannot be written, a program keeps ending before the system was
/// ready, or the API is not ready in time. All programs are stopped before the error returns.
pub async fn supervise(args: SuperviseArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut signals = Signals::listen()?;
    let log = Log::open(&args.state_dir)?;
    let mut state = State::from_environment(&args.state_dir)?;
    state.save()?;

    let (events, mut reports) = mpsc::channel(32);
    let mut crew = Crew::start(&args, &events, &log);
    let result = tokio::select! {
        result = watch_over(&args, &mut state, &mut reports, &log) => result,
        () = signals.next() => Ok(()),
    };
    if let Err(error) = &result {
        log.line("dev", &format!("giving up: {error}"));
    }
    log.line("dev", "stopping: scheduler, api, worker");
    let ended = tokio::select! {
        () = crew.stop() => "all stopped",
        () = signals.next() => "second signal: all killed",
    };
    drop(crew);
    log.line("dev", ended);
    state.remove();
    result
}

/// Keeps the state files true to what the programs do. Returns only if the start fails.
async fn watch_over(
    args: &SuperviseArgs,
    state: &mut State,
    reports: &mut mpsc::Receiver<Event>,
    log: &Log,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let deadline = Instant::now() + Duration::from_secs(args.ready_within);
    let address = state.probe_address().to_owned();
    let mut ready = Box::pin(health::wait_ready(&address, deadline));
    let mut failures = [0_u32; Role::ALL.len()];
    let mut api_answers = false;
    loop {
        let settled = state.all_running_since().map(|since| since + SETTLED_AFTER);
        tokio::select! {
            answer = &mut ready, if !api_answers => {
                answer?;
                api_answers = true;
            }
            () = tokio::time::sleep_until(settled.unwrap_or(deadline)),
                if api_answers && settled.is_some() && !state.is_ready() => {
                state.set_ready()?;
                log.plain(&state.welcome());
            }
            Some(event) = reports.recv() => match event {
                Event::Started { role, pid, metrics } => {
                    state.started(role, pid, metrics);
                    state.save()?;
                }
                Event::Ended { role, how } => {
                    log.line("dev", &format!("{role} ended: {how}"));
                    state.ended(role);
                    state.save()?;
                    failures[role as usize] += 1;
                    if !state.is_ready() && failures[role as usize] >= FAILURES_BEFORE_READY {
                        return Err(format!("{role} does not stay up: {how}").into());
                    }
                }
            },
        }
    }
}

/// The programs, each kept running by a task of its own.
struct Crew(Vec<(watch::Sender<bool>, JoinHandle<()>)>);

impl Crew {
    fn start(args: &SuperviseArgs, events: &mpsc::Sender<Event>, log: &Log) -> Self {
        let start = |role| {
            let (stop, stopped) = watch::channel(false);
            let program = Program::new(role, &args.bin_dir);
            let task = tokio::spawn(program.keep_running(stopped, events.clone(), log.clone()));
            (stop, task)
        };
        Self(Role::ALL.into_iter().map(start).collect())
    }

    /// In the order of [`Role::ALL`], each one ended before the next is told.
    async fn stop(&mut self) {
        for (stop, task) in &mut self.0 {
            // Nobody listens any more only if the task has ended, which is what is wanted.
            let _ = stop.send(true);
            let _ = task.await;
        }
    }
}

impl Drop for Crew {
    /// Ends the tasks, and with them (kill on drop) whatever still runs.
    fn drop(&mut self) {
        for (_, task) in &self.0 {
            task.abort();
        }
    }
}

struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
