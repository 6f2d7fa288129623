//! The belt's near end: ids of due jobs go onto Redis lists. Redis holds ids and nothing else, and may lose them.

mod bell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ids::JobId;
use crate::ledger::{Priority, Queue};

/// No list grows past this; the sweep tops it up as it drains.
pub const DEPTH: usize = 20_000;
/// A push after commit waits no longer than this; the sweep finds what did not get through.
const PUSH_LIMIT: Duration = Duration::from_millis(250);
/// After a failed push, none is tried for so long, so that requests do not each wait for a Redis that is away.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// What went wrong with Redis.
#[derive(Debug, thiserror::Error)]
pub enum BeltError {
    /// Redis is away or answers with an error.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis did not answer in time.
    #[error("Redis did not answer within {0:?}")]
    Late(Duration),
}

/// Pushes ids. Cheap to clone; one multiplexed connection, opened when first used and again after it broke.
#[derive(Clone)]
pub struct Belt(Arc<Inner>);

struct Inner {
    client: redis::Client,
    prefix: String,
    connection: Mutex<Option<ConnectionManager>>,
    cooling_until: Mutex<Option<Instant>>,
    warned: AtomicBool,
}

impl std::fmt::Debug for Belt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Belt").field("prefix", &self.0.prefix).finish_non_exhaustive()
    }
}

/// The key of a queue's list; the braces keep a queue's keys on one node of a cluster.
pub fn list_key(prefix: &str, queue: Queue, priority: i16) -> String {
    format!("{{{prefix}:{queue}}}:{priority}")
}

/// The key of a queue's suspects: jobs whose worker died with them.
pub fn suspects_key(prefix: &str, queue: Queue) -> String {
    format!("{{{prefix}:{queue}}}:suspects")
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

impl Belt {
    /// Prepares; connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(url: &str, prefix: &str) -> Result<Self, BeltError> {
        let inner = Inner {
            client: redis::Client::open(url)?,
            prefix: prefix.to_owned(),
            connection: Mutex::new(None),
            cooling_until: Mutex::new(None),
            warned: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The head of every key.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The client, for connections of the taking side.
    pub fn client(&self) -> &redis::Client {
        &self.0.client
    }

    async fn connection(&self) -> Result<ConnectionManager, BeltError> {
        let mut slot = self.0.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(5)))
            .set_number_of_retries(0);
        let made = ConnectionManager::new_with_config(self.0.client.clone(), config).await?;
        *slot = Some(made.clone());
        Ok(made)
    }

    async fn forget(&self) {
        *self.0.connection.lock().await = None;
    }

    /// Pushes after a commit, best effort and bounded in time.
    pub async fn push_soon(&self, due: &[(Queue, Priority, JobId)]) {
        if self.0.cooling_until.lock().await.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let pushed = tokio::time::timeout(PUSH_LIMIT, async {
            for queue in Queue::ALL {
                for priority in Priority::ALL {
                    let ids: Vec<JobId> =
                        due.iter().filter(|(q, p, _)| (*q, *p) == (queue, priority)).map(|(_, _, id)| *id).collect();
                    if !ids.is_empty() {
                        self.push(&list_key(self.prefix(), queue, priority.level()), &ids).await?;
                    }
                }
            }
            Ok::<_, BeltError>(())
        });
        let problem = match pushed.await {
            Ok(Ok(())) => {
                self.0.warned.store(false, Ordering::Relaxed);
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => BeltError::Late(PUSH_LIMIT),
        };
        *self.0.cooling_until.lock().await = Some(Instant::now() + COOL_DOWN);
        if !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %problem, "belt.push: Redis is away; jobs are safe in Postgres and the sweep will push them");
        }
    }

    /// Appends ids to a list that is not full; those that do not fit stay to the sweep.
    ///
    /// # Errors
    /// Redis.
    pub async fn push(&self, key: &str, ids: &[JobId]) -> Result<(), BeltError> {
        static SCRIPT: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(
                "local room = tonumber(ARGV[1]) - redis.call('LLEN', KEYS[1])
                 local last = math.min(#ARGV, room + 1)
                 for i = 2, last, 1000 do redis.call('RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 999, last))) end
                 return math.max(last - 1, 0)",
            )
        });
        let mut connection = self.connection().await?;
        let mut call = SCRIPT.key(key);
        call.arg(DEPTH);
        for id in ids {
            call.arg(&id.0.as_bytes()[..]);
        }
        let done: Result<i64, _> = call.invoke_async(&mut connection).await;
        if let Err(error) = done {
            self.forget().await;
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes so many turns of [`crate::limits`], or one if there are fewer: how many it took, and how long it takes from now until
    /// all are there again. The clock is Redis's own, so that all processes agree.
    ///
    /// # Errors
    /// Redis.
    pub async fn take_turns(
        &self,
        key: &str,
        every: Duration,
        window: Duration,
        turns: u32,
    ) -> Result<(u32, Duration), BeltError> {
        static SCRIPT: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(
                "local t = redis.call('TIME')
                 local now = t[1] * 1000000 + t[2]
                 local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
                 local every, window, turns = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
                 if full + turns * every - now > window then turns = 1 end
                 local next = full + turns * every
                 if next - now > window then return {0, full - now} end
                 redis.call('SET', KEYS[1], string.format('%d', next), 'PX', math.ceil((next - now) / 1000))
                 return {turns, next - now}",
            )
        });
        let mut connection = self.connection().await?;
        let mut call = SCRIPT.key(key);
        call.arg(micros(every)).arg(micros(window)).arg(turns);
        let answer: Result<(u32, u64), _> = call.invoke_async(&mut connection).await;
        match answer {
            Ok((taken, used)) => Ok((taken, Duration::from_micros(used))),
            Err(error) => {
                self.forget().await;
                Err(error.into())
            }
        }
    }

    /// Gives a turn back.
    ///
    /// # Errors
    /// Redis.
    pub async fn give_turn_back(&self, key: &str, every: Duration) -> Result<(), BeltError> {
        static SCRIPT: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(
                "local t = redis.call('TIME')
                 local now = t[1] * 1000000 + t[2]
                 local full = tonumber(redis.call('GET', KEYS[1]) or 0) - ARGV[1]
                 if full <= now then return redis.call('DEL', KEYS[1]) end
                 redis.call('SET', KEYS[1], string.format('%d', full), 'PX', math.ceil((full - now) / 1000))
                 return 0",
            )
        });
        let mut connection = self.connection().await?;
        let done: Result<i64, _> = SCRIPT.key(key).arg(micros(every)).invoke_async(&mut connection).await;
        if let Err(error) = done {
            self.forget().await;
            return Err(error.into());
        }
        Ok(())
    }

    /// How many ids wait in a list.
    ///
    /// # Errors
    /// Redis.
    pub async fn depth(&self, key: &str) -> Result<usize, BeltError> {
        self.ask(redis::cmd("LLEN").arg(key)).await
    }

    /// The ids in a list, at most [`DEPTH`]; what is no id is passed over.
    ///
    /// # Errors
    /// Redis.
    pub async fn ids(&self, key: &str) -> Result<Vec<JobId>, BeltError> {
        let found: Vec<Vec<u8>> = self.ask(redis::cmd("LRANGE").arg(key).arg(0).arg(DEPTH - 1)).await?;
        Ok(found.iter().filter_map(|bytes| uuid::Uuid::from_slice(bytes).ok().map(JobId)).collect())
    }

    /// The epoch that Redis remembers; none after a loss.
    ///
    /// # Errors
    /// Redis.
    pub async fn epoch(&self) -> Result<Option<String>, BeltError> {
        self.ask(redis::cmd("GET").arg(format!("{}:epoch", self.prefix()))).await
    }

    /// Tells Redis the epoch.
    ///
    /// # Errors
    /// Redis.
    pub async fn set_epoch(&self, epoch: &str) -> Result<(), BeltError> {
        self.ask(redis::cmd("SET").arg(format!("{}:epoch", self.prefix())).arg(epoch)).await
    }

    /// Whether Redis answers, within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        matches!(tokio::time::timeout(limit, self.ask::<String>(&redis::cmd("PING"))).await, Ok(Ok(_)))
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, BeltError> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        if answer.is_err() {
            self.forget().await;
        }
        Ok(answer?)
    }
}
