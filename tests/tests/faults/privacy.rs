//! Personal data stays in Postgres' own columns and in the mail: it is not in Redis, logs, the ledger's texts, or Sentry.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pulsecal_core::config::Config;
use pulsecal_core::telemetry;
use pulsecal_tests::processes::{Process, run};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::smtp_server::{Fault, Faults, Stage};
use pulsecal_tests::wait::until;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::clinic::Clinic;

const LIMIT: Duration = Duration::from_secs(60);

/// Texts, as somebody on another thread collects them.
type Heard = Arc<Mutex<Vec<String>>>;

fn all(heard: &Heard) -> Vec<String> {
    heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn tell(heard: &Heard, text: String) {
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

impl Clinic {
    fn start_with(&self, program: &str, more: &[(&str, &str)]) -> Process {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        // Of two values for a name the later one counts.
        Process::spawn(program, self.env().into_iter().chain(more))
    }

    /// Addresses, names and medicines of its patients.
    async fn canaries(&self) -> Vec<String> {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT unnest(ARRAY[email, family_name]) FROM people WHERE role = 'patient' UNION SELECT medicine FROM prescriptions",
        )
        .fetch_all(&self.pool)
        .await
        .expect("reads");
        assert!(found.len() > 3, "{found:?}");
        found
    }
}

/// Every command that Redis is given from now on, with all its arguments: whatever is in Redis at any time was in one.
async fn monitor(redis: &Redis) -> Heard {
    let address = redis.url().trim_start_matches("redis://").trim_end_matches("/0");
    let mut stream = TcpStream::connect(address).await.expect("Redis answers");
    stream.write_all(b"MONITOR\r\n").await.expect("asked");
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next_line().await.ok().flatten().as_deref(), Some("+OK"));
    let heard = Heard::default();
    let told = heard.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            tell(&told, line);
        }
    });
    heard
}

/// Bytes as Redis shows them to who monitors it.
fn as_monitored(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|byte| match byte {
        b'\\' | b'"' => format!("\\{}", char::from(*byte)),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_personal_data_is_in_logs_redis_or_the_ledger() {
    for belt in ["native", "apalis-redis"] {
        let redis = Redis::private().await;
        let clinic = Clinic::open(Postgres::shared().await, &redis).await;
        let commands = monitor(&redis).await;
        clinic.seed(30, 3, "", 3600).await;
        let refused = Faults::none().next(2, Fault::refuse(Stage::Rcpt, 550)).next(2, Fault::refuse(Stage::Dot, 451));
        clinic.smtp.set_faults(refused);
        let programs = ["pulsecal-scheduler", "pulsecal-worker"].map(|it| clinic.start_with(it, &[("BELT", belt)]));
        clinic.smtp.wait_accepted(28, LIMIT).await;
        clinic.ledger_empty(LIMIT).await;
        let ledger: Vec<String> = sqlx::query_scalar(
            "SELECT coalesce(args::text, '') || coalesce(last_error, '') FROM job_list
             UNION ALL SELECT coalesce(error, '') FROM job_attempts UNION ALL SELECT coalesce(detail::text, '') FROM audit_entries
             UNION ALL SELECT coalesce(reason, '') || coalesce(reply, '') FROM messages",
        )
        .fetch_all(&clinic.pool)
        .await
        .expect("reads");
        let mut said: Vec<String> = programs.iter().flat_map(Process::lines).collect();
        assert!(said.len() > 4 && ledger.len() > 30, "there is something to look at");
        said.extend(ledger);
        let commands = all(&commands);
        let jobs: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM job_history WHERE kind = 'medication_reminder'")
            .fetch_all(&clinic.pool)
            .await
            .expect("reads");
        assert_eq!(jobs.len(), 30);
        for job in jobs {
            let id = as_monitored(job.as_bytes());
            assert!(commands.iter().any(|line| line.contains(&id)), "{belt}: {job} went through Redis unseen");
        }
        for canary in clinic.canaries().await {
            assert!(!said.iter().any(|line| line.contains(&canary)), "{belt}: {canary} was told");
            let shown = as_monitored(canary.as_bytes());
            let found = commands.iter().find(|line| line.contains(&shown));
            assert!(found.is_none(), "{belt}: Redis was given {canary}: {found:?}");
        }
    }
}

/// A Sentry of one test: takes whatever is posted, over plain HTTP.
struct Sentry {
    dsn: String,
    envelopes: Heard,
}

impl Sentry {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let dsn = format!("http://publickey@{}/1", listener.local_addr().expect("an address"));
        let envelopes = Heard::default();
        let taken = envelopes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, taken.clone()));
            }
        });
        Self { dsn, envelopes }
    }

    /// The events so far: what follows an item's head that says so.
    fn events(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let is_head = |line: &str| read(line)["type"] == "event";
        let of = |envelope: &String| -> Vec<Value> {
            let lines: Vec<&str> = envelope.lines().collect();
            lines.windows(2).filter(|pair| is_head(pair[0])).map(|pair| read(pair[1])).collect()
        };
        all(&self.envelopes).iter().flat_map(of).collect()
    }

    async fn wait_for(&self, text: &str) -> Value {
        until(LIMIT, &format!("Sentry has an event with {text:?}"), async || {
            self.events().into_iter().find(|event| event.to_string().contains(text))
        })
        .await
    }
}

async fn take(stream: TcpStream, envelopes: Heard) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line).await {
                Ok(1..) if line.trim().is_empty() => break,
                Ok(1..) => {
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap_or(0);
                    }
                }
                Ok(0) | Err(_) => return,
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        tell(&envelopes, String::from_utf8_lossy(&body).into_owned());
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_is_told_of_panics_and_dead_jobs_and_of_no_person_and_no_secret() {
    let (clinic, sentry) = (Clinic::open(Postgres::shared().await, Redis::shared().await).await, Sentry::start().await);
    clinic.seed(5, 2, "", 3600).await;
    clinic.smtp.set_faults(Faults::none().always(Fault::refuse(Stage::Rcpt, 550)));
    let more = [("SENTRY_DSN", sentry.dsn.as_str())];
    let worker = clinic.start_with("pulsecal-worker", &more);
    let _scheduler = clinic.start_with("pulsecal-scheduler", &more);
    worker.wait_line("takes jobs", LIMIT).await;
    let tried = run("pulsecal", &["jobs", "try", "--does", "\"panic\""], clinic.env(), LIMIT).await;
    assert!(tried.status.success(), "{}", tried.stderr);
    let panic = sentry.wait_for("panicked as told").await;
    assert!(panic["exception"]["values"][0]["stacktrace"].is_object(), "it says where: {panic}");
    sentry.wait_for("job.dead").await;
    clinic.ledger_empty(LIMIT).await;

    let events = sentry.events();
    let calm = events.iter().find(|event| !matches!(event["level"].as_str(), None | Some("error" | "fatal")));
    assert!(calm.is_none(), "only errors are for Sentry: {calm:?}");
    let told = all(&sentry.envelopes).join("\n");
    for canary in clinic.canaries().await {
        assert!(!told.contains(&canary), "{canary} was told");
    }
    assert!(
        !told.contains(clinic.db.url()) && !told.contains(&clinic.smtp.url()) && !told.contains("0123456789abcdef")
    );
}

const TOLD_BY_A_PANIC: [&str; 3] =
    ["ann.canary@example.org", "smtp://sender:smtp-canary@127.0.0.1:25", "postgres://owner:db-canary@127.0.0.1/clinic"];

/// Not run by itself: the next test runs it in a process of its own, with its Sentry.
#[test]
#[ignore = "a part of an_address_or_a_url_in_a_panic_is_masked_on_its_way_to_sentry"]
fn panic_with_what_must_not_be_told() {
    let config = Config::read(&|name| match name {
        "DATABASE_URL" => Some(TOLD_BY_A_PANIC[2].to_owned()),
        "REDIS_URL" => Some("redis://127.0.0.1:1".to_owned()),
        "SECRET_KEY" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        "SENTRY_DSN" => std::env::var("SENTRY_DSN").ok(),
        _ => None,
    });
    let _telemetry = telemetry::start(&config.expect("a configuration"), "worker");
    let [address, smtp, database] = TOLD_BY_A_PANIC;
    let ended = std::thread::spawn(move || panic!("lost <{address}>, by ({smtp}): {database}")).join();
    assert!(ended.is_err());
}

fn process_that_panics(dsn: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("the test's own file"));
    command.args(["--ignored", "--exact", "--nocapture", "privacy::panic_with_what_must_not_be_told"]);
    command.env("SENTRY_DSN", dsn);
    Process::spawn_command("a process that panics", command)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_or_a_url_in_a_panic_is_masked_on_its_way_to_sentry() {
    let sentry = Sentry::start().await;
    let process = process_that_panics(&sentry.dsn);
    assert_eq!(process.wait_exit(LIMIT).await.code(), Some(0), "{}", process.lines().join("\n"));
    let event = sentry.wait_for("(address)").await;
    assert_eq!(event["server_name"], "worker");
    let told = all(&sentry.envelopes).join("\n");
    for canary in ["ann.canary", "smtp-canary", "db-canary", "0123456789abcdef"] {
        assert!(!told.contains(canary), "{canary} was told: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_of_https_is_spoken_to_in_tls() {
    const CLIENT_HELLO: u8 = 22;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let _process = process_that_panics(&format!("https://publickey@{}/1", listener.local_addr().expect("an address")));
    let first = async { listener.accept().await.expect("accepted").0.read_u8().await.expect("a first byte") };
    assert_eq!(tokio::time::timeout(LIMIT, first).await, Ok(CLIENT_HELLO));
}
