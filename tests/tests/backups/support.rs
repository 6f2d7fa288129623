//! A database with rows in it, a folder for its backups, two pairs of keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{self, Finished};
use pulsecal_tests::servers::Postgres;
use serde_json::Value;

/// For one command.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What a test works with.
pub struct Clinic {
    /// Its database.
    pub db: TestDatabase,
    /// Keys, and the folder `Blöbe hier` of the store.
    pub folder: PathBuf,
    /// `BLOB_URL`.
    pub blob_url: String,
    /// The public key.
    pub recipient: String,
    /// Set beside the usual.
    pub more: Vec<(String, String)>,
}

impl Clinic {
    /// With some rows in it, among them text that is hard to carry.
    pub async fn new() -> Self {
        let db = TestDatabase::create(Postgres::shared().await).await;
        let folder = std::env::temp_dir().join(db.name());
        std::fs::create_dir_all(folder.join("Blöbe hier")).expect("made");
        let blob_url = format!("file://{}", folder.join("Blöbe hier").display());
        let mut clinic = Self { db, folder, blob_url, recipient: String::new(), more: Vec::new() };
        clinic.recipient = clinic.keygen("identity").await;
        clinic.sql(
            "INSERT INTO organizations (org_id, name, zone, created_at, updated_at)
               VALUES ('00000000-0000-0000-0000-00000000000a', E'A \\t\\\\N\\n''\"ü', 'UTC', now(), now());
             INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at)
               SELECT gen_random_uuid(), '00000000-0000-0000-0000-00000000000a', 'patient', 'P' || n, md5(n::text), now(), now()
               FROM generate_series(1, 5000) n",
        )
        .await;
        clinic
    }

    /// Runs statements in its database.
    pub async fn sql(&self, sql: &'static str) {
        let pool = self.db.pool().await;
        sqlx::raw_sql(sql).execute(&pool).await.expect("runs");
        pool.close().await;
    }

    /// Makes a pair of keys, and gives the public one.
    pub async fn keygen(&self, name: &str) -> String {
        let file = self.folder.join(name);
        let done = self.run(&["--json", "backup", "keygen", &file.display().to_string()]).await;
        assert!(done.status.success(), "{}", done.stderr);
        json(&done)["recipient"].as_str().expect("a key").to_owned()
    }

    /// The environment of its programs.
    pub fn env(&self) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = [
            ("DATABASE_URL", self.db.url()),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("LOG_FORMAT", "text"),
            ("BLOB_URL", &self.blob_url),
            ("BACKUP_RECIPIENT", &self.recipient),
            ("BACKUP_IDENTITY_FILE", &self.folder.join("identity").display().to_string()),
            ("PG_BIN", &pg_bin()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in &self.more {
            env.retain(|(other, _)| other != name);
            env.push((name.clone(), value.clone()));
        }
        env
    }

    /// Runs `pulsecal`.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        processes::run("pulsecal", arguments, self.env(), LIMIT).await
    }

    /// Makes a backup, and gives its id.
    pub async fn backup(&self) -> String {
        let done = self.run(&["--json", "backup", "create"]).await;
        assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
        json(&done)["id"].as_str().expect("an id").to_owned()
    }

    /// The backups that are listed, and what is wrong with each.
    pub async fn listed(&self) -> Vec<(String, Option<String>)> {
        let done = self.run(&["--json", "backup", "list"]).await;
        assert!(done.status.success(), "{}", done.stderr);
        let all = json(&done);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let rows = all.as_array().expect("a list").iter();
        rows.map(|row| (text(&row["id"]).expect("an id"), text(&row["problem"]))).collect()
    }

    /// A blob of a backup, as a file.
    pub fn file(&self, id: &str, name: &str) -> PathBuf {
        self.folder.join("Blöbe hier/backups").join(self.database_folder()).join(id).join(name)
    }

    fn database_folder(&self) -> String {
        format!("db.{}", self.db.name())
    }

    /// One value of its database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let pool = self.db.pool().await;
        let count = sqlx::query_scalar(sql).fetch_one(&pool).await.expect("counts");
        pool.close().await;
        count
    }
}

impl Drop for Clinic {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a command printed.
pub fn json(done: &Finished) -> Value {
    serde_json::from_str(done.stdout.trim()).unwrap_or_else(|_| panic!("no JSON: {}{}", done.stdout, done.stderr))
}

/// Postgres's own programs.
pub fn pg_bin() -> String {
    std::env::var("PULSECAL_PG_BIN").unwrap_or_default()
}

/// A folder with a `pg_dump` that does this, and the real other programs.
pub fn with_pg_dump(folder: &Path, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).expect("made");
    let real = if pg_bin().is_empty() { String::new() } else { format!("{}/", pg_bin()) };
    for (name, text) in [("pg_dump", script), ("pg_restore", "exec \"${REAL}pg_restore\" \"$@\"")] {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\nREAL='{real}'\n{text}\n")).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    }
    bin.display().to_string()
}
