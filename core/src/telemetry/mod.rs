//! Logs, metrics, Sentry, and how a process tells that it is well.

mod health;
mod logs;
mod port;

pub use health::{Health, Loop};
pub use logs::{Telemetry, start};
pub use port::serve;
