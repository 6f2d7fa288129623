//! Configuration: the environment, read once at start.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::backup::retention::Keep;
use crate::blobs::BlobPlace;
use crate::ledger::Queue;
use crate::limits::Rates;
use crate::mail::EmailAddress;
use crate::oidc::OidcConfig;
use crate::plaintext::PlaintextHosts;
use crate::sealing::Recipients;
use crate::web_origin::WebOrigin;

/// A variable that PulseCal reads; `.env.sample` lists the same, and a test compares the two.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds when it is not set; none: it must be set where it is needed.
    pub default: Option<&'static str>,
}

const fn var(name: &'static str, default: Option<&'static str>) -> Variable {
    Variable { name, default }
}

/// Every variable that PulseCal reads.
pub const VARIABLES: &[Variable] = &[
    var("DATABASE_URL", None),
    var("REDIS_URL", None),
    var("PLAINTEXT_HOSTS", Some("")),
    var("REDIS_PREFIX", Some("pulsecal")),
    var("BELT", Some("native")),
    var("SMTP_URL", Some("")),
    var("MAIL_FROM", Some("PulseCal <reminders@pulsecal.example>")),
    var("ALERT_MAIL", Some("")),
    var("PUBLIC_URL", Some("http://127.0.0.1:8080")),
    var("SECRET_KEY", None),
    var("BLOB_URL", Some("")),
    var("AWS_ACCESS_KEY_ID", Some("")),
    var("AWS_SECRET_ACCESS_KEY", Some("")),
    var("AWS_SESSION_TOKEN", Some("")),
    var("AWS_REGION", Some("")),
    var("AWS_ENDPOINT_URL", Some("")),
    var("BIND", Some("127.0.0.1:8080")),
    var("RATE_LIMITS", Some("address=200,caller=100")),
    var("CORS_ORIGINS", Some("")),
    var("METRICS_BIND", Some("")),
    var("WORKER_QUEUES", Some("reminders=512,mail=64,exports=2,backups=1,maintenance=4")),
    var("BACKUP_RECIPIENT", Some("")),
    var("BACKUP_IDENTITY_FILE", Some("")),
    var("BACKUP_KEEP", Some("7d,5w,12m")),
    var("PG_BIN", Some("")),
    var("SENTRY_DSN", Some("")),
    var("OTEL_EXPORTER_OTLP_ENDPOINT", Some("")),
    var("GOOGLE_CLIENT_ID", Some("")),
    var("GOOGLE_CLIENT_SECRET", Some("")),
    var("OIDC_ISSUER", Some("")),
    var("LOG_FORMAT", Some("")),
    var("JOB_HISTORY_MONTHS", Some("13")),
    var("PULSECAL_ALLOW_ABORT", Some("")),
];

/// The issuer of `GOOGLE_CLIENT_ID` where `OIDC_ISSUER` names no other.
const GOOGLE: &str = "https://accounts.google.com";

/// A wrong or missing variable: one line that names it. The value itself is never shown, it may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong, and what is right.
    pub problem: String,
}

/// A value that must not be printed.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for its real use.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Which belt carries ids from Redis to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeltKind {
    /// PulseCal's own lists.
    Native,
    /// Stock apalis-redis, for those who run it already.
    ApalisRedis,
}

/// How many jobs of each queue a worker runs at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerQueues(pub BTreeMap<Queue, usize>);

impl FromStr for WorkerQueues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut queues = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, count) =
                part.split_once('=').ok_or("expected QUEUE=COUNT pairs, as in reminders=512,mail=64")?;
            let queue = name.trim().parse::<Queue>().map_err(|error| error.to_string())?;
            let count = count.trim().parse::<usize>().ok().filter(|count| (1..=4096).contains(count));
            let count = count.ok_or_else(|| format!("the count of {queue} must be 1 to 4096"))?;
            queues.insert(queue, count);
        }
        if queues.is_empty() { Err("names no queue; as in reminders=512,mail=64".into()) } else { Ok(Self(queues)) }
    }
}

/// For how many months ended jobs are kept, 1 to 1200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryMonths(u16);

impl HistoryMonths {
    /// How many.
    pub const fn count(self) -> u16 {
        self.0
    }
}

impl FromStr for HistoryMonths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let months = text.parse().ok().filter(|months| (1..=1200).contains(months));
        months.map(Self).ok_or_else(|| "must be a number of months, 1 to 1200".to_owned())
    }
}

/// The environment of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database_url: Secret<String>,
    /// `REDIS_URL`.
    pub redis_url: Secret<String>,
    /// `REDIS_PREFIX`: the head of every key.
    pub redis_prefix: String,
    /// `BELT`.
    pub belt: BeltKind,
    /// `SMTP_URL`; none: the development mailbox.
    pub smtp_url: Option<Secret<String>>,
    /// `MAIL_FROM`, as `Name <address>`.
    pub mail_from: String,
    /// `ALERT_MAIL`: who is told of alarms; perhaps nobody.
    pub alert_mail: Vec<EmailAddress>,
    /// `PUBLIC_URL`, without a slash at its end.
    pub public_url: String,
    /// `SECRET_KEY`: signs links; 32 characters or more.
    pub secret_key: Secret<Vec<u8>>,
    /// `BLOB_URL` and the AWS_ variables.
    pub blobs: BlobPlace,
    /// `BACKUP_RECIPIENT`; none: no backups.
    pub backup_recipients: Option<Recipients>,
    /// `BACKUP_IDENTITY_FILE`; none: no drills on this machine.
    pub backup_identity_file: Option<std::path::PathBuf>,
    /// `BACKUP_KEEP`.
    pub backup_keep: Keep,
    /// `PG_BIN`, the folder of pg_dump and pg_restore; none: those on `PATH`.
    pub pg_bin: Option<std::path::PathBuf>,
    /// `BIND` of the API.
    pub bind: std::net::SocketAddr,
    /// `CORS_ORIGINS`: the pages whose scripts may use the API from a browser; perhaps none.
    pub cors_origins: Vec<WebOrigin>,
    /// `RATE_LIMITS` of the API.
    pub rates: Rates,
    /// `METRICS_BIND` of worker and scheduler; none: no metrics port.
    pub metrics_bind: Option<std::net::SocketAddr>,
    /// `WORKER_QUEUES`.
    pub worker_queues: WorkerQueues,
    /// `JOB_HISTORY_MONTHS`.
    pub job_history_months: HistoryMonths,
    /// `GOOGLE_CLIENT_ID`, `GOOGLE_CLIENT_SECRET` and `OIDC_ISSUER`; none: people sign in with passwords only.
    pub oidc: Option<OidcConfig>,
    /// `SENTRY_DSN`; none: no Sentry.
    pub sentry_dsn: Option<Secret<String>>,
    /// `LOG_FORMAT`: `text`, `json`, or by whether the output is a terminal.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object a line.
    Json,
    /// Text on a terminal, JSON otherwise.
    ByTerminal,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn read(lookup: &dyn Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Reader { lookup };
        Ok(Self {
            database_url: Secret(env.server(
                "DATABASE_URL",
                &["postgres", "postgresql"],
                PlaintextHosts::check_postgres,
            )?),
            redis_url: Secret(env.server("REDIS_URL", &["redis", "rediss"], PlaintextHosts::check_redis)?),
            redis_prefix: env.parsed("REDIS_PREFIX", |text| {
                let fine = !text.is_empty()
                    && text.len() <= 64
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
                if fine { Ok(text.to_owned()) } else { Err("must be 1 to 64 letters, digits, '-', '_' or '.'".into()) }
            })?,
            belt: env.parsed("BELT", |text| match text {
                "native" => Ok(BeltKind::Native),
                "apalis-redis" => Ok(BeltKind::ApalisRedis),
                _ => Err("must be native or apalis-redis".into()),
            })?,
            smtp_url: env
                .optional("SMTP_URL")?
                .map(|_| env.url("SMTP_URL", &["smtp", "smtps"]))
                .transpose()?
                .map(Secret),
            mail_from: env.text("MAIL_FROM")?,
            alert_mail: env.parsed("ALERT_MAIL", addresses)?,
            public_url: env.url("PUBLIC_URL", &["http", "https"])?.trim_end_matches('/').to_owned(),
            secret_key: env.parsed("SECRET_KEY", |text| {
                if text.len() < 32 {
                    return Err("must be at least 32 characters of randomness, as `openssl rand -hex 32` makes".into());
                }
                Ok(Secret(text.as_bytes().to_vec()))
            })?,
            blobs: env.parsed("BLOB_URL", |url| {
                BlobPlace::read(url, |name| (env.lookup)(name).filter(|value| !value.is_empty()))
            })?,
            backup_recipients: env
                .optional("BACKUP_RECIPIENT")?
                .map(|_| env.parsed("BACKUP_RECIPIENT", str::parse))
                .transpose()?,
            backup_identity_file: env.optional("BACKUP_IDENTITY_FILE")?.map(Into::into),
            backup_keep: env.parsed("BACKUP_KEEP", str::parse)?,
            pg_bin: env.optional("PG_BIN")?.map(Into::into),
            bind: env.parsed("BIND", socket)?,
            cors_origins: env.parsed("CORS_ORIGINS", WebOrigin::list)?,
            rates: env.parsed("RATE_LIMITS", str::parse)?,
            metrics_bind: env.optional("METRICS_BIND")?.map(|_| env.parsed("METRICS_BIND", socket)).transpose()?,
            worker_queues: env.parsed("WORKER_QUEUES", str::parse)?,
            job_history_months: env.parsed("JOB_HISTORY_MONTHS", str::parse)?,
            oidc: env.oidc()?,
            sentry_dsn: env.optional("SENTRY_DSN")?.map(Secret),
            log_format: env.parsed("LOG_FORMAT", |text| match text {
                "" => Ok(LogFormat::ByTerminal),
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("must be text or json".into()),
            })?,
        })
    }
}

/// None to ten addresses, with commas between them.
fn addresses(text: &str) -> Result<Vec<EmailAddress>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let all: Result<Vec<_>, _> = words.map(EmailAddress::parse).collect();
    all.ok()
        .filter(|all| all.len() <= 10)
        .ok_or_else(|| "must be addresses as ops@clinic.example, with commas between them, 10 at most".to_owned())
}

fn socket(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| "must be ADDRESS:PORT, as in 127.0.0.1:8080".to_owned())
}

struct Reader<'a> {
    lookup: &'a dyn Fn(&'static str) -> Option<String>,
}

impl Reader<'_> {
    fn optional(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(Some(self.text(name)?).filter(|text| !text.is_empty()))
    }

    fn text(&self, name: &'static str) -> Result<String, ConfigError> {
        let known = VARIABLES.iter().find(|variable| variable.name == name);
        let default = known.and_then(|variable| variable.default);
        let set = (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        set.or_else(|| default.map(str::to_owned))
            .ok_or_else(|| ConfigError { name, problem: "is not set; .env.sample says what it means".into() })
    }

    fn parsed<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(&self.text(name)?).map_err(|problem| ConfigError { name, problem })
    }

    /// The client with its secret, at Google or at the issuer that is named; or none of the three variables.
    fn oidc(&self) -> Result<Option<OidcConfig>, ConfigError> {
        let [client, secret, issuer] = ["GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "OIDC_ISSUER"];
        let [named, proof, at] = [self.optional(client)?, self.optional(secret)?, self.optional(issuer)?];
        match (named, proof) {
            (None, None) if at.is_none() => Ok(None),
            (Some(named), Some(proof)) => OidcConfig::new(at.as_deref().unwrap_or(GOOGLE), &named, Secret(proof))
                .map(Some)
                .map_err(|problem| ConfigError { name: issuer, problem }),
            (named, _) => {
                let name = if named.is_none() { client } else { secret };
                let problem = "is not set; signing in elsewhere needs GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, and OIDC_ISSUER where it is not Google";
                Err(ConfigError { name, problem: problem.into() })
            }
        }
    }

    /// A server's address, which must be safe to reach.
    fn server(
        &self,
        name: &'static str,
        schemes: &[&str],
        check: impl Fn(&PlaintextHosts, &url::Url) -> Result<(), String>,
    ) -> Result<String, ConfigError> {
        let plain = self.parsed("PLAINTEXT_HOSTS", str::parse)?;
        let text = self.url(name, schemes)?;
        self.parsed(name, |text| url::Url::parse(text).map_or(Ok(()), |url| check(&plain, &url)))?;
        Ok(text)
    }

    fn url(&self, name: &'static str, schemes: &[&str]) -> Result<String, ConfigError> {
        self.parsed(name, |text| {
            let wrong = || format!("must be a URL that starts with {}://", schemes.join(":// or "));
            let url = url::Url::parse(text).map_err(|_| wrong())?;
            if schemes.contains(&url.scheme()) { Ok(text.to_owned()) } else { Err(wrong()) }
        })
    }
}

#[cfg(test)]
mod tests;
