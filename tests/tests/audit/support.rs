//! A database with audit entries, a folder for signed heads, and both verifiers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pulsecal_core::audit::{keep, seal};
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ids::{OrgId, PersonId, RequestId};
use pulsecal_core::process::context;
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::{self, Actor, Entry, Role};
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::{Finished, run};
use pulsecal_tests::servers::Postgres;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef";
pub const LIMIT: Duration = Duration::from_secs(60);

/// A platform with nothing but its audit entries.
pub struct Ledger {
    pub db: TestDatabase,
    /// As the superuser.
    pub pool: PgPool,
    pub ctx: Context,
    pub folder: PathBuf,
    /// Variables of the programs that take the place of others.
    more: Vec<(String, String)>,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

impl Ledger {
    pub async fn open() -> Self {
        let db = TestDatabase::create(Postgres::shared().await).await;
        let pool = db.pool().await;
        let folder = std::env::temp_dir().join(db.name());
        std::fs::create_dir_all(folder.join("blobs")).expect("a folder of ours");
        let mut ledger = Self { ctx: read_context(&env_of(&db, &folder)), db, pool, folder, more: Vec::new() };
        ledger.ctx = read_context(&ledger.env());
        ledger
    }

    pub fn env(&self) -> Vec<(String, String)> {
        let mut env = env_of(&self.db, &self.folder);
        env.retain(|(name, _)| !self.more.iter().any(|(other, _)| other == name));
        env.extend(self.more.iter().cloned());
        env
    }

    /// From now on programs have these variables as well.
    pub fn set(&mut self, more: Vec<(String, String)>) {
        self.more.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        self.more.extend(more);
    }

    /// Writes entries of `org`, each in a transaction of its own.
    pub async fn write(&self, org: Option<OrgId>, count: usize) {
        for number in 0..count {
            let mut tx = self.ctx.begin(Scope::Platform).await.expect("begins");
            let entry = entry(org, number);
            let now = tx.now();
            audit::write(tx.conn(), self.ctx.ids, &[entry], now).await.expect("writes");
            tx.commit().await.expect("commits");
        }
    }

    /// Seals until nothing is left. Transactions of other tests on this server may hold it up for a while.
    pub async fn seal(&self) {
        until(LIMIT, "all entries are sealed", async || {
            seal::seal_all(&self.ctx).await.expect("seals");
            (seal::tail(&self.ctx).await.expect("reads").entries == 0).then_some(())
        })
        .await;
    }

    /// Puts a signed head into the blob store.
    pub async fn head(&self) -> PathBuf {
        let chains = keep::chains(&self.ctx).await.expect("reads");
        let key = keep::put(&self.ctx, chains).await.expect("the head is written");
        self.folder.join("blobs").join(key)
    }

    pub async fn pulsecal(&self, args: &[&str]) -> Finished {
        run("pulsecal", args, self.env(), LIMIT).await
    }

    /// `pulsecal audit verify`: its exit code and what it says.
    pub async fn verify(&self, more: &[&str]) -> (i32, Value) {
        let done = self.pulsecal(&[&["audit", "verify", "--json"], more].concat()).await;
        (done.status.code().expect("ended"), serde_json::from_str(&done.stdout).unwrap_or_else(|_| json!(done.stderr)))
    }

    /// The verifier in Python, over an export: its exit code and its lines.
    pub async fn verify_in_python(&self, heads: &[&Path]) -> (i32, String) {
        let exported = self.pulsecal(&["audit", "export"]).await;
        assert!(exported.status.success(), "{}", exported.stderr);
        let file = self.folder.join("export.ndjson");
        std::fs::write(&file, exported.stdout).expect("a file of ours");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/verify_export.py");
        let done = Command::new("python3").arg(script).arg(file).args(heads).env("SECRET_KEY", SECRET_KEY).output();
        let done = done.expect("python3 is there");
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.code().expect("ended"), said)
    }

    /// Does what nobody but the superuser can: triggers and policies do not hold.
    pub async fn tamper(&self, sql: &str) {
        let sql = format!("SET session_replication_role = replica; {sql}; SET session_replication_role = origin");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone()))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("counts")
    }
}

fn env_of(db: &TestDatabase, folder: &Path) -> Vec<(String, String)> {
    let pairs = [
        ("DATABASE_URL", db.url().to_owned()),
        ("SECRET_KEY", SECRET_KEY.to_owned()),
        ("BLOB_URL", format!("file://{}/blobs", folder.display())),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn read_context(env: &[(String, String)]) -> Context {
    let config = Config::read(&|name| {
        let given = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        given.or_else(|| (name == "REDIS_URL").then(|| "redis://127.0.0.1:1".to_owned()))
    });
    context(&config.expect("a configuration"), "worker").expect("a context")
}

pub fn org(number: u128) -> OrgId {
    OrgId(Uuid::from_u128(number))
}

/// Of several roles, actions and outcomes.
pub fn entry(org: Option<OrgId>, number: usize) -> Entry {
    let request = RequestId(Uuid::from_u128(1000 + number as u128));
    let person = |role| Actor::Person { id: PersonId(Uuid::from_u128(77)), role, request };
    Entry {
        org,
        actor: match number % 4 {
            0 => person(Role::Nurse),
            1 => person(Role::Doctor),
            2 => Actor::PatientLink { request },
            _ => Actor::Job(request.0),
        },
        action: ["dose.taken", "patient.changed", "message.sent"][number % 3],
        subject_type: "thing",
        subject: Uuid::from_u128(number as u128),
        outcome: if number.is_multiple_of(5) { "failed" } else { "success" },
        detail: number.is_multiple_of(2).then(|| json!({"n": number, "names": ["zone", "ärztin"], "half": 0.5})),
    }
}
