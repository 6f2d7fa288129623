//! The worker process: apalis workers over the belt, running jobs under their policies.

mod belt;
mod finisher;
mod held;
mod orders;
mod process;
mod runner;

pub use process::{run, run_with};
