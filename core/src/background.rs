//! Heavy work that nobody waits for at this moment: it takes what the processor has left over, so that a dose that is due is not
//! late because a backup is being made.

use rustix::process::{Pid, setpriority_process};
use tokio::sync::oneshot;

/// As `nice -n 10`: about a tenth of the processor while others want it, all of it while nobody does.
const NICE: i32 = 10;

/// Runs `work` on a thread of its own that steps back. What it gives comes by the receiver, which ends without it if the thread
/// could not be started or the work panicked.
pub fn spawn<T: Send + 'static>(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (give, result) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux, "this process" is this thread.
        if let Err(error) = setpriority_process(None, NICE) {
            tracing::debug!(error = %error, "background: this thread keeps its priority");
        }
        let _nobody_waits = give.send(work());
    });
    if let Err(error) = started {
        tracing::error!(error = %error, "background: no thread for {name}");
    }
    result
}

/// Lets a process that was started, and all that it will start, step back.
pub fn step_back(process: Option<u32>) {
    let pid = process.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = setpriority_process(Some(pid), NICE)
    {
        tracing::debug!(error = %error, "background: a process keeps its priority");
    }
}
