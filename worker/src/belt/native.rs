//! PulseCal's own apalis backend: ids from Redis lists, many at a time, woken by a blocking pop, claimed in one statement.
//! No error of Redis or Postgres gets past it: taking pauses, backs off and goes on, running jobs are left alone.

use std::convert::Infallible;
use std::task::{Context as Wake, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use pulsecal_core::belt::{Belt, list_key, suspects_key};
use pulsecal_core::context::Context;
use pulsecal_core::ids::{JobId, ProcessId};
use pulsecal_core::ledger::{Claimed, Priority, Queue};
use pulsecal_core::store::{DbError, Scope, jobs};
use pulsecal_core::telemetry::Loop;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tower::layer::util::Identity;
use uuid::Uuid;

use super::HandOver;

/// No claim is larger.
const MOST_AT_ONCE: usize = 1000;
/// The blocking pop returns after so long with nothing, which also shows that the loop moves.
const POP_SECONDS: f64 = 1.0;

/// The apalis end: yields what the taking side claimed.
#[derive(Debug)]
pub struct NativeBelt {
    jobs: HandOver,
}

impl NativeBelt {
    /// The backend of one queue's workers.
    pub fn new(jobs: HandOver) -> Self {
        Self { jobs }
    }
}

impl Backend for NativeBelt {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Wake<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Wake<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.jobs.poll_next(cx).map(|job| Some(Ok(Task::new(job))))
    }

    fn poll_close(&mut self, _: &mut Wake<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // what waited was given back by the stop; the finisher flushes the rest
    }
}

impl BackendConfig for NativeBelt {
    type Args = Claimed;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// The taking side of one queue. Runs until it is dropped or aborted.
pub async fn take(ctx: Context, queue: Queue, worker: ProcessId, jobs: HandOver, moved: Loop) {
    let belt = ctx.db.belt().clone();
    let keys: Vec<String> =
        Priority::ALL.iter().map(|priority| list_key(belt.prefix(), queue, priority.level())).collect();
    let mut line = Line::default();
    let mut held: Vec<JobId> = Vec::new();
    let mut trouble = Trouble::new(queue);
    loop {
        moved.moved();
        let room = tokio::select! {
            room = jobs.room().wait() => room.min(MOST_AT_ONCE),
            // Full slots are no wedge: the handlers have time-outs of their own.
            () = sleep(Duration::from_secs(5)) => continue,
        };
        if held.is_empty() {
            match line.pop(&belt, &keys, room).await {
                Ok(ids) if ids.is_empty() => continue,
                Ok(ids) => held = ids,
                Err(error) => {
                    trouble.wait("Redis", &error).await;
                    continue;
                }
            }
        }
        match claim(&ctx, &held, worker, false).await {
            Ok(claimed) => {
                held.clear();
                trouble.over();
                jobs.room().claimed(claimed.len());
                jobs.put(claimed);
            }
            Err(error) => trouble.wait("Postgres", &error).await,
        }
    }
}

/// The taking side of the suspects: jobs whose worker died with them, one at a time in a whole process, so that the one
/// that kills takes no other suspect with it.
pub async fn take_suspects(ctx: Context, queues: Vec<(Queue, HandOver)>, worker: ProcessId, moved: Loop) {
    let belt = ctx.db.belt().clone();
    let mut line = Line::default();
    loop {
        moved.moved();
        sleep(Duration::from_millis(500)).await;
        for (queue, jobs) in &queues {
            let ids = match line.pop_one(&belt, &suspects_key(belt.prefix(), *queue)).await {
                Ok(Some(id)) => [id],
                // The queue's own taking side reports a Redis that is away.
                Ok(None) | Err(_) => continue,
            };
            let Ok(claimed) = claim(&ctx, &ids, worker, true).await else { continue };
            for job in claimed {
                let fence = job.fence;
                tracing::info!(job.id = %fence.job, job.kind = job.kind, job.attempt = fence.attempt, "belt.suspect: runs alone");
                jobs.room().claimed(1);
                jobs.put(vec![job]);
                while still_held(&ctx, fence.job, worker).await {
                    moved.moved();
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

async fn still_held(ctx: &Context, job: JobId, worker: ProcessId) -> bool {
    let held = async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        jobs::is_held(tx.conn(), job, worker).await
    };
    // Unknown counts as held: better one suspect late than two at once.
    held.await.unwrap_or(true)
}

async fn claim(ctx: &Context, ids: &[JobId], worker: ProcessId, suspects: bool) -> Result<Vec<Claimed>, DbError> {
    let mut tx = ctx.begin(Scope::Ledger).await?;
    let claimed = jobs::claim(tx.conn(), ids, worker, suspects).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// A connection of its own, since a blocking pop holds it.
#[derive(Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
}

impl Line {
    async fn open(&mut self, belt: &Belt) -> Result<&mut MultiplexedConnection, redis::RedisError> {
        if self.connection.is_none() {
            let config = redis::AsyncConnectionConfig::new()
                .set_connection_timeout(Some(Duration::from_secs(3)))
                .set_response_timeout(Some(Duration::from_secs_f64(POP_SECONDS + 5.0)));
            self.connection = Some(belt.client().get_multiplexed_async_connection_with_config(&config).await?);
        }
        self.connection.as_mut().ok_or_else(|| redis::RedisError::from((redis::ErrorKind::Client, "no connection")))
    }

    /// Up to `count` ids of the first list that has any; waits for a while when none has.
    async fn pop(&mut self, belt: &Belt, keys: &[String], count: usize) -> Result<Vec<JobId>, redis::RedisError> {
        let mut command = redis::cmd("BLMPOP");
        command.arg(POP_SECONDS).arg(keys.len()).arg(keys).arg("LEFT").arg("COUNT").arg(count);
        let connection = self.open(belt).await?;
        let answer: Result<Option<(String, Vec<Vec<u8>>)>, _> = command.query_async(connection).await;
        match answer {
            Ok(popped) => {
                Ok(popped.map_or_else(Vec::new, |(_, ids)| ids.iter().filter_map(|id| read_id(id)).collect()))
            }
            Err(error) => {
                self.connection = None;
                Err(error)
            }
        }
    }

    async fn pop_one(&mut self, belt: &Belt, key: &str) -> Result<Option<JobId>, redis::RedisError> {
        let connection = self.open(belt).await?;
        let answer: Result<Option<Vec<u8>>, _> = redis::cmd("LPOP").arg(key).query_async(connection).await;
        if answer.is_err() {
            self.connection = None;
        }
        Ok(answer?.and_then(|id| read_id(&id)))
    }
}

/// What is no id was put there by someone else; the ledger knows all jobs, so dropping it loses nothing.
fn read_id(bytes: &[u8]) -> Option<JobId> {
    Uuid::from_slice(bytes).ok().map(JobId)
}

/// Backs off while a server is away, and says so once.
struct Trouble {
    queue: Queue,
    tries: u32,
}

impl Trouble {
    fn new(queue: Queue) -> Self {
        Self { queue, tries: 0 }
    }

    async fn wait(&mut self, server: &str, error: &(dyn std::error::Error + Sync)) {
        if self.tries == 0 {
            tracing::warn!(queue = %self.queue, error = %error, "belt.take: {server} is away or refuses; taking pauses, running jobs go on");
        }
        self.tries += 1;
        sleep(Duration::from_millis(100 * 2_u64.pow(self.tries.min(5) - 1)).min(Duration::from_secs(2))).await;
    }

    fn over(&mut self) {
        if self.tries > 0 {
            tracing::info!(queue = %self.queue, tries = self.tries, "belt.take: goes on");
            self.tries = 0;
        }
    }
}
