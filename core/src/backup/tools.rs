//! pg_dump and pg_restore: found, asked for their version, and started without a shell or a password on the command line.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use percent_encoding::percent_decode_str;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use super::{BackupError, Backups};

/// Of what a tool says on its error stream, the end is kept.
const MOST_SAID: usize = 4 << 10;
/// Parameters of a URL that Postgres's own programs know as well.
const SHARED: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port"];

/// The database that a URL names.
pub(super) fn database_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let name = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8().ok()?.into_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// A program that runs, and what it says.
pub(super) struct Tool {
    name: &'static str,
    pub(super) child: Child,
    said: JoinHandle<String>,
}

impl Backups {
    /// Where a program lies.
    fn tool(&self, name: &str) -> PathBuf {
        self.pg_bin.as_ref().map_or_else(|| Path::new(name).to_owned(), |folder| folder.join(name))
    }

    /// The version line of a program, whose major must not be below that of the server (as 150018).
    ///
    /// # Errors
    /// No such program, or one that is too old.
    pub(super) async fn tool_version(&self, name: &'static str, server: i32) -> Result<String, BackupError> {
        let output =
            Command::new(self.tool(name)).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.map_err(|error| {
            BackupError::Tool(format!(
                "{name} cannot be started ({error}): install Postgres's client programs, or set PG_BIN to their folder"
            ))
        })?;
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let major = line.split_whitespace().filter_map(|word| word.split('.').next()?.parse::<i32>().ok()).next();
        let server = server / 10_000;
        match major {
            Some(major) if major >= server => Ok(line),
            Some(major) => Err(BackupError::Tool(format!(
                "{name} is of version {major} and the server of version {server}: an older {name} cannot be trusted with it; set PG_BIN to newer programs"
            ))),
            None => Err(BackupError::Tool(format!("{name} --version says something unexpected"))),
        }
    }

    /// Starts a program on the database of `DATABASE_URL`, or another one of that server.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(
        &self,
        name: &'static str,
        database: Option<&str>,
        arguments: &[&str],
        (stdin, stdout): (Stdio, Stdio),
    ) -> Result<Tool, BackupError> {
        let mut command = Command::new(self.tool(name));
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(database) = database {
            let (address, password) = address(self.database_url.expose(), database)
                .ok_or_else(|| BackupError::Setting("DATABASE_URL: is no URL".into()))?;
            command.arg("--no-password").arg(format!("--dbname={address}"));
            if let Some(password) = password {
                command.env("PGPASSWORD", password);
            }
        }
        // What the operator's environment says about other connections must not change this one.
        for variable in
            ["PGOPTIONS", "PGSERVICE", "PGDATABASE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGSSLMODE"]
        {
            command.env_remove(variable);
        }
        let mut child =
            command.spawn().map_err(|error| BackupError::Tool(format!("{name} cannot be started: {error}")))?;
        let said = tokio::spawn(listen(child.stderr.take()));
        Ok(Tool { name, child, said })
    }
}

impl Tool {
    /// Waits for its end.
    ///
    /// # Errors
    /// It ended badly; with what it said.
    pub(super) async fn ended(mut self) -> Result<(), BackupError> {
        let status = self.child.wait().await.map_err(|error| BackupError::Tool(format!("{}: {error}", self.name)))?;
        let said = self.said.await.unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let why: Vec<&str> = said.lines().filter(|line| line.contains("error")).collect();
        let why = if why.is_empty() { said.trim().to_owned() } else { why.join("; ") };
        Err(BackupError::Tool(format!(
            "{} failed ({status}): {}",
            self.name,
            why.chars().take(600).collect::<String>()
        )))
    }

    /// Ends it at once.
    pub(super) async fn kill(mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill().await;
    }
}

/// The URL without its password and what only sqlx knows, and the password.
fn address(url: &str, database: &str) -> Option<(String, Option<String>)> {
    let mut url = url::Url::parse(url).ok()?;
    let password = url.password().map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    url.set_password(None).ok()?;
    url.path_segments_mut().ok()?.clear().push(database);
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| SHARED.contains(&&**name))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Some((url.into(), password))
}

async fn listen(stream: Option<ChildStderr>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        said.extend_from_slice(&buffer[..read]);
        let over = said.len().saturating_sub(MOST_SAID);
        said.drain(..over);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_among_the_arguments_and_what_only_we_know_is_left_out() {
        let (shown, password) = address(
            "postgres://me:p%40ss@db.example:5433/pulsecal?sslmode=require&statement-cache-capacity=3",
            "other one",
        )
        .expect("a URL");
        assert_eq!(shown, "postgres://me@db.example:5433/other%20one?sslmode=require");
        assert_eq!(password.as_deref(), Some("p@ss"));
        assert_eq!(database_of("postgres://me@h/a%20b").as_deref(), Some("a b"));
        assert_eq!(database_of("postgres://me@h"), None);
    }
}
