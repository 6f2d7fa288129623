//! Lines of all programs, each with its program's name, on standard output and in the log file.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The shared log. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    colours: bool,
}

impl Log {
    /// Starts `log/supervisor.log` under the state folder anew; the last one is kept with `.1`.
    pub(super) fn open(state_dir: &Path) -> std::io::Result<Self> {
        let path = state_dir.join("log/supervisor.log");
        if path.exists() {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let file = File::create(path)?;
        Ok(Self(Arc::new(Mutex::new(Inner { file, colours }))))
    }

    /// One line of the named program.
    pub(super) fn line(&self, name: &str, line: &str) {
        let colour = match name {
            "api" => 36,
            "worker" => 32,
            "scheduler" => 35,
            _ => 33,
        };
        self.write(&format!("{name:<9} | {line}\n"), &format!("\x1b[{colour}m{name:<9} |\x1b[0m {line}\n"));
    }

    /// Text as it is.
    pub(super) fn plain(&self, text: &str) {
        self.write(text, text);
    }

    fn write(&self, plain: &str, coloured: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = if inner.colours { coloured } else { plain };
        // A terminal that went away or a full disk must not take the programs down.
        let _ = std::io::stdout().write_all(shown.as_bytes());
        let _ = inner.file.write_all(plain.as_bytes());
    }
}
