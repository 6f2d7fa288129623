//! What the benches share: the bed they lie in (database, environment, programs), what processes cost, the SMTP sink, and
//! the report.

pub mod bed;
pub mod heavy;
pub mod load;
pub mod options;
pub mod report;
pub mod sink;
pub mod usage;

use std::path::{Path, PathBuf};

/// Runs a bench to its end.
pub fn block_on<F: Future<Output = ()>>(bench: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(bench);
}

/// The folder of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The target folder that this bench was built into.
pub fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a bench knows its own file");
    program.ancestors().nth(3).expect("it lies in TARGET/PROFILE/deps").to_owned()
}
