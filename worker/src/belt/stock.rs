//! Stock apalis-redis as a belt. A shuttle moves ids from the native lists into a stock queue, a stock apalis worker takes
//! them out, and the rest is the ledger's: claim, run, finish. What stock does badly is kept from mattering:
//!
//! - It bricks a queue at 8,000 due tasks, so the shuttle keeps it shallow, and the native lists stay the buffer.
//! - It drops its running jobs when Redis blinks, so jobs run in tasks of their own, and a worker that died is started again.
//! - It retries 25 times whatever the policy says, so every outcome is acknowledged as done: the ledger retries. A task is
//!   refused (and comes again a second later) only if this process stops before it has claimed the job.
//! - It ignores a task id that it has seen before, so that each push of a job is a new task. A task twice does no harm: only
//!   one claim finds the job ready.
//! - It waits for itself forever when it stops while more than four jobs run, so that it is not waited for.
//! - It keeps every task forever, so that what ended is trimmed ([`super::stock_keys`]).
//!
//! What cannot be helped: priorities hold within the native lists only, and up to [`MOST_WAITING`] tasks go before.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context as Wake, Poll};
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis_core::backend::TaskSink;
use apalis_core::backend::ext::BackendExt;
use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::data::Data;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use futures_util::stream;
use futures_util::task::AtomicWaker;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Claimed, Priority, Queue};
use pulsecal_core::send::Batcher;
use pulsecal_core::store::jobs::Crashed;
use redis::aio::ConnectionManagerConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::line::{Line, Trouble, put_back};
use super::stock_keys::{Keys, Ticket};
use super::{Lane, Running, claim};

/// The shuttle adds nothing to a queue in which so many tasks wait …
const MOST_WAITING: usize = 512;
/// … and adds no more than this at once. All processes look before they add, so that 58 that look at the same instant
/// still stay under the 8,000 at which stock dies.
const MOST_AT_ONCE: usize = 128;
/// How often a stock worker looks for tasks; what this process pushed itself, it is told of at once.
const EVERY: Duration = Duration::from_millis(100);
/// A stock worker beats so often, and the others take its tasks over after three beats missed. Only tasks that wait for
/// their claim depend on it: running jobs are the ledger's.
const BEAT: Duration = Duration::from_secs(5);
const BEATS_MISSED: usize = 3;
/// Stock dies of a Redis that does not answer for so long; redis-rs by itself would give it half a second.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a stock worker may go on when it stops and the last job has ended. What it did not acknowledge is a task that
/// leads to no claim.
const LAST_ACKS: Duration = Duration::from_millis(500);
/// How often ended tasks are trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// No claim is larger.
const MOST_CLAIMED: usize = 1000;

/// One queue on the stock belt.
#[derive(Clone)]
pub struct StockQueue(Arc<Parts>);

struct Parts {
    lane: Lane,
    config: Config,
    keys: Keys,
    /// One permit for each job that runs, also of stock workers that died meanwhile.
    slots: Arc<Semaphore>,
    claims: Batcher<JobId, Option<Claimed>>,
    running: TaskTracker,
    /// Wakes the stock worker when the shuttle has pushed.
    pushed: Arc<AtomicWaker>,
    /// How often a stock worker was started; the number is part of its name, since a name is not free for a while.
    starts: AtomicU32,
}

impl StockQueue {
    /// Starts the shuttle, the trimming and the stock worker.
    pub fn start(lane: Lane, running: &mut Running) -> Self {
        let name = format!("{{{}:{}}}:stock", lane.ctx.db.belt().prefix(), lane.queue);
        let config = Config::default().queue(name).batch_size(1).lock_tasks(false).emit_events(false);
        let config = config.heartbeat_interval(BEAT).missed_heartbeats(BEATS_MISSED);
        let parts = Parts {
            keys: Keys::new(config.clone(), lane.queue),
            config,
            slots: Arc::new(Semaphore::new(lane.slots)),
            claims: claims(&lane),
            running: TaskTracker::new(),
            pushed: Arc::default(),
            starts: AtomicU32::new(0),
            lane,
        };
        let queue = Self(Arc::new(parts));
        running.takers.spawn(queue.clone().shuttle());
        running.takers.spawn(queue.clone().trim());
        running.workers.spawn(queue.clone().keep_a_worker());
        queue
    }

    /// The queue.
    pub fn queue(&self) -> Queue {
        self.0.lane.queue
    }

    /// Runs a claimed job when a slot is free.
    pub fn hand(&self, job: Claimed) {
        let parts = self.0.clone();
        self.0.running.spawn(async move {
            tokio::select! {
                biased;
                () = parts.lane.stop.cancelled() => parts.lane.runner.give_back(job.fence).await,
                _slot = parts.slots.acquire() => parts.lane.runner.run(job).await,
            }
        });
    }

    /// Moves ids from the native lists into the stock queue, as many as it may hold.
    async fn shuttle(self) {
        let Parts { lane, config, keys, pushed, .. } = &*self.0;
        let belt = lane.ctx.db.belt();
        let lists = lane.list_keys();
        let mut line = Line::default();
        let mut trouble = Trouble::new(lane.queue);
        let mut stock = None;
        while !lane.stop.is_cancelled() {
            lane.moved.moved();
            if lane.is_paused() {
                lane.resumed_or_stopped().await;
                continue;
            }
            let popped = match keys.depth(&mut line, belt).await {
                Ok(depth) if depth >= MOST_WAITING => {
                    tokio::select! { () = lane.stop.cancelled() => {}, () = sleep(EVERY) => {} }
                    continue;
                }
                Ok(depth) => line.pop(belt, &lists, (MOST_WAITING - depth).min(MOST_AT_ONCE)).await,
                Err(error) => Err(error),
            };
            let (list, ids) = match popped {
                Ok(Some(popped)) => popped,
                Ok(None) => continue,
                Err(error) => {
                    trouble.wait("Redis", &error, &lane.stop).await;
                    continue;
                }
            };
            if lane.stop.is_cancelled() || lane.is_paused() {
                put_back(belt, &list, &ids).await;
                continue;
            }
            if stock.is_none() {
                stock = connect(belt.client())
                    .await
                    .map(|line| RedisStorage::<Ticket>::new(line).with_config(config.clone()))
                    .ok();
            }
            let level = Priority::ALL.iter().map(|priority| priority.level());
            let level = level.zip(&lists).find_map(|(level, key)| (*key == list).then_some(level)).unwrap_or(1);
            let tasks = ids.iter().map(|&job| {
                let once: Uuid = lane.ctx.ids.new_id();
                TaskBuilder::new(Ticket { job, level }).task_id(TaskId::from_uuid(once)).build()
            });
            let done = match stock.as_mut() {
                Some(stock) => {
                    stock.push_all(stream::iter(tasks.collect::<Vec<_>>())).await.map_err(|error| error.to_string())
                }
                None => Err("no connection".to_owned()),
            };
            match done {
                Ok(()) => {
                    trouble.over();
                    pushed.wake();
                }
                Err(error) => {
                    stock = None;
                    put_back(belt, &list, &ids).await;
                    trouble.wait("Redis", &error, &lane.stop).await;
                }
            }
        }
    }

    /// Deletes what ended tasks leave.
    async fn trim(self) {
        let lane = &self.0.lane;
        let mut line = Line::default();
        while !lane.stop.is_cancelled() {
            // A Redis that is away is the shuttle's to report.
            while self
                .0
                .keys
                .trim(&mut line, lane.ctx.db.belt(), Some(&self.name()))
                .await
                .is_ok_and(|trimmed| trimmed > 0)
            {}
            tokio::select! { () = lane.stop.cancelled() => {}, () = sleep(TRIM_EVERY) => {} }
        }
    }

    fn name(&self) -> String {
        format!("{}-{}-{}", self.0.lane.queue, self.0.lane.process, self.0.starts.load(Ordering::Relaxed))
    }

    /// Starts a stock worker whenever there is none, until the stop; then waits for the jobs.
    async fn keep_a_worker(self) -> String {
        let Parts { lane, keys, starts, running, .. } = &*self.0;
        let belt = lane.ctx.db.belt();
        let mut trouble = Trouble::new(lane.queue);
        while !lane.stop.is_cancelled() {
            starts.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            let ended = self.one_worker().await;
            let mut line = Line::default();
            let mut signed_off = keys.sign_off(&mut line, belt, &self.name()).await;
            if lane.stop.is_cancelled() {
                break;
            }
            if began.elapsed() > BEAT {
                trouble.over();
            }
            trouble
                .wait("Redis", &ended.err().unwrap_or_else(|| "a stock worker ended by itself".to_owned()), &lane.stop)
                .await;
            if signed_off.is_err() {
                signed_off = keys.sign_off(&mut line, belt, &self.name()).await;
            }
            // Its orphans wait for another worker's heartbeat then.
            let _later = signed_off;
        }
        // Those of stock workers that died before.
        running.close();
        running.wait().await;
        let _left = keys.trim(&mut Line::default(), belt, None).await;
        "stopped".to_owned()
    }

    async fn one_worker(&self) -> Result<(), String> {
        let Parts { lane, config, pushed, .. } = &*self.0;
        let line = connect(lane.ctx.db.belt().client()).await.map_err(|error| error.to_string())?;
        let look = SafeInterval { timer: Box::pin(sleep(EVERY)), pushed: pushed.clone() };
        let backend = RedisStorage::<Ticket>::new(line).with_config(config.clone()).poll_with_strategy(look);
        let worker =
            WorkerBuilder::new(self.name()).backend(backend).concurrency(lane.slots).data(self.clone()).build(work);
        let stop = lane.stop.clone();
        let run = worker.run_until(async move {
            stop.cancelled().await;
            Ok::<(), WorkerError>(())
        });
        // In a task of its own: a panic within stock ends that worker, not the process.
        let mut worker = tokio::spawn(run);
        let ended = tokio::select! {
            ended = &mut worker => ended,
            () = self.jobs_ended_after_the_stop() => {
                worker.abort();
                worker.await
            }
        };
        match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(gone) => Err(gone.to_string()),
        }
    }

    /// A stock worker that stops takes no more acknowledgements in until its last handler is through, and has room for
    /// four: when five jobs end after the stop, it waits for itself forever. So it gets a moment, and no more.
    async fn jobs_ended_after_the_stop(&self) {
        self.0.lane.stop.cancelled().await;
        self.0.running.close();
        self.0.running.wait().await;
        sleep(LAST_ACKS).await;
    }

    /// Claims and runs. False: this process stops, and another should have it.
    async fn claim_and_run(&self, job: JobId) -> bool {
        match self.0.claims.ask(job).await {
            Some(Some(claimed)) => self.0.lane.runner.run(claimed).await,
            // Someone else has it, or it ended; or the stop came before Postgres.
            Some(None) => return !self.0.lane.stop.is_cancelled(),
            None => return false,
        }
        true
    }
}

/// Claims what many slots want at the same moment in one statement; while Postgres is away, they wait.
fn claims(lane: &Lane) -> Batcher<JobId, Option<Claimed>> {
    let (ctx, held) = (lane.ctx.clone(), lane.runner.held().clone());
    let (process, queue, stop, orders) = (lane.process, lane.queue, lane.stop.clone(), lane.runner.orders().clone());
    Batcher::start(MOST_CLAIMED, 2, move |ids: Vec<JobId>| {
        let (ctx, held, stop, orders) = (ctx.clone(), held.clone(), stop.clone(), orders.clone());
        async move {
            let mut trouble = Trouble::new(queue);
            let mut found = HashMap::new();
            // What the stock queue still holds of a paused queue is dropped unclaimed: the sweep brings it when it moves again.
            while !stop.is_cancelled() && !orders.is_paused(queue) {
                match claim(&ctx, &held, &ids, process, Crashed::Never).await {
                    Ok(claimed) => {
                        trouble.over();
                        found = claimed.into_iter().map(|job| (job.fence.job, job)).collect();
                        break;
                    }
                    Err(error) => trouble.wait("Postgres", &error, &stop).await,
                }
            }
            ids.iter().map(|id| found.remove(id)).collect()
        }
    })
}

/// What apalis calls for each task. It may be dropped at any point, when its worker dies; the job goes on.
async fn work(ticket: Ticket, queue: Data<StockQueue>) -> Result<(), BoxDynError> {
    let StockQueue(parts) = &*queue;
    let slot = tokio::select! {
        biased;
        () = parts.lane.stop.cancelled() => return Err("this process stops".into()),
        slot = parts.slots.clone().acquire_owned() => slot?,
    };
    let own = StockQueue::clone(&queue);
    let run = parts.running.spawn(async move {
        let ran = own.claim_and_run(ticket.job).await;
        drop(slot);
        ran
    });
    if run.await? { Ok(()) } else { Err("this process stops".into()) }
}

async fn connect(client: &redis::Client) -> Result<ConnectionManager, redis::RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(3)))
        .set_response_timeout(Some(ANSWER));
    ConnectionManager::new_with_config(client.clone(), config.set_number_of_retries(1)).await
}

/// Wakes a stock worker regularly and when the shuttle pushed. The strategy that apalis supplies sets its timer anew without
/// polling it, so that one fetch slower than the interval loses the wake-up until the next heartbeat.
struct SafeInterval {
    timer: Pin<Box<Sleep>>,
    pushed: Arc<AtomicWaker>,
}

impl PollStrategy for SafeInterval {
    fn poll_drive(&mut self, cx: &mut Wake<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        self.pushed.register(cx.waker());
        let mut fired = false;
        while self.timer.as_mut().poll(cx).is_ready() {
            fired = true;
            self.timer.as_mut().reset(Instant::now() + EVERY);
        }
        if fired { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
