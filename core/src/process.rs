//! What is the same in every process: start, beat, stop.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::accounts::{FactorKeys, Passwords};
use crate::audit::head::HeadKey;
use crate::backup::Backups;
use crate::belt::Belt;
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::{Context, Shared};
use crate::exports::Sealing;
use crate::ids::{Ids, ProcessId};
use crate::links::Links;
use crate::mail::{EmailAddress, SmtpConfig, SmtpTransport, Templates};
use crate::send::{Mailer, Post, Sender};
use crate::store::feed::{self, ProcessInfo};
use crate::store::{Db, PoolSizes, Scope};
use crate::telemetry::{self, Health, Telemetry};

/// A process beats this often …
const BEAT: Duration = Duration::from_secs(2);
/// … and tries this long to leave in order.
const LEAVE: Duration = Duration::from_secs(2);

/// A running process.
pub struct Process {
    /// Its id, new at each start.
    pub id: ProcessId,
    /// Its environment.
    pub config: Config,
    /// What its parts work with.
    pub ctx: Context,
    /// Its loops.
    pub health: Health,
    /// Fires at SIGTERM or SIGINT.
    pub stop: CancellationToken,
    /// Logs, metrics, Sentry.
    pub telemetry: Telemetry,
}

/// Why a process ends with an error: one line for who started it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure, in the user's words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The whole of a process's `main`: configuration, telemetry, beat, `body`, orderly end.
pub fn main<F, Fut>(kind: &'static str, body: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("pulsecal-{kind}: {problem}");
            return ExitCode::from(2);
        }
    };
    let telemetry = telemetry::start(&config, kind);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("pulsecal-{kind}: cannot start its threads: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(kind, config, telemetry, body));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!(error = %problem, "process: ends");
            eprintln!("pulsecal-{kind}: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run<F, Fut>(kind: &'static str, config: Config, telemetry: Telemetry, body: F) -> Result<(), Failure>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let ids = Ids;
    let ctx = context(&config, kind)?;
    let health = Health::default();
    let stop = CancellationToken::new();
    let info = ProcessInfo {
        id: ids.new_id(),
        kind,
        host: std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()).unwrap_or_default(),
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        queues: if kind == "worker" { format!("{:?}", config.worker_queues.0) } else { String::new() },
    };
    if let Some(bind) = config.metrics_bind.filter(|_| kind != "api") {
        let problem = |error| Failure::new(format!("METRICS_BIND: cannot listen on {bind}: {error}"));
        telemetry::serve(bind, health.clone(), telemetry.metrics.clone()).await.map_err(problem)?;
    }
    metrics::gauge!("pulsecal_process_info", "kind" => kind, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    metrics::gauge!("pulsecal_process_start_time_seconds").set(ctx.clock.now().timestamp() as f64);
    let signals = listen(stop.clone())?;
    sign_on(&ctx, &info, &stop).await;
    let pulse = beat_apart(&config, info.clone(), stop.clone());
    let ended = body(Process { id: info.id, config, ctx: ctx.clone(), health, stop: stop.clone(), telemetry }).await;
    stop.cancel();
    signals.abort();
    // The row goes only after the last job was given back, and without it nobody waits for this process.
    let leave = async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        feed::leave(tx.conn(), info.id).await?;
        tx.commit().await
    };
    if !matches!(tokio::time::timeout(LEAVE, leave).await, Ok(Ok(()))) {
        tracing::warn!("process: could not sign off; others will notice its silence");
    }
    pulse.cancel();
    ctx.db.close().await;
    ended
}

/// The context of a process of this kind.
///
/// # Errors
/// A URL that cannot be used.
pub fn context(config: &Config, kind: &str) -> Result<Context, Failure> {
    let belt = Belt::new(config.redis_url.expose(), &config.redis_prefix)
        .map_err(|_| Failure::new("REDIS_URL: is no URL that a Redis client understands"))?;
    let sizes = match kind {
        "worker" => PoolSizes { app: 8, system: 8 },
        "api" => PoolSizes { app: 16, system: 2 },
        // One for each loop of the scheduler: a dose waits for no other loop.
        _ => PoolSizes { app: 2, system: 8 },
    };
    let (clock, ids) = (Clock::system(), Ids);
    let db = Db::new(config.database_url.expose(), sizes, belt, clock.clone(), ids)
        .map_err(|_| Failure::new("DATABASE_URL: is no URL that a Postgres client understands"))?;
    let from_parts =
        |text: &str| text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>')).trim().to_owned();
    let from = EmailAddress::parse(&from_parts(&config.mail_from))
        .map_err(|_| Failure::new("MAIL_FROM: must be Name <address>, as in Clinic <reminders@clinic.example>"))?;
    let mailer = match &config.smtp_url {
        None => Mailer::Mailbox(db.clone()),
        Some(url) => {
            let smtp = SmtpConfig::parse(url.expose()).and_then(SmtpTransport::connect_lazy);
            Mailer::Smtp(smtp.map_err(|error| Failure::new(format!("SMTP_URL: {error}")))?)
        }
    };
    let templates = Templates::new()
        .map_err(|error| Failure::new(format!("the templates in this binary do not parse: {error}")))?;
    let head_key = HeadKey::of(&config.secret_key);
    let links = Links::new(config.secret_key.clone(), &config.public_url);
    let post = Post::new(&db, clock.clone(), mailer, templates.clone(), links.clone(), from);
    let (doses, visits, join_mail) = (Sender::start(&post), Sender::start(&post), Sender::start(&post));
    let payment_mail = Sender::start(&post);
    let blobs = Blobs::open(&config.blobs, ids).map_err(|problem| Failure::new(format!("BLOB_URL: {problem}")))?;
    let export_sealing =
        Sealing::new(&config.secret_key).map_err(|problem| Failure::new(format!("SECRET_KEY: {problem}")))?;
    let (export_mail, alarms, account_mail) = (Sender::start(&post), Sender::start(&post), Sender::start(&post));
    let (passwords, factor_keys) = (Passwords::new(&config.secret_key), FactorKeys::new(&config.secret_key));
    let backups = Backups::of(config);
    let history_months = config.job_history_months;
    Ok(Context::new(Shared {
        db,
        clock,
        ids,
        templates,
        blobs,
        backups,
        links,
        head_key,
        passwords,
        factor_keys,
        doses,
        visits,
        export_sealing,
        export_mail,
        account_mail,
        join_mail,
        payment_mail,
        alarms,
        alert_mail: config.alert_mail.clone(),
        history_months,
    }))
}

fn listen(stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error| Failure::new(format!("cannot listen for signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stop.cancel();
    }))
}

/// Waits for Postgres, and puts this process on record before it claims anything.
async fn sign_on(ctx: &Context, info: &ProcessInfo, stop: &CancellationToken) {
    let mut tries = 0_u32;
    while !stop.is_cancelled() {
        let sign = async {
            let mut tx = ctx.begin(Scope::Platform).await?;
            feed::beat(tx.conn(), info, false).await?;
            tx.commit().await
        };
        match sign.await {
            Ok(()) => return,
            Err(error) => {
                if tries.is_multiple_of(10) {
                    tracing::warn!(error = %error, "process: waits for Postgres (DATABASE_URL); is it running, and has `pulsecal migrate` run?");
                }
                tries += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// Beats on a thread of its own, so that no handler that blocks the others makes this process look dead.
fn beat_apart(config: &Config, info: ProcessInfo, stop: CancellationToken) -> CancellationToken {
    let over = CancellationToken::new();
    let (url, told) = (config.database_url.clone(), over.clone());
    let beating = std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let Ok(belt) = Belt::new("redis://127.0.0.1", "unused") else { return };
            let Ok(db) = Db::new(url.expose(), PoolSizes { app: 1, system: 1 }, belt, Clock::system(), Ids) else {
                return;
            };
            let mut warned = false;
            loop {
                let beat = async {
                    let mut tx = db.begin(Scope::Ledger).await?;
                    feed::beat(tx.conn(), &info, stop.is_cancelled()).await?;
                    tx.commit().await
                };
                tokio::select! {
                    () = told.cancelled() => return,
                    done = tokio::time::timeout(Duration::from_secs(5), beat) => {
                        let fine = matches!(done, Ok(Ok(())));
                        if !fine && !warned {
                            tracing::warn!("process.beat: Postgres does not take the heartbeat");
                        }
                        warned = !fine;
                    }
                }
                tokio::select! { () = told.cancelled() => return, () = tokio::time::sleep(BEAT) => {} }
            }
        });
    });
    if let Err(error) = beating {
        tracing::error!(error = %error, "process.beat: cannot start the heartbeat's thread");
    }
    over
}
