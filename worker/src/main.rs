//! `pulsecal-worker`: runs jobs.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsecal_core::process::main("worker", pulsecal_worker::run)
}
