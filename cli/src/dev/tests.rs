//! The supervisor with shell scripts in the place of the programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::child::{Backoff, Event, Program, Role};
use super::health::wait_ready;
use super::log::Log;
use super::state::State;

/// A state folder of one test, with a name that URLs and shells find hard.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pulsecal dev ü {} {test}", std::process::id()));
        fs::create_dir_all(path.join("log")).unwrap();
        Self(path)
    }

    fn script(&self, role: Role, body: &str) {
        let path = self.0.join(format!("pulsecal-{role}"));
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("log/supervisor.log")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "BIND" => "0.0.0.0:8123",
        "PUBLIC_URL" => "http://127.0.0.1:8123/",
        "DATABASE_URL" => "postgres://pulsecal@127.0.0.1:21000/pulsecal",
        "REDIS_URL" => "redis://127.0.0.1:21001/0",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn waits_double_stay_below_three_seconds_and_start_over_after_a_long_run() {
    let mut backoff = Backoff::default();
    let short = Duration::from_millis(10);
    let waits: Vec<_> = (0..6).map(|_| backoff.next(short).as_millis()).collect();
    assert_eq!(waits, [250, 500, 1000, 2000, 3000, 3000]);
    assert_eq!(backoff.next(Duration::from_secs(31)).as_millis(), 250);
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_and_stops_when_asked() {
    let folder = Folder::new("restart");
    folder.script(
        Role::Worker,
        "trap 'echo drained; exit 0' TERM\n\
         echo \"metrics $METRICS_BIND\"\n\
         [ -e \"$0.ran\" ] || { : >\"$0.ran\"; exit 7; }\n\
         echo up; while :; do sleep 0.05; done",
    );
    let log = Log::open(&folder.0).unwrap();
    let (events, mut reports) = mpsc::channel(8);
    let (stop, stopped) = watch::channel(false);
    let program = Program::new(Role::Worker, &folder.0);
    let keeper = tokio::spawn(program.keep_running(stopped, events, log));

    let mut pids = Vec::new();
    let within = Duration::from_secs(5);
    while pids.len() < 2 {
        match timeout(within, reports.recv()).await.unwrap().unwrap() {
            Event::Started { pid, metrics, .. } => {
                assert!(metrics.is_some_and(|address| address.ip().is_loopback()));
                pids.push(pid);
            }
            Event::Ended { how, .. } => assert!(how.contains('7'), "{how}"),
        }
    }
    assert_ne!(pids[0], pids[1]);
    while !folder.log().contains("worker    | up") {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    timeout(within, keeper).await.unwrap().unwrap();
    assert!(!PathBuf::from(format!("/proc/{}", pids[1])).exists());
    // The reader of the pipe may be a moment behind the end of the program.
    timeout(within, async {
        while !folder.log().contains("worker    | drained") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn ready_is_only_what_answers_200() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        for answer in ["garbage\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    wait_ready(&address, Instant::now() + Duration::from_secs(10)).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn an_api_that_is_never_ready_is_reported_with_its_last_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 503 No\r\n\r\n").await.unwrap();
        }
    });
    let error = wait_ready(&address, Instant::now() + Duration::from_millis(400)).await.unwrap_err();
    assert!(error.contains("HTTP 503"), "{error}");
    server.abort();
}

#[test]
fn status_names_everything_scripts_rely_on_and_is_private() {
    let folder = Folder::new("status");
    let sign_ins = json!([{"email": "nurse@example.org", "password": "correct horse", "role": "nurse"}]);
    fs::write(folder.0.join("sign-ins.json"), sign_ins.to_string()).unwrap();
    let mut state = State::new(&folder.0, environment).unwrap();
    state.started(Role::Api, 4242, None);
    state.set_ready().unwrap();

    let path = folder.0.join("status.json");
    let status: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(status["api"], "http://127.0.0.1:8123");
    assert_eq!(status["inbox"], "http://127.0.0.1:8123/dev/inbox");
    assert_eq!(status["database_url"], environment("DATABASE_URL").unwrap());
    assert_eq!(status["redis_url"], environment("REDIS_URL").unwrap());
    assert_eq!(status["sign_ins"], sign_ins);
    assert_eq!(status["pids"]["api"], 4242);
    assert_eq!(status["ready"], true);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(state.probe_address(), "127.0.0.1:8123");
    let welcome = fs::read_to_string(folder.0.join("welcome.txt")).unwrap();
    assert!(welcome.contains("email=nurse@example.org  password=correct horse  role=nurse"), "{welcome}");

    state.remove();
    assert!(!folder.0.join("status.json").exists());
}

#[test]
fn a_missing_variable_is_named() {
    let folder = Folder::new("missing");
    let without = |name: &str| environment(name).filter(|_| name != "REDIS_URL");
    assert_eq!(State::new(&folder.0, without).unwrap_err(), "REDIS_URL is not set");
}

#[tokio::test]
async fn a_program_that_does_not_stay_up_ends_the_start_though_the_api_is_ready() {
    let folder = Folder::new("gate");
    for role in [Role::Api, Role::Scheduler] {
        folder.script(role, "exec sleep 60");
    }
    folder.script(Role::Worker, "exit 3");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let api = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    });
    let args = super::SuperviseArgs { state_dir: folder.0.clone(), bin_dir: folder.0.clone(), ready_within: 60 };
    let log = Log::open(&folder.0).unwrap();
    let mut state = State::new(&folder.0, |name| match name {
        "BIND" => Some(address.clone()),
        _ => environment(name),
    })
    .unwrap();
    let (events, mut reports) = mpsc::channel(8);
    let mut crew = super::Crew::start(&args, &events, &log);
    let watching = super::watch_over(&args, &mut state, &mut reports, &log);
    let error = timeout(Duration::from_secs(20), watching).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("worker does not stay up"), "{error}");
    assert!(!folder.0.join("welcome.txt").exists());
    api.await.unwrap();
    crew.stop().await;
}
