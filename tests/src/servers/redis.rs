//! A Redis (or Valkey) server.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{LIMIT, ServerProcess, on_path};
use crate::own_processes::child::Signal;
use crate::own_processes::ports::ReservedPort;
use crate::own_processes::run_folder::RunFolder;
use crate::own_processes::unprivileged::RunAs;
use crate::threads::blocking;

/// A Redis server: a private one that the test may break, or the one that tests share.
pub struct Redis {
    url: String,
    own: Option<Arc<OwnRedis>>,
    may_break: bool,
}

impl Redis {
    /// Starts an empty server of its own, without any persistence; it ends when this is dropped.
    ///
    /// The program is `PULSECAL_REDIS_SERVER`, else `redis-server` or `valkey-server` on PATH.
    pub async fn private() -> Self {
        let own = blocking(OwnRedis::start_new).await;
        Self { url: own.url(), own: Some(Arc::new(own)), may_break: true }
    }

    /// The server of `TEST_REDIS_URL`; without that, one that this process starts and keeps until its end.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match std::env::var("TEST_REDIS_URL") {
                    Ok(url) if !url.is_empty() => Self { url, own: None, may_break: false },
                    _ => Self { may_break: false, ..Self::private().await },
                }
            })
            .await
    }

    /// The server's URL, database 0.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A shutdown and a start that keep the data.
    ///
    /// # Panics
    /// Like all that follow: if this is the shared server, or it does not obey.
    pub async fn restart(&self) {
        let own = self.breakable();
        blocking(move || {
            own.shutdown_and_save();
            own.start();
        })
        .await;
    }

    /// Kills the server with SIGKILL. What it held is lost.
    pub async fn kill9(&self) {
        let own = self.breakable();
        blocking(move || own.process.stop(Signal::Kill)).await;
    }

    /// Brings a killed server back on the same port, empty.
    pub async fn start_again(&self) {
        let own = self.breakable();
        blocking(move || own.start()).await;
    }

    /// Removes every key.
    pub async fn flushall(&self) {
        let own = self.breakable();
        blocking(move || command(&own.url(), redis::cmd("FLUSHALL").arg("SYNC"))).await;
    }

    /// Lets every command of every client wait for this many milliseconds (`CLIENT PAUSE`). Connections stay open.
    pub async fn pause(&self, milliseconds: u64) {
        let own = self.breakable();
        blocking(move || command(&own.url(), redis::cmd("CLIENT").arg("PAUSE").arg(milliseconds).arg("ALL"))).await;
    }

    /// Stops the process (SIGSTOP): connections are accepted by the system, and nothing answers.
    pub async fn freeze(&self) {
        let own = self.breakable();
        blocking(move || own.process.signal(Signal::Stop)).await;
    }

    /// Lets a frozen process go on.
    pub async fn thaw(&self) {
        let own = self.breakable();
        blocking(move || own.process.signal(Signal::Continue)).await;
    }

    /// Keeps a copy of the present data for [`Self::restore_snapshot`]; an earlier copy is replaced.
    pub async fn save_snapshot(&self) {
        let own = self.breakable();
        blocking(move || {
            command(&own.url(), &redis::cmd("SAVE"));
            fs::rename(own.dump(), own.snapshot()).expect("Redis has written its dump");
        })
        .await;
    }

    /// Kills the server and starts it with the data of [`Self::save_snapshot`]: what came after is lost, what was
    /// removed is back.
    pub async fn restore_snapshot(&self) {
        let own = self.breakable();
        blocking(move || {
            assert!(own.snapshot().exists(), "no snapshot was saved");
            own.process.stop(Signal::Kill);
            fs::copy(own.snapshot(), own.dump()).expect("the snapshot can be copied");
            own.run_as.own(&own.dump());
            own.start();
        })
        .await;
    }

    /// Removes the keys that start with this prefix. Allowed on the shared server.
    pub async fn delete_prefix(&self, prefix: &str) {
        assert!(!prefix.is_empty(), "an empty prefix would remove every key");
        let (url, prefix) = (self.url.clone(), prefix.to_owned());
        blocking(move || {
            let pattern: String = prefix.chars().flat_map(|letter| ['\\', letter]).collect::<String>() + "*";
            let mut connection = connect(&url).unwrap_or_else(|error| panic!("cannot reach Redis: {error}"));
            let mut cursor = 0_u64;
            loop {
                let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(1_000)
                    .query(&mut connection)
                    .expect("SCAN is answered");
                if !keys.is_empty() {
                    redis::cmd("DEL").arg(keys).exec(&mut connection).expect("DEL is answered");
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        })
        .await;
    }

    fn breakable(&self) -> Arc<OwnRedis> {
        assert!(self.may_break, "other tests use the shared Redis: take Redis::private()");
        Arc::clone(self.own.as_ref().expect("a private server is an own one"))
    }
}

struct OwnRedis {
    process: ServerProcess,
    port: ReservedPort,
    program: PathBuf,
    run_as: RunAs,
    folder: PathBuf,
}

impl OwnRedis {
    fn start_new() -> Self {
        let folder = RunFolder::get().new_folder("redis");
        let run_as = RunAs::find();
        run_as.own(&folder);
        let process = ServerProcess::new("Redis", folder.clone());
        let own = Self { process, port: ReservedPort::take(), program: program(), run_as, folder };
        own.start();
        own
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port.number())
    }

    fn start(&self) {
        let mut command = self.run_as.command(&self.program);
        let port = self.port.number().to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--protected-mode", "yes", "--daemonize", "no"]);
        command.args(["--save", "", "--appendonly", "no", "--dbfilename", "dump.rdb", "--maxclients", "2000"]);
        command.arg("--dir").arg(&self.folder);
        // SIGTERM is enough, and KILL follows: there is nothing to save.
        self.process.start(command, Signal::Terminate, |_| {
            connect(&self.url()).is_ok_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
        });
        // Loaded once; a later start after a kill must come back empty.
        let _ = fs::remove_file(self.dump());
    }

    fn shutdown_and_save(&self) {
        if let Ok(mut connection) = connect(&self.url()) {
            // It closes the connection instead of answering.
            let _ = redis::cmd("SHUTDOWN").arg("SAVE").exec(&mut connection);
        }
        self.process.wait_stopped();
    }

    fn dump(&self) -> PathBuf {
        self.folder.join("dump.rdb")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot.rdb")
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.process.stop(Signal::Kill);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("PULSECAL_REDIS_SERVER").filter(|value| !value.is_empty()) {
        return PathBuf::from(program);
    }
    on_path("redis-server")
        .or_else(|| on_path("valkey-server"))
        .expect("Redis or Valkey is installed, or PULSECAL_REDIS_SERVER names its program")
}

fn connect(url: &str) -> redis::RedisResult<redis::Connection> {
    let connection = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(2))?;
    connection.set_read_timeout(Some(LIMIT))?;
    Ok(connection)
}

fn command(url: &str, command: &redis::Cmd) {
    let mut connection = connect(url).unwrap_or_else(|error| panic!("cannot reach Redis: {error}"));
    command.exec(&mut connection).unwrap_or_else(|error| panic!("Redis refused: {error}"));
}
