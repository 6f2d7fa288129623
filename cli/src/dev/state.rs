//! The state files: what `./dev status`, scripts and tests read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::child::Role;

/// One program that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    pid: u32,
    metrics: Option<SocketAddr>,
    since: Instant,
}

/// What is known of the running system.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    /// `host:port` that the API listens on, by which this process reaches it.
    bind: String,
    public_url: String,
    /// Where mail lies that nobody is sent; none if there is a real mail server.
    inbox: Option<String>,
    database_url: String,
    redis_url: String,
    running: [Option<Running>; Role::ALL.len()],
    ready: bool,
}

impl State {
    /// Reads what `./dev` exported.
    pub(super) fn from_environment(folder: &Path) -> Result<Self, String> {
        Self::new(folder, |name| std::env::var(name).ok())
    }

    /// # Errors
    /// Names the variable that is missing.
    pub(super) fn new(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let required = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set"));
        let bind = required("BIND")?;
        let public_url = required("PUBLIC_URL")?.trim_end_matches('/').to_owned();
        let has_mail_server = variable("SMTP_URL").is_some_and(|url| !url.is_empty());
        Ok(Self {
            folder: folder.to_owned(),
            inbox: (!has_mail_server).then(|| format!("{public_url}/dev/inbox")),
            // "All addresses" is not one to connect to.
            bind: match bind.rsplit_once(':') {
                Some(("0.0.0.0" | "[::]", port)) => format!("127.0.0.1:{port}"),
                _ => bind,
            },
            public_url,
            database_url: required("DATABASE_URL")?,
            redis_url: required("REDIS_URL")?,
            running: [None; Role::ALL.len()],
            ready: false,
        })
    }

    pub(super) fn probe_address(&self) -> &str {
        &self.bind
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn started(&mut self, role: Role, pid: u32, metrics: Option<SocketAddr>) {
        let since = Instant::now();
        self.running[role as usize] = Some(Running { pid, metrics, since });
    }

    pub(super) fn ended(&mut self, role: Role) {
        self.running[role as usize] = None;
    }

    /// The youngest program's start, if all run.
    pub(super) fn all_running_since(&self) -> Option<Instant> {
        let since: Option<Vec<_>> = self.running.iter().map(|program| program.map(|it| it.since)).collect();
        since?.into_iter().max()
    }

    /// The system is ready: from now on `welcome.txt` exists.
    pub(super) fn set_ready(&mut self) -> std::io::Result<()> {
        self.ready = true;
        self.save()?;
        self.write("welcome.txt", &self.welcome())
    }

    /// Writes the pid files and `status.json`.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let mut pids = String::new();
        for (role, pid) in self.pids() {
            pids.push_str(&format!("{role} {pid}\n"));
        }
        self.write("pids", &pids)?;
        self.write("supervisor.pid", &format!("{}\n", std::process::id()))?;
        self.write("status.json", &format!("{:#}\n", self.status()))
    }

    /// At the end nothing says any more that something runs.
    pub(super) fn remove(&self) {
        for name in ["pids", "status.json", "welcome.txt", "supervisor.pid"] {
            // A missing file is what is wanted.
            let _ = fs::remove_file(self.folder.join(name));
        }
    }

    /// What a person needs to know, as text.
    pub(super) fn welcome(&self) -> String {
        let mut text = format!("\nPulseCal is up.\n  web      {}\n", self.public_url);
        if let Some(inbox) = &self.inbox {
            text.push_str(&format!("  inbox    {inbox}\n"));
        }
        if let Value::Array(sign_ins) = self.sign_ins() {
            for sign_in in &sign_ins {
                text.push_str(&format!("  sign in  {}\n", one_line(sign_in)));
            }
        }
        text.push_str("  database ./dev psql\n  stop     Ctrl-C where it runs, or ./dev down\n\n");
        text
    }

    fn status(&self) -> Value {
        let mut pids = Map::new();
        pids.insert("supervisor".to_owned(), json!(std::process::id()));
        for (role, pid) in self.pids() {
            pids.insert(role.name().to_owned(), json!(pid));
        }
        let mut metrics = Map::new();
        for (role, program) in self.programs() {
            if let Some(address) = program.metrics {
                metrics.insert(role.name().to_owned(), json!(format!("http://{address}/metrics")));
            }
        }
        json!({
            "running": true,
            "ready": self.ready,
            "api": self.public_url,
            "inbox": self.inbox,
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "sign_ins": self.sign_ins(),
            "pids": pids,
            "metrics": metrics,
            "log": self.folder.join("log/supervisor.log"),
        })
    }

    /// What seeding wrote; an empty list without a demo clinic.
    fn sign_ins(&self) -> Value {
        fs::read(self.folder.join("sign-ins.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_else(|| json!([]))
    }

    fn programs(&self) -> impl Iterator<Item = (Role, Running)> {
        Role::ALL.into_iter().filter_map(|role| self.running[role as usize].map(|program| (role, program)))
    }

    fn pids(&self) -> impl Iterator<Item = (Role, u32)> {
        self.programs().map(|(role, program)| (role, program.pid))
    }

    /// Whole or not at all, and for the owner only: the addresses hold passwords.
    fn write(&self, name: &str, text: &str) -> std::io::Result<()> {
        let part = self.folder.join(format!("{name}.part"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        fs::rename(part, self.folder.join(name))
    }
}

/// The values of one sign-in, in the order of their names, without quotes around texts.
fn one_line(sign_in: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match sign_in {
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            fields.join("  ")
        }
        other => text(other),
    }
}
