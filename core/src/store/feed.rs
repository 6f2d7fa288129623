//! What the sweep reads to feed the belt, and who is alive.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{JobId, ProcessId};
use crate::ledger::Queue;
use crate::store::DbError;

/// A due job, as the sweep sees it.
#[derive(Clone, Copy, Debug)]
pub struct DueJob {
    /// The job.
    pub id: JobId,
    /// Priority level, 0 to 2.
    pub priority: i16,
    /// Its worker died with it before: it goes to the suspects' lane.
    pub suspect: bool,
    /// When it fell due; with the id, the sweep's place.
    pub run_at: DateTime<Utc>,
}

/// Due jobs of a list that nobody runs, after its place, oldest first.
///
/// # Errors
/// Postgres.
pub async fn due_jobs(conn: &mut PgConnection, list: Fed, limit: u16) -> Result<Vec<DueJob>, DbError> {
    let (at, id) = list.after();
    sqlx::query_as!(
        DueJob,
        r#"SELECT id AS "id: JobId", priority, crashes > 0 AS "suspect!", run_at FROM jobs
           WHERE queue = $1 AND priority = $2 AND (run_at, id) > ($3, $4) AND run_at <= now() AND worker IS NULL
           ORDER BY run_at, id LIMIT $5"#,
        list.queue.as_str(),
        list.priority,
        at,
        id,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await
}

/// One list of the belt, and how far the sweep has fed it: the last due job it pushed. None: from the front.
#[derive(Clone, Copy, Debug)]
pub struct Fed {
    /// The list's queue.
    pub queue: Queue,
    /// The list's priority level, 0 to 2.
    pub priority: i16,
    /// When that job fell due, and which it was.
    pub place: Option<(DateTime<Utc>, JobId)>,
}

impl Fed {
    fn after(&self) -> (DateTime<Utc>, uuid::Uuid) {
        self.place.map_or((DateTime::UNIX_EPOCH, uuid::Uuid::nil()), |(at, id)| (at, id.0))
    }
}

/// For each of `lists`, whether a due job waits after its place, and its queue is not paused. Tells an idle sweep to do nothing.
///
/// # Errors
/// Postgres.
pub async fn lists_with_due(conn: &mut PgConnection, lists: &[Fed]) -> Result<Vec<bool>, DbError> {
    let (at, ids): (Vec<_>, Vec<_>) = lists.iter().map(Fed::after).unzip();
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM jobs j WHERE j.queue = l.queue AND j.priority = l.priority AND (j.run_at, j.id) > (l.at, l.id)
             AND j.run_at <= now() AND j.worker IS NULL)
             AND NOT EXISTS (SELECT FROM queues q WHERE q.queue = l.queue AND q.paused) AS "waits!"
           FROM unnest($1::text[], $2::int2[], $3::timestamptz[], $4::uuid[]) WITH ORDINALITY AS l (queue, priority, at, id, n)
           ORDER BY l.n"#,
        &lists.iter().map(|list| list.queue.as_str().to_owned()).collect::<Vec<_>>(),
        &lists.iter().map(|list| list.priority).collect::<Vec<_>>(),
        &at,
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// The belt's epoch as Postgres remembers it, if `feeder` is the one to feed now: takes or renews the feeder's turn, for
/// `seconds`. None: another feeds.
///
/// # Errors
/// Postgres.
pub async fn take_turn(conn: &mut PgConnection, feeder: ProcessId, seconds: f64) -> Result<Option<String>, DbError> {
    sqlx::query_scalar!(
        "UPDATE belt_state SET feeder = $1, feeder_until = now() + make_interval(secs => $2)
         WHERE feeder = $1 OR feeder IS NULL OR feeder_until < now() RETURNING epoch",
        feeder.0,
        seconds
    )
    .fetch_optional(conn)
    .await
}

/// Gives the turn up, so that another feeds at once.
///
/// # Errors
/// Postgres.
pub async fn leave_turn(conn: &mut PgConnection, feeder: ProcessId) -> Result<(), DbError> {
    sqlx::query!("UPDATE belt_state SET feeder = NULL WHERE feeder = $1", feeder.0).execute(conn).await?;
    Ok(())
}

/// Remembers a new epoch.
///
/// # Errors
/// Postgres.
pub async fn set_epoch(conn: &mut PgConnection, epoch: &str) -> Result<(), DbError> {
    sqlx::query!("UPDATE belt_state SET epoch = $1", epoch).execute(conn).await?;
    Ok(())
}

/// What a process says of itself.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Its id, new at each start.
    pub id: ProcessId,
    /// `api`, `worker` or `scheduler`.
    pub kind: &'static str,
    /// The host's name.
    pub host: String,
    /// The operating system's id.
    pub pid: i32,
    /// What it works on, as `WORKER_QUEUES` says.
    pub queues: String,
}

/// Beats, and tells the row anew if it was removed meanwhile.
///
/// # Errors
/// Postgres.
pub async fn beat(conn: &mut PgConnection, process: &ProcessInfo, stopping: bool) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO processes (process_id, kind, host, pid, queues, started_at, beat_at, stopping) VALUES ($1, $2, $3, $4, $5, now(), now(), $6)
         ON CONFLICT (process_id) DO UPDATE SET beat_at = now(), stopping = excluded.stopping",
        process.id.0,
        process.kind,
        process.host,
        process.pid,
        process.queues,
        stopping
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A process that stopped in order takes its row with it.
///
/// # Errors
/// Postgres.
pub async fn leave(conn: &mut PgConnection, process: ProcessId) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM processes WHERE process_id = $1", process.0).execute(conn).await?;
    Ok(())
}

/// Removes processes that did not beat for `seconds`, and returns them.
///
/// # Errors
/// Postgres.
pub async fn remove_silent(conn: &mut PgConnection, seconds: f64) -> Result<Vec<ProcessId>, DbError> {
    sqlx::query_scalar!(
        r#"DELETE FROM processes WHERE process_id IN (
             SELECT process_id FROM processes WHERE beat_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)
           RETURNING process_id AS "id: ProcessId""#,
        seconds
    )
    .fetch_all(conn)
    .await
}

/// Workers that hold jobs but have no row: they left without giving everything back.
///
/// # Errors
/// Postgres.
pub async fn strangers(conn: &mut PgConnection) -> Result<Vec<ProcessId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT worker AS "id!: ProcessId" FROM jobs
           WHERE worker IS NOT NULL AND started_at < now() - interval '30 seconds' AND NOT EXISTS (SELECT FROM processes WHERE process_id = jobs.worker)"#
    )
    .fetch_all(conn)
    .await
}
