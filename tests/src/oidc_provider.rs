//! npm's `oidc-provider`, a certified OpenID Connect provider, with one client and people that tests name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::npm;
use crate::own_processes::ports::ReservedPort;
use crate::processes::Process;

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../provider/package.json")),
    ("package-lock.json", include_str!("../provider/package-lock.json")),
    ("provider.mjs", include_str!("../provider/provider.mjs")),
];

/// A provider, which may be started anew at the same place.
pub struct OidcProvider {
    home: PathBuf,
    folder: tempfile::TempDir,
    port: ReservedPort,
    redirect: String,
    process: Process,
}

impl OidcProvider {
    /// Starts one, installed from npm by its lock file, once; none: it cannot be had here (`./dev test` gets node where there is none).
    ///
    /// # Panics
    /// If it is there and does not start.
    pub async fn start(redirect: &str) -> Option<Self> {
        static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
        let install = || npm::installed("oidc-provider", &FILES);
        let installing = tokio::task::spawn_blocking(move || INSTALLED.get_or_init(install).clone());
        let home = installing.await.expect("looked for")?;
        let (folder, port) = (tempfile::tempdir().expect("a folder"), ReservedPort::take());
        let file = folder.path().join("now.json");
        std::fs::write(&file, "{}").expect("written");
        let process = spawn(&home, port.number(), redirect, &file).await;
        Some(Self { home, folder, port, redirect: redirect.to_owned(), process })
    }

    /// Its address.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Who signs in from now on, and what is said of their address.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn somebody(&self, sub: &str, email: &str, verified: bool) {
        self.tell(&json!({"account": sub, "claims": {"email": email, "email_verified": verified}}));
    }

    /// Nobody signs in from now on.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn nobody(&self) {
        self.tell(&json!({"claims": {}}));
    }

    fn tell(&self, now: &Value) {
        std::fs::write(self.folder.path().join("now.json"), now.to_string()).expect("written");
    }

    /// Stops it.
    pub fn stop(&self) {
        self.process.kill9();
    }

    /// Starts it anew at the same place, with another key.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_anew(&mut self) {
        self.stop();
        self.process =
            spawn(&self.home, self.port.number(), &self.redirect, &self.folder.path().join("now.json")).await;
    }
}

async fn spawn(home: &Path, port: u16, redirect: &str, file: &Path) -> Process {
    let mut command = Command::new("node");
    command.current_dir(home).arg("provider.mjs").arg(port.to_string()).arg(redirect).arg(file);
    let process = Process::spawn_command("oidc-provider", command);
    process.wait_line("provider: ready", Duration::from_secs(30)).await;
    process
}

/// An issuer that lies in one way at a time (`provider/hostile.mjs`).
pub struct HostileIssuer {
    folder: tempfile::TempDir,
    address: String,
    _port: ReservedPort,
    _process: Process,
}

impl HostileIssuer {
    /// Starts one, with node alone.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), ReservedPort::take());
        let (program, file) = (folder.path().join("hostile.mjs"), folder.path().join("now.json"));
        std::fs::write(&program, include_str!("../provider/hostile.mjs")).expect("written");
        std::fs::write(&file, r#"{"mode": "the truth"}"#).expect("written");
        let mut command = Command::new("node");
        command.arg(&program).arg(port.number().to_string()).arg(&file);
        let process = Process::spawn_command("hostile-issuer", command);
        process.wait_line("provider: ready", Duration::from_secs(30)).await;
        Self { folder, address: format!("http://127.0.0.1:{}", port.number()), _port: port, _process: process }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it lies about from now on.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn says(&self, mode: &str) {
        let text = json!({"mode": mode}).to_string();
        std::fs::write(self.folder.path().join("now.json"), text).expect("written");
    }
}
