//! The tools of the tests are tested here: a tool that lies makes every other test lie.

mod databases;
mod dev_script;
mod http;
mod processes;
mod proxy;
mod servers;
mod smtp;
mod smtp_client;
mod smtp_faults;
mod wait;

use std::time::Duration;

/// Long enough for anything that should happen.
const LIMIT: Duration = Duration::from_secs(20);
/// How long something must not happen to be believed.
const SILENCE: Duration = Duration::from_millis(200);
