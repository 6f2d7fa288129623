//! `pulsecal-scheduler`: runs what is timed.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsecal_core::process::main("scheduler", pulsecal_scheduler::run)
}
