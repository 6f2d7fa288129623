//! A fresh database for each test, copied from a migrated template.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Url;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::own_processes::run_folder::since_1970;
use crate::processes::{self, Binaries};
use crate::servers::Postgres;
use crate::threads::blocking;

/// Guards the making of the template, on a server that test processes share.
const TEMPLATE_LOCK: i64 = 0x70_75_6c_73_65;
/// Databases of runs that were killed are removed after this many seconds.
const LEFT_OVER_AFTER: u64 = 6 * 3600;
const MIGRATE_LIMIT: Duration = Duration::from_secs(120);

/// A database of one test; it is dropped, with whatever is connected to it, when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    url: String,
    name: String,
}

impl TestDatabase {
    /// A copy of the template that `pulsecal migrate` made, once per server and state of the migrations.
    ///
    /// # Panics
    /// If the server cannot be reached or the migrations fail; with their output.
    pub async fn create(server: &Postgres) -> Self {
        let template = template(server.url()).await;
        Self::copy_of(&template, server).await
    }

    /// A database with nothing in it, for tests of the migrations themselves.
    pub async fn empty(server: &Postgres) -> Self {
        Self::copy_of("template0", server).await
    }

    /// Its URL, for `DATABASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A prefix that sets this test's keys apart on a shared Redis.
    pub fn key_prefix(&self) -> String {
        format!("{}:", self.name)
    }

    /// A pool of connections to it, for looking at what the processes did.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(5)
            .acquire_timeout(Duration::from_secs(10))
            .connect(&self.url)
            .await
            .expect("the test's database can be reached")
    }

    async fn copy_of(template: &str, server: &Postgres) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pulsecal_test_{}_{}_{number}", since_1970().as_secs(), std::process::id());
        let mut connection = connect(server.url()).await;
        execute(&mut connection, format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}""#)).await;
        Self { server: server.url().to_owned(), url: with_database(server.url(), &name), name }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread of its own, because drop is not async and may run on a runtime's thread.
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let work = async {
                    let mut connection = PgConnection::connect(&server).await?;
                    let sql = format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#);
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                    connection.close().await
                };
                // The test may have killed the server. Left over on a shared one, it is removed by a later run.
                let _ = tokio::time::timeout(Duration::from_secs(10), work).await;
            });
        });
        let _ = dropping.join();
    }
}

/// The name of the migrated template on this server, which is made if it is not there.
async fn template(server: &str) -> String {
    let migrations = processes::migrations_folder();
    let name = format!("pulsecal_template_{:016x}", hash_of_folder(&migrations));
    let mut connection = connect(server).await;
    // Held by the session: released even if the making panics.
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut connection)
        .await
        .expect("the lock can be had");
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .expect("databases can be listed");
    if !exists {
        make_template(server, &mut connection, &name).await;
    }
    connection.close().await.expect("the session can be closed");
    name
}

async fn make_template(server: &str, connection: &mut PgConnection, name: &str) {
    remove_left_overs(connection).await;
    let unfinished = format!("{name}_unfinished");
    execute(connection, format!(r#"DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)"#)).await;
    execute(connection, format!(r#"CREATE DATABASE "{unfinished}" TEMPLATE template0"#)).await;
    blocking(Binaries::get).await;
    let env = [("DATABASE_URL", with_database(server, &unfinished))];
    let done = processes::run("pulsecal", &["migrate"], env, MIGRATE_LIMIT).await;
    assert!(done.status.success(), "pulsecal migrate failed ({}):\n{}{}", done.status, done.stdout, done.stderr);
    // Sessions of the binary may still be ending.
    execute(connection, format!(r#"ALTER DATABASE "{unfinished}" ALLOW_CONNECTIONS false"#)).await;
    let ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
    sqlx::query(ending).bind(&unfinished).execute(&mut *connection).await.expect("sessions can be ended");
    execute(connection, format!(r#"ALTER DATABASE "{unfinished}" RENAME TO "{name}""#)).await;
}

/// Test databases without sessions that are older than any run.
async fn remove_left_overs(connection: &mut PgConnection) {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database d WHERE datname LIKE 'pulsecal\\_test\\_%'
         AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("databases can be listed");
    let oldest = since_1970().as_secs().saturating_sub(LEFT_OVER_AFTER);
    for name in names {
        let made: Option<u64> = name.split('_').nth(2).and_then(|seconds| seconds.parse().ok());
        if made.is_some_and(|made| made < oldest) {
            execute(connection, format!(r#"DROP DATABASE IF EXISTS "{name}""#)).await;
        }
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("cannot reach Postgres: {error}"))
}

/// Executes a statement whose names were made here.
async fn execute(connection: &mut PgConnection, sql: String) {
    let shown = sql.clone();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
}

fn with_database(url: &str, name: &str) -> String {
    let mut url: Url = url.parse().unwrap_or_else(|error| panic!("not a URL: {error}"));
    url.set_path(name);
    url.into()
}

/// Over the names and contents of the files, in the order of their names.
fn hash_of_folder(folder: &Path) -> u64 {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(&file)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
            .hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_changes_with_a_migrations_content_and_name_only() {
        let folder = std::env::temp_dir().join(format!("pulsecal-hash-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("1_a.up.sql"), "SELECT 1").expect("written");
        let first = hash_of_folder(&folder);
        std::fs::write(folder.join("README.md"), "words").expect("written");
        assert_eq!(hash_of_folder(&folder), first);
        std::fs::write(folder.join("1_a.up.sql"), "SELECT 2").expect("written");
        let second = hash_of_folder(&folder);
        assert_ne!(second, first);
        std::fs::rename(folder.join("1_a.up.sql"), folder.join("2_a.up.sql")).expect("renamed");
        assert_ne!(hash_of_folder(&folder), second);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn only_the_database_of_the_url_changes() {
        assert_eq!(
            with_database("postgres://me:secret@127.0.0.1:5433/postgres?sslmode=disable", "other"),
            "postgres://me:secret@127.0.0.1:5433/other?sslmode=disable"
        );
    }
}
