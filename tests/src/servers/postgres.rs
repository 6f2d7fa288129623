//! A Postgres server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::{LIMIT, ServerProcess, is_file, on_path, run_to_end};
use crate::own_processes::child::{Signal, children_of, is_gone, signal_all};
use crate::own_processes::ports::ReservedPort;
use crate::own_processes::run_folder::{RunFolder, base_folder, locked};
use crate::own_processes::unprivileged::RunAs;
use crate::threads::blocking;

/// Nothing that is acknowledged is lost when the server's processes are killed: the operating system has it. What is off
/// here guards against a loss of power only.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=300",
    "fsync=off",
    "full_page_writes=off",
    "logging_collector=off",
    "timezone=UTC",
];

/// A Postgres server: a private one that the test may break, or the one that tests share.
pub struct Postgres {
    url: String,
    own: Option<Arc<OwnPostgres>>,
    may_break: bool,
}

impl Postgres {
    /// Starts a server of its own, with an empty cluster; it ends when this is dropped.
    ///
    /// Its programs come from `PULSECAL_PG_BIN`, else the newest in /usr/lib/postgresql, else PATH. If the tests run as
    /// root, it runs as `PULSECAL_RUN_AS`, else `postgres`, else `nobody`.
    pub async fn private() -> Self {
        let own = blocking(OwnPostgres::start_new).await;
        Self { url: own.url(), own: Some(Arc::new(own)), may_break: true }
    }

    /// The server of `TEST_DATABASE_URL`; without that, one that this process starts and keeps until its end.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match std::env::var("TEST_DATABASE_URL") {
                    Ok(url) if !url.is_empty() => Self { url, own: None, may_break: false },
                    _ => Self { may_break: false, ..Self::private().await },
                }
            })
            .await
    }

    /// The URL of the server's first database, for a role that may create databases.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An orderly shutdown (open sessions are ended) and a start. The data stays.
    ///
    /// # Panics
    /// Like all that follow: if this is the shared server, or it does not obey.
    pub async fn restart(&self) {
        let own = self.breakable();
        blocking(move || {
            own.process.stop(Signal::Interrupt);
            own.start();
        })
        .await;
    }

    /// Ends the server at once, without a shutdown; the next start recovers from the log, and unlogged tables are empty.
    pub async fn stop_immediate(&self) {
        let own = self.breakable();
        blocking(move || own.process.stop(Signal::Quit)).await;
    }

    /// Kills the server and all its backends with SIGKILL.
    pub async fn kill9(&self) {
        let own = self.breakable();
        blocking(move || own.kill_all()).await;
    }

    /// Brings a stopped or killed server back, on the same port with the same data.
    pub async fn start_again(&self) {
        let own = self.breakable();
        blocking(move || own.start()).await;
    }

    /// The last lines of the server's log; empty for a server that this process did not start.
    pub fn log_end(&self) -> String {
        self.own.as_ref().map(|own| own.process.log_end()).unwrap_or_default()
    }

    fn breakable(&self) -> Arc<OwnPostgres> {
        assert!(self.may_break, "other tests use the shared Postgres: take Postgres::private()");
        Arc::clone(self.own.as_ref().expect("a private server is an own one"))
    }
}

struct OwnPostgres {
    process: ServerProcess,
    port: ReservedPort,
    programs: PathBuf,
    run_as: RunAs,
    folder: PathBuf,
}

impl OwnPostgres {
    fn start_new() -> Self {
        let programs = programs();
        let run_as = RunAs::find();
        let folder = RunFolder::get().new_folder("postgres");
        let template = cluster_template(&programs, &run_as);
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(template).arg(folder.join("data"));
        run_to_end(copy, "copy the empty cluster");
        let process = ServerProcess::new("Postgres", folder.clone());
        let own = Self { process, port: ReservedPort::take(), programs, run_as, folder };
        own.start();
        own
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.number())
    }

    fn start(&self) {
        let mut command = self.run_as.command(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.number().to_string());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        self.process.start(command, Signal::Quit, |pid| self.is_ready(pid));
    }

    /// What `pg_ctl --wait` looks at: our pid in the first line and the status in the eighth.
    fn is_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next().is_some_and(|line| line.trim() == pid.to_string())
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    }

    fn kill_all(&self) {
        let Some(pid) = self.process.pid() else {
            return;
        };
        // Stopped first, so that it cannot fork while its backends are listed.
        self.process.signal(Signal::Stop);
        let backends = children_of(pid);
        self.process.stop(Signal::Kill);
        // Some may have seen their parent's end and be gone by themselves.
        signal_all(&backends, Signal::Kill);
        let end = Instant::now() + LIMIT;
        while !backends.iter().all(|backend| is_gone(*backend)) {
            assert!(Instant::now() < end, "backends of Postgres survive SIGKILL");
            #[expect(clippy::disallowed_methods, reason = "a bounded wait on a thread of its own")]
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // SIGQUIT rather than SIGKILL: it takes its backends and its shared memory with it.
        if self.process.pid().is_some() {
            self.process.stop(Signal::Quit);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of `postgres` and `initdb`.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("PULSECAL_PG_BIN").filter(|value| !value.is_empty()) {
        return PathBuf::from(folder);
    }
    let newest = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            is_file(&folder.join("initdb")).then_some((version, folder))
        })
        .max();
    match newest {
        Some((_, folder)) => folder,
        None => on_path("initdb")
            .and_then(|program| fs::canonicalize(program).ok()?.parent().map(Path::to_owned))
            .expect("Postgres is installed, or PULSECAL_PG_BIN names the folder of its programs"),
    }
}

/// An empty cluster, made once per version and user and then only copied: initdb takes much longer than a copy.
fn cluster_template(programs: &Path, run_as: &RunAs) -> PathBuf {
    let version = Command::new(programs.join("postgres")).arg("--version").output().expect("postgres --version runs");
    // "postgres (PostgreSQL) 17.2 (the distribution's words)"
    let version = String::from_utf8_lossy(&version.stdout).split_whitespace().nth(2).unwrap_or("unknown").to_owned();
    let name = format!("postgres-{version}-{}", run_as.tag());
    let _lock = locked(&base_folder().join(format!("{name}.lock")));
    let template = base_folder().join(name);
    if template.exists() {
        return template;
    }
    let unfinished = template.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir(&unfinished).expect("a folder for the cluster can be made");
    run_as.own(&unfinished);
    let mut initdb = run_as.command(&programs.join("initdb"));
    initdb
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ])
        .arg("-D")
        .arg(&unfinished)
        .current_dir("/");
    run_to_end(initdb, "make an empty cluster");
    fs::rename(&unfinished, &template).expect("the finished cluster can be renamed");
    template
}
