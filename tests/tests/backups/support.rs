//! A database with rows in it, a folder for its backups, two pairs of keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Enqueued, Job, NewJob};
use pulsecal_core::store::Scope;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{self, Finished};
use pulsecal_tests::servers::{Postgres, Redis};
use pulsecal_tests::wait::until;
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

    /// Sets a variable of the environment anew.
    pub fn set(&mut self, name: &str, value: &str) {
        self.more.retain(|(other, _)| other != name);
        self.more.push((name.to_owned(), value.to_owned()));
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

    /// Sets what workers and schedulers need, too.
    pub async fn with_belt(&mut self, queues: &str) {
        let redis = Redis::shared().await.url().to_owned();
        let prefix = self.db.name().to_owned();
        for (name, value) in [("REDIS_URL", redis.as_str()), ("REDIS_PREFIX", &prefix), ("WORKER_QUEUES", queues)] {
            self.set(name, value);
        }
    }

    /// A context as the worker's, in this process.
    pub fn context(&self) -> Context {
        let env = self.env();
        let lookup = |name: &'static str| env.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
        let config = Config::read(&lookup).expect("the environment is right");
        pulsecal_core::process::context(&config, "cli").expect("a context")
    }

    /// Has a job done by whoever takes it, beside others of its key.
    pub async fn enqueue<J: Job>(&self, ctx: &Context, job: &J) -> JobId {
        let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
        let new = NewJob::of(job).expect("a job").beside_others();
        let enqueued = tx.enqueue_all(vec![new]).await.expect("enqueued");
        tx.commit().await.expect("commits");
        let Some(Enqueued::New(id)) = enqueued.first() else { panic!("a new job") };
        *id
    }

    /// Waits for the end of a job, and gives its state and its last error.
    pub async fn ended(&self, id: JobId) -> (String, Option<String>) {
        let pool = self.db.pool().await;
        let sql = "SELECT state, last_error FROM job_history WHERE id = $1";
        until(LIMIT, "the job is over", async || {
            sqlx::query_as(sql).bind(id.0).fetch_optional(&pool).await.expect("Postgres answers")
        })
        .await
    }

    /// What the folder of the store holds beside the dumps and manifests of the backups that are listed.
    pub async fn left_over(&self) -> Vec<PathBuf> {
        let listed = self.listed().await;
        let mut all = files(&self.folder.join("Blöbe hier"));
        all.retain(|file| !listed.iter().any(|(id, _)| file.components().any(|part| part.as_os_str() == id.as_str())));
        all
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

/// All files below.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
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

/// A `pg_dump` that stands still after so many bytes: it makes the file `half` in `folder`, and goes on when there is one named
/// `go`. What it gives, and how it ends, is as the real one does.
pub fn with_pg_dump_that_waits(folder: &Path, bytes: u32) -> String {
    let at = folder.display();
    let script = format!(
        r#"[ "$1" = --version ] && exec "${{REAL}}pg_dump" --version
{{ "${{REAL}}pg_dump" "$@"; echo $? > '{at}/ended'; }} | {{ head -c {bytes}; : > '{at}/half'; while [ ! -e '{at}/go' ] && kill -0 $$ 2>/dev/null; do sleep 0.02; done; cat; }}
exit "$(cat '{at}/ended')""#
    );
    with_pg_dump(folder, &script)
}

/// Waits until it stands still.
pub async fn half_way(folder: &Path) {
    until(LIMIT, "the dump is half-way", async || folder.join("half").exists().then_some(())).await;
}

/// Lets it go on, now and from now on.
pub fn go_on(folder: &Path) {
    std::fs::write(folder.join("go"), "").expect("written");
}
