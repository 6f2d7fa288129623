//! Child processes that never outlive the test process, and the folders and ports they use.

pub(crate) mod child;
pub(crate) mod ports;
pub(crate) mod run_folder;
pub(crate) mod unprivileged;
