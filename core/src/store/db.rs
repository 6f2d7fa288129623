//! Connections and transactions. A pool is not to be had outside this module: only a [`Tx`] with a scope is.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{PgConnection, Postgres};

use crate::belt::Belt;
use crate::clock::Clock;
use crate::ids::{Ids, JobId, OrgId, RequestId};
use crate::ledger::{Enqueued, Job, JobError, NewJob, Priority, Queue};
use crate::store::export_rows::{self, Snapshot};
use crate::store::idempotency::{self, Claim, PersonsKey};
use crate::store::jobs;
use crate::store::tokens::{self, TokenBearer};
use crate::tokens::TokenHash;

/// What can go wrong with Postgres.
pub type DbError = sqlx::Error;

/// How Postgres is reached.
pub(crate) struct Reach {
    /// At which host; none: by a socket of this machine.
    pub(crate) host: Option<String>,
    /// In TLS, with a certificate that is checked for that host's name.
    pub(crate) proven: bool,
}

/// How Postgres is reached by a URL, as the driver reads it: with what the environment says where the URL says nothing.
/// None: the driver cannot read it.
pub(crate) fn reach(url: &url::Url) -> Option<Reach> {
    let options = PgConnectOptions::from_str(url.as_str()).ok()?;
    let socket = options.get_socket().is_some() || options.get_host().starts_with('/');
    Some(Reach {
        host: (!socket).then(|| options.get_host().to_owned()),
        proven: matches!(options.get_ssl_mode(), PgSslMode::VerifyFull),
    })
}

/// How many connections a process may hold.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    /// For work within organizations.
    pub app: u32,
    /// For the ledger and for work across organizations.
    pub system: u32,
}

/// Whose rows a transaction sees. Row-level security enforces it.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// One organization.
    Org(OrgId),
    /// As [`Scope::Org`], for a look at things of which only the audit entry is written: its commit does not wait for the disk.
    Look(OrgId),
    /// These organizations: for a batch of jobs that belong to them.
    Orgs(&'a [OrgId]),
    /// Every organization: ledger, planner, operators.
    Platform,
    /// As [`Scope::Platform`], for statements over many rows by their keys.
    Batch,
    /// As [`Scope::Batch`], and the commit does not wait for the disk: for claims and beats, which a crash of Postgres
    /// may take back. The jobs run again then, and their fences keep the old runs from finishing.
    Ledger,
}

/// A batch names its rows by their keys. A plan that is made once and kept must look them up one by one, however small the
/// tables were when it was made: the hot ones grow a thousandfold within a minute.
const BY_KEYS: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Asks on a pooled connection without a transaction around it; as [`begin`] does, it tries again where connections were stale.
macro_rules! alone {
    ($db:expr, $conn:ident, $now:ident => $ask:expr) => {{
        let mut tries = $db.app.size().max(1);
        loop {
            let mut pooled = $db.app.acquire().await?;
            let ($conn, $now) = (&mut *pooled, $db.clock.now());
            match $ask.await {
                Err(error) if tries > 0 && may_be_stale(&error) => {
                    // Not back into the pool.
                    drop(pooled.detach());
                    tries -= 1;
                }
                other => break other,
            }
        }
    }};
}

/// Postgres, as a process sees it.
#[derive(Clone, Debug)]
pub struct Db {
    app: PgPool,
    system: PgPool,
    belt: Belt,
    clock: Clock,
    ids: Ids,
}

impl Db {
    /// Prepares the pools; connects when first used, so that a process starts while Postgres is away.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(url: &str, sizes: PoolSizes, belt: Belt, clock: Clock, ids: Ids) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url)?.application_name("pulsecal").statement_cache_capacity(200);
        let pool = |role: &str, size: u32| {
            let options = options.clone().options([
                ("role", role),
                ("timezone", "UTC"),
                ("statement_timeout", "120000"),
                ("jit", "off"),
            ]);
            PgPoolOptions::new()
                .max_connections(size)
                .min_connections(0)
                .acquire_timeout(Duration::from_secs(10))
                .idle_timeout(Duration::from_secs(300))
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_lazy_with(options)
        };
        Ok(Self {
            app: pool("pulsecal_app", sizes.app),
            system: pool("pulsecal_system", sizes.system),
            belt,
            clock,
            ids,
        })
    }

    /// A transaction whose rows share one `now`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn begin(&self, scope: Scope<'_>) -> Result<Tx, DbError> {
        let one;
        let orgs: &[OrgId] = match scope {
            Scope::Org(org) | Scope::Look(org) => {
                one = [org];
                &one
            }
            Scope::Orgs(orgs) => orgs,
            Scope::Platform | Scope::Batch | Scope::Ledger => &[],
        };
        let tx = match scope {
            Scope::Platform => begin(&self.system, "BEGIN".to_owned()).await?,
            Scope::Batch => begin(&self.system, format!("BEGIN; {BY_KEYS}")).await?,
            Scope::Ledger => {
                begin(&self.system, format!("BEGIN; SET LOCAL synchronous_commit = off; {BY_KEYS}")).await?
            }
            Scope::Org(_) => begin(&self.app, format!("BEGIN; SET LOCAL app.orgs = '{}'", listed(orgs))).await?,
            Scope::Look(_) => {
                let orgs = listed(orgs);
                begin(&self.app, format!("BEGIN; SET LOCAL app.orgs = '{orgs}'; SET LOCAL synchronous_commit = off"))
                    .await?
            }
            Scope::Orgs(_) => {
                begin(&self.app, format!("BEGIN; SET LOCAL app.orgs = '{}'; {BY_KEYS}", listed(orgs))).await?
            }
        };
        Ok(Tx { inner: tx, now: self.clock.now(), belt: self.belt.clone(), ids: self.ids, due: Vec::new() })
    }

    /// Who holds this token; none: it is unknown, expired or revoked, or the person is no longer active. Every request begins with
    /// it: so it is one statement that is a transaction of its own, and sees no rows but through the function that finds tokens.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn find_token(&self, hash: &TokenHash) -> Result<Option<TokenBearer>, DbError> {
        alone!(self, conn, now => tokens::find(conn, hash, now))
    }

    /// Claims a key for a request, before anything of it is done; as [`Db::find_token`] one statement alone, and its commit does not
    /// wait for the disk: that of the write does, for both. One that was claimed before `stale` and never answered belongs to a
    /// request that is no more.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_key(
        &self,
        of: &PersonsKey,
        request_hash: &[u8; 32],
        request: RequestId,
        stale: TimeDelta,
    ) -> Result<Claim, DbError> {
        alone!(self, conn, now => idempotency::claim(conn, of, request_hash, request, now, now - stale))
    }

    /// One moment of an organization's rows, for as long as it is held. Its connection is its own; no statement on it takes
    /// longer than `longest`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn snapshot(&self, org: OrgId, longest: Duration) -> Result<Snapshot, DbError> {
        let mut conn = self.app.acquire().await?.detach();
        sqlx::raw_sql(sqlx::AssertSqlSafe(export_rows::begins(&listed(&[org]), longest))).execute(&mut conn).await?;
        Snapshot::take(conn).await
    }

    /// The belt that [`Tx::commit`] pushes to.
    pub fn belt(&self) -> &Belt {
        &self.belt
    }

    /// Whether Postgres answers, within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        let ask = async { sqlx::query_scalar!("SELECT 1").fetch_one(&self.system).await };
        matches!(tokio::time::timeout(limit, ask).await, Ok(Ok(_)))
    }

    /// Ends idle connections and waits for the others.
    pub async fn close(&self) {
        self.app.close().await;
        self.system.close().await;
    }
}

fn listed(orgs: &[OrgId]) -> String {
    orgs.iter().map(|org| org.to_string()).collect::<Vec<_>>().join(",")
}

/// Whether an error may say no more than that a pooled connection broke while it was idle.
fn may_be_stale(error: &DbError) -> bool {
    matches!(error, DbError::Io(_) | DbError::Database(_) | DbError::Protocol(_))
}

/// Begins with `sql`. A pooled connection that broke while idle (a restart of Postgres) is told apart from a server that
/// is away by trying again: each failure removes one broken connection from the pool.
async fn begin(pool: &PgPool, sql: String) -> Result<sqlx::Transaction<'static, Postgres>, DbError> {
    let mut tries = pool.size().max(1);
    loop {
        match pool.begin_with(sqlx::AssertSqlSafe(sql.clone())).await {
            Err(error) if tries > 0 && may_be_stale(&error) => tries -= 1,
            other => return other,
        }
    }
}

/// A transaction, within its scope.
pub struct Tx {
    inner: sqlx::Transaction<'static, Postgres>,
    now: DateTime<Utc>,
    belt: Belt,
    ids: Ids,
    due: Vec<(Queue, Priority, JobId)>,
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).field("due", &self.due.len()).finish_non_exhaustive()
    }
}

impl Tx {
    /// The moment that all rows of this transaction share.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// A new id.
    pub fn new_id<T: From<uuid::Uuid>>(&self) -> T {
        self.ids.new_id()
    }

    /// What makes ids.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// The connection, for the functions of [`crate::store`].
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Enqueues a job that is due at once. It exists if and only if this transaction commits.
    ///
    /// # Errors
    /// Postgres, or args that do not serialize.
    pub async fn enqueue<J: Job>(&mut self, job: &J) -> Result<Enqueued, JobError> {
        let new = NewJob::of(job)?;
        let mut done = self.enqueue_all(vec![new]).await?;
        Ok(done.pop().unwrap_or(Enqueued::Duplicate))
    }

    /// Enqueues a job that is due at `at`.
    ///
    /// # Errors
    /// Postgres, or args that do not serialize.
    pub async fn enqueue_at<J: Job>(&mut self, job: &J, at: DateTime<Utc>) -> Result<Enqueued, JobError> {
        let mut done = self.enqueue_all(vec![NewJob::of(job)?.at(at)]).await?;
        Ok(done.pop().unwrap_or(Enqueued::Duplicate))
    }

    /// Enqueues many jobs of one kind in one statement for each thousand.
    ///
    /// # Errors
    /// Postgres, or args that do not serialize.
    pub async fn enqueue_many<J: Job>(&mut self, jobs: &[J]) -> Result<Vec<Enqueued>, JobError> {
        let new = jobs.iter().map(NewJob::of).collect::<Result<Vec<_>, _>>()?;
        Ok(self.enqueue_all(new).await?)
    }

    /// Enqueues jobs with times, expiries and priorities of their own.
    ///
    /// # Errors
    /// Postgres.
    pub async fn enqueue_all(&mut self, new: Vec<NewJob>) -> Result<Vec<Enqueued>, DbError> {
        let mut all = Vec::with_capacity(new.len());
        for chunk in new.chunks(1000) {
            let ids: Vec<JobId> = chunk.iter().map(|_| self.ids.new_id()).collect();
            let inserted = jobs::insert(&mut self.inner, &ids, chunk, self.now).await?;
            for (id, job) in ids.into_iter().zip(chunk) {
                if !inserted.contains(&id) {
                    all.push(Enqueued::Duplicate);
                    continue;
                }
                if job.run_at.is_none_or(|at| at <= self.now) {
                    self.due.push((job.queue, job.priority, id));
                }
                all.push(Enqueued::New(id));
            }
        }
        Ok(all)
    }

    /// Commits, then puts the ids of due jobs on the belt, best effort: if Redis is away, the sweep does it later.
    ///
    /// # Errors
    /// Postgres; nothing of the transaction holds then.
    pub async fn commit(self) -> Result<(), DbError> {
        self.inner.commit().await?;
        if !self.due.is_empty() {
            self.belt.push_soon(&self.due).await;
        }
        Ok(())
    }
}
