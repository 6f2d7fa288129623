//! Where measured mail goes: the SMTP sink beside the checkout, else the tests' own SMTP server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use serde_json::Value;

use super::{checkout, target_folder, usage};

/// Takes mail and counts it.
pub enum Sink {
    /// The measuring sink: a process that drops what it counts.
    Fast(Box<FastSink>),
    /// The tests' server: it keeps every message and is slower, and there is no `smtp-loop` to compare with.
    Recording(RecordingSmtp),
}

/// The sink's own process.
pub struct FastSink {
    process: Process,
    port: u16,
    control: BufReader<TcpStream>,
    programs: PathBuf,
}

/// What a sink has taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Messages.
    pub messages: u64,
    /// Recipients, each counted once.
    pub recipients: u64,
    /// Their size in octets.
    pub bytes: u64,
}

impl Sink {
    /// Builds the sink from the folder `PULSECAL_BENCH_SINK` (`../shared/bench/sink` beside the checkout when it is not set)
    /// and starts it; without such a folder, the tests' server.
    pub async fn start() -> Self {
        match programs() {
            Some(programs) => Self::Fast(Box::new(FastSink::start(programs).await)),
            None => Self::Recording(RecordingSmtp::start()),
        }
    }

    /// What it is, for the report.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fast(_) => "the sink of PULSECAL_BENCH_SINK",
            Self::Recording(_) => {
                "the tests' own SMTP server, since there is no sink: rates are lower, and there is no smtp-loop"
            }
        }
    }

    /// For `SMTP_URL`.
    pub fn url(&self, connections: usize) -> String {
        let server = match self {
            Self::Fast(sink) => format!("smtp://127.0.0.1:{}", sink.port),
            Self::Recording(server) => server.url(),
        };
        format!("{server}?max_connections={connections}")
    }

    /// How many messages it has taken since [`Self::reset`].
    pub fn count(&mut self) -> u64 {
        match self {
            Self::Fast(_) => self.taken().messages,
            Self::Recording(server) => server.counts().accepted,
        }
    }

    /// What it has taken since [`Self::reset`].
    pub fn taken(&mut self) -> Taken {
        match self {
            Self::Fast(sink) => {
                let stats = sink.ask("stats");
                let number = |name: &str| stats[name].as_u64().unwrap_or(0);
                Taken { messages: number("messages"), recipients: number("unique_recipients"), bytes: number("bytes") }
            }
            Self::Recording(server) => {
                let counts = server.counts();
                let recipients: std::collections::HashSet<String> =
                    server.accepted().into_iter().flat_map(|mail| mail.to).collect();
                Taken {
                    messages: counts.accepted,
                    recipients: u64::try_from(recipients.len()).unwrap_or(u64::MAX),
                    bytes: counts.bytes,
                }
            }
        }
    }

    /// Forgets what it has taken.
    pub fn reset(&mut self) {
        match self {
            Self::Fast(sink) => {
                sink.ask("reset");
            }
            Self::Recording(server) => server.clear(),
        }
    }

    /// CPU seconds of the sink's process.
    pub fn cpu(&self) -> f64 {
        match self {
            Self::Fast(sink) => usage::cpu_seconds(sink.process.pid()),
            Self::Recording(_) => f64::NAN,
        }
    }

    /// Messages a second of a client that only speaks SMTP: the most that any sender could reach here.
    pub async fn smtp_loop(&self, connections: usize, messages: u64, size: u64, pipelining: bool) -> Option<f64> {
        let Self::Fast(sink) = self else { return None };
        let mut command = Command::new(sink.programs.join("smtp-loop"));
        for (name, value) in [
            ("--port", u64::from(sink.port)),
            ("--conns", u64::try_from(connections).unwrap_or(1)),
            ("--messages", messages),
            ("--size", size),
        ] {
            command.args([name, &value.to_string()]);
        }
        if pipelining {
            command.arg("--pipelining");
        }
        let client = Process::spawn_command("smtp-loop", command);
        let line = client.wait_line("seconds", Duration::from_secs(300)).await;
        let told: Value = serde_json::from_str(&line).expect("smtp-loop tells its time as JSON");
        Some(told["n"].as_f64()? / told["seconds"].as_f64()?)
    }
}

impl FastSink {
    async fn start(programs: PathBuf) -> Self {
        let (port, control) = (free_port(), free_port());
        let mut command = Command::new(programs.join("smtp-sink-rs"));
        command.args(["--port", &port.to_string(), "--control", &control.to_string()]);
        let process = Process::spawn_command("the sink", command);
        process.wait_line("ready", Duration::from_secs(10)).await;
        let stream = TcpStream::connect(("127.0.0.1", control)).expect("the sink's control port answers");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out can be set");
        stream.set_nodelay(true).expect("an option can be set");
        let mut sink = Self { process, port, control: BufReader::new(stream), programs };
        // Acknowledged at once: delayed acknowledgements are another measurement.
        sink.ask("quickack on");
        sink
    }

    fn ask(&mut self, command: &str) -> Value {
        let mut line = String::new();
        self.control.get_mut().write_all(format!("{command}\n").as_bytes()).expect("the sink listens");
        self.control.read_line(&mut line).expect("the sink answers");
        serde_json::from_str(&line).expect("the sink answers in JSON")
    }
}

/// Free at this moment; nothing else here takes ports without being asked.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// The folder of `smtp-sink-rs` and `smtp-loop`, built from a copy of their source in the target folder.
fn programs() -> Option<PathBuf> {
    let source = std::env::var_os("PULSECAL_BENCH_SINK")
        .filter(|value| !value.is_empty())
        .map_or_else(|| checkout().join("../shared/bench/sink"), PathBuf::from);
    if !source.join("Cargo.toml").is_file() {
        return None;
    }
    let build = target_folder().join("bench-sink");
    let copy = build.join("source");
    copy_folder(&source.join("src"), &copy.join("src"));
    let manifest = fs::read_to_string(source.join("Cargo.toml")).expect("the sink's manifest reads");
    // A package of its own, although it lies below this workspace.
    fs::write(copy.join("Cargo.toml"), manifest + "\n[workspace]\n").expect("the copy can be written");
    let done = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", &build)
        .output()
        .expect("cargo can be started");
    assert!(done.status.success(), "the sink does not build:\n{}", String::from_utf8_lossy(&done.stderr));
    Some(build.join("release"))
}

/// Files are only written when they differ, so that nothing is built again for nothing.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the sink's source reads").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            let content = fs::read(&from).expect("the sink's source reads");
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::write(&to, content).expect("the copy can be written");
            }
        }
    }
}
