//! Where the binaries under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The built binaries of the workspace.
#[derive(Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Those in `PULSECAL_BIN_DIR` as they are; else those of this run's target folder, which cargo is asked once per test
    /// process to bring up to date: a test must not pass because of yesterday's binary.
    ///
    /// The tests' own package stays out of that build, so that what `core` has for tests only is not in the product.
    ///
    /// # Panics
    /// If they cannot be built.
    pub fn get() -> &'static Self {
        static BINARIES: OnceLock<Binaries> = OnceLock::new();
        BINARIES.get_or_init(|| {
            if let Some(folder) = std::env::var_os("PULSECAL_BIN_DIR").filter(|value| !value.is_empty()) {
                return Self { folder: PathBuf::from(folder) };
            }
            let folder = profile_folder();
            build(&folder);
            Self { folder }
        })
    }

    /// The file of this binary.
    ///
    /// # Panics
    /// If there is none.
    pub fn path(&self, binary: &str) -> PathBuf {
        let path = self.folder.join(binary);
        assert!(path.is_file(), "there is no binary {binary} in {}", self.folder.display());
        path
    }
}

/// The folder of the migrations.
pub(crate) fn migrations_folder() -> PathBuf {
    workspace().join("migrations")
}

/// The root of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// `target/debug` (or of another profile): the test runs from its `deps`.
fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the test knows its own file");
    let folder = program.parent().expect("a file lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder };
    folder.to_owned()
}

fn build(folder: &Path) {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--workspace", "--exclude", "pulsecal-tests", "--bins"])
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", folder.parent().expect("a profile lies in the target folder"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "the binaries do not build:\n{}", String::from_utf8_lossy(&output.stderr));
}
