//! `pulsecal-api`: JSON API, pages for patients, the development inbox.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsecal_core::process::main("api", pulsecal_api::run)
}
