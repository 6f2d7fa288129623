//! What the workspace's tests stand on: the real binaries against real Postgres, Redis and SMTP, with faults from outside.
//!
//! This is test code: where something is not as it must be, these tools panic with a sentence that says so. Servers run in
//! their own processes and the SMTP server and the proxies on their own threads, so none of them is slowed by, or ends
//! with, the runtime of one test.

pub mod big_clinic;
pub mod browser;
pub mod databases;
pub mod fault_proxy;
pub mod http;
mod npm;
pub mod oidc_provider;
mod own_processes;
pub mod processes;
pub mod s3_server;
pub mod servers;
pub mod smtp_server;
mod threads;
pub mod wait;
