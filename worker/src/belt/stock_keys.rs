//! The keys that stock apalis-redis leaves behind, and how they go. `vacuum()` is not used: it reads every task there is
//! and also deletes the data of tasks that still wait for a retry.

use apalis_redis::Config;
use pulsecal_core::belt::{Belt, list_key};
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Priority, Queue};
use redis::RedisError;
use serde::{Deserialize, Serialize};

use super::line::{Line, put_back};

/// No script touches more tasks than this at once.
const MOST_AT_ONCE: usize = 200;
/// The row of a worker's name and service goes by itself so long after that worker was last seen, in seconds.
const NAME_LASTS: u32 = 3600;

/// What a stock task carries: where the id came from, so that it can go back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The job.
    pub job: JobId,
    /// Its priority's level, 0 to 2.
    pub level: i16,
}

/// The keys of one queue.
#[derive(Clone)]
pub struct Keys {
    config: Config,
    queue: Queue,
}

impl Keys {
    /// The keys that this configuration leads to.
    pub fn new(config: Config, queue: Queue) -> Self {
        Self { config, queue }
    }

    /// How many tasks wait.
    ///
    /// # Errors
    /// Redis.
    pub async fn depth(&self, line: &mut Line, belt: &Belt) -> Result<usize, RedisError> {
        let scheduled: usize = line.ask(belt, redis::cmd("ZCARD").arg(self.config.scheduled_jobs_set())).await?;
        let active: usize = line.ask(belt, redis::cmd("LLEN").arg(self.config.active_jobs_list())).await?;
        Ok(scheduled + active)
    }

    /// Deletes what stock keeps forever of tasks that ended: their entry among the done (or dead), data and meta. Stock has
    /// a task in one place at a time, so one that is among these is nowhere else. Returns how many; at most 400.
    ///
    /// # Errors
    /// Redis.
    pub async fn trim(&self, line: &mut Line, belt: &Belt, worker: Option<&str>) -> Result<usize, RedisError> {
        let mut trimmed = 0;
        for ended in [self.config.done_jobs_set(), self.config.dead_jobs_set()] {
            // The meta keys are made from the ids within the script: no cluster, but stock knows none either.
            let script = "local ids = redis.call('SPOP', KEYS[1], ARGV[1])
                 for _, id in ipairs(ids) do redis.call('DEL', KEYS[3] .. ':' .. id) end
                 if #ids > 0 then redis.call('HDEL', KEYS[2], unpack(ids)) end
                 return #ids";
            let mut call = redis::cmd("EVAL");
            call.arg(script)
                .arg(3)
                .arg(ended)
                .arg(self.config.job_data_hash())
                .arg(self.config.job_meta_hash())
                .arg(MOST_AT_ONCE);
            trimmed += line.ask::<usize>(belt, &call).await?;
        }
        if let Some(name) = worker {
            let _there: bool = line.ask(belt, redis::cmd("EXPIRE").arg(self.worker_key(name)).arg(NAME_LASTS)).await?;
        }
        Ok(trimmed)
    }

    /// Signs off a worker that ended, which stock gets wrong: what it held goes back to the native lists, what cannot be
    /// read (it may be what the worker died of) is dropped, and its name is taken off.
    ///
    /// # Errors
    /// Redis; the survivors' heartbeat then does it, after the orphan time-out.
    pub async fn sign_off(&self, line: &mut Line, belt: &Belt, worker: &str) -> Result<(), RedisError> {
        let script = "local ids = redis.call('SMEMBERS', KEYS[1])
             redis.call('DEL', KEYS[1], KEYS[4])
             redis.call('ZREM', KEYS[5], ARGV[1])
             local tickets = {}
             for i, id in ipairs(ids) do
               tickets[i] = redis.call('HGET', KEYS[2], id) or ''
               redis.call('HDEL', KEYS[2], id)
               redis.call('DEL', KEYS[3] .. ':' .. id)
             end
             return tickets";
        let mut call = redis::cmd("EVAL");
        call.arg(script).arg(5).arg(format!("{}:{worker}", self.config.inflight_jobs_set()));
        call.arg(self.config.job_data_hash()).arg(self.config.job_meta_hash()).arg(self.worker_key(worker));
        call.arg(self.config.workers_set()).arg(worker);
        let held: Vec<Vec<u8>> = line.ask(belt, &call).await?;
        let held: Vec<Ticket> = held.iter().filter_map(|ticket| serde_json::from_slice(ticket).ok()).collect();
        for level in Priority::ALL.iter().map(|priority| priority.level()) {
            let ids: Vec<JobId> = held.iter().filter(|ticket| ticket.level == level).map(|ticket| ticket.job).collect();
            if !ids.is_empty() {
                put_back(belt, &list_key(belt.prefix(), self.queue, level), &ids).await;
            }
        }
        Ok(())
    }

    fn worker_key(&self, worker: &str) -> String {
        format!("{}:workers:metadata:{worker}", self.config.queue)
    }
}
