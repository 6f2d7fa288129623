//! A connection of the taking side to the native lists, and patience with servers that are away.

use std::time::Duration;

use pulsecal_core::belt::Belt;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::Queue;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The blocking pop returns after so long with nothing, which also shows that the loop moves.
const POP_SECONDS: f64 = 1.0;

/// A connection of its own, since a blocking pop holds it.
#[derive(Default)]
pub struct Line {
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

    /// Asks anything of Redis; a connection that failed is not used again.
    ///
    /// # Errors
    /// Redis.
    pub async fn ask<T: redis::FromRedisValue>(
        &mut self,
        belt: &Belt,
        command: &redis::Cmd,
    ) -> Result<T, redis::RedisError> {
        let connection = self.open(belt).await?;
        let answer = command.query_async(connection).await;
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// Up to `count` ids of the first list that has any, with that list's key; waits a second when none has.
    ///
    /// # Errors
    /// Redis.
    pub async fn pop(
        &mut self,
        belt: &Belt,
        keys: &[String],
        count: usize,
    ) -> Result<Option<(String, Vec<JobId>)>, redis::RedisError> {
        let mut command = redis::cmd("BLMPOP");
        command.arg(POP_SECONDS).arg(keys.len()).arg(keys).arg("LEFT").arg("COUNT").arg(count);
        let popped: Option<(String, Vec<Vec<u8>>)> = self.ask(belt, &command).await?;
        Ok(popped.map(|(key, ids)| (key, ids.iter().filter_map(|id| read_id(id)).collect())))
    }

    /// The first id of a list; does not wait.
    ///
    /// # Errors
    /// Redis.
    pub async fn pop_one(&mut self, belt: &Belt, key: &str) -> Result<Option<JobId>, redis::RedisError> {
        let popped: Option<Vec<u8>> = self.ask(belt, redis::cmd("LPOP").arg(key)).await?;
        Ok(popped.and_then(|id| read_id(&id)))
    }
}

/// Puts ids back that were taken from a list and are not wanted after all. Best effort: the sweep finds what is lost.
pub async fn put_back(belt: &Belt, key: &str, ids: &[JobId]) {
    let _lost = tokio::time::timeout(Duration::from_secs(1), belt.push(key, ids)).await;
}

/// What is no id was put there by someone else; the ledger knows all jobs, so dropping it loses nothing.
fn read_id(bytes: &[u8]) -> Option<JobId> {
    Uuid::from_slice(bytes).ok().map(JobId)
}

/// Backs off while a server is away, and says so once.
pub struct Trouble {
    queue: Queue,
    tries: u32,
}

impl Trouble {
    /// No trouble yet.
    pub fn new(queue: Queue) -> Self {
        Self { queue, tries: 0 }
    }

    /// Waits before the next try, at most 2 s and no longer than until `stop`.
    pub async fn wait(&mut self, server: &str, error: &(dyn std::fmt::Display + Sync), stop: &CancellationToken) {
        if self.tries == 0 {
            tracing::warn!(queue = %self.queue, error = %error, "belt.take: {server} is away or refuses; taking pauses, running jobs go on");
        }
        self.tries += 1;
        let pause = Duration::from_millis(100 * 2_u64.pow(self.tries.min(5) - 1)).min(Duration::from_secs(2));
        tokio::select! { () = sleep(pause) => {}, () = stop.cancelled() => {} }
    }

    /// It works again.
    pub fn over(&mut self) {
        if self.tries > 0 {
            tracing::info!(queue = %self.queue, tries = self.tries, "belt.take: goes on");
            self.tries = 0;
        }
    }
}
