//! How often somebody may do something: so many times at once, then once each so often. It is counted in Redis for all processes
//! together, and by each process for itself while Redis is away.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;

use self::ahead::Ahead;
use crate::belt::{Belt, BeltError};
use crate::config::Secret;

mod ahead;

/// Redis is waited for no longer; a limit is not worth a slow answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// After it failed, it is left alone for so long.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// While Redis is away no more are remembered.
const MOST: usize = 10_000;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name, for keys and headers.
    pub name: &'static str,
    /// So many times at once, 1 at least.
    pub burst: u32,
    /// Then one more comes so often, ten microseconds at least.
    pub every: Duration,
}

impl Limit {
    /// How long it takes until all times are there again.
    pub fn window(&self) -> Duration {
        self.every * self.burst
    }
}

/// How many requests a second the API answers for long; ten seconds of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of an address. A clinic's many people may share one.
    pub address: Limit,
    /// With one token, or of one session.
    pub caller: Limit,
}

impl std::str::FromStr for Rates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let limit = |name: &'static str| {
            let mut found = text.split(',').filter_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            let (count, more) = (found.next(), found.next());
            let count = count.filter(|_| more.is_none())?.trim().parse::<u32>().ok()?;
            let every = Duration::from_micros(1_000_000 / u64::from(count).max(1));
            (1..=100_000).contains(&count).then_some(Limit { name, burst: count * 10, every })
        };
        match (limit("address"), limit("caller"), text.split(',').count()) {
            (Some(address), Some(caller), 2) => Ok(Self { address, caller }),
            _ => Err("must name both, each 1 to 100000 requests a second, as in address=200,caller=100".into()),
        }
    }
}

/// What somebody may do after one more try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The rule.
    pub limit: Limit,
    /// This time is one of those that are allowed.
    pub allowed: bool,
    /// So many more may follow at once.
    pub left: u32,
    /// Until the next is allowed; zero if one is at once.
    pub wait: Duration,
    /// Until all are there again.
    pub reset: Duration,
}

impl Turn {
    /// `used`: how long it takes until all are there again.
    fn of(limit: Limit, allowed: bool, used: Duration) -> Self {
        let room = limit.window().saturating_sub(used);
        let left = room.as_nanos().checked_div(limit.every.as_nanos()).unwrap_or(0);
        Self {
            limit,
            allowed,
            left: u32::try_from(left).unwrap_or(u32::MAX),
            wait: limit.every.saturating_sub(room),
            reset: used,
        }
    }
}

/// The counts of one process, and the way to those of all.
#[derive(Debug)]
pub struct Limits {
    belt: Belt,
    key: Secret<Vec<u8>>,
    own: Mutex<HashMap<String, Instant>>,
    ahead: Ahead,
    cooling_until: Mutex<Option<Instant>>,
    away: AtomicBool,
}

impl Limits {
    /// Counts over this belt's Redis. `key` hides who is counted: Redis holds no addresses.
    pub fn new(belt: Belt, key: Secret<Vec<u8>>) -> Self {
        Self {
            belt,
            key,
            own: Mutex::default(),
            ahead: Ahead::default(),
            cooling_until: Mutex::default(),
            away: AtomicBool::new(false),
        }
    }

    /// Whether each process counts for itself, as Redis is away.
    pub fn alone(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Takes a turn, if there is one.
    pub async fn take(&self, limit: Limit, who: &str) -> Turn {
        self.take_some(limit, who, 1).await.0
    }

    /// The same, for limits of hundreds: of somebody who asks often, a few turns are taken ahead, so that Redis is not asked each time.
    pub async fn take_of_many(&self, limit: Limit, who: &str) -> Turn {
        let wanted = match self.ahead.use_one(limit, who, Instant::now()) {
            Ok(turn) => return turn,
            Err(wanted) => wanted,
        };
        let (turn, more) = self.take_some(limit, who, wanted).await;
        self.ahead.keep(&turn, who, more);
        turn
    }

    /// Takes so many turns, or one if there are fewer; gives how many there are beyond the first.
    async fn take_some(&self, limit: Limit, who: &str, turns: u32) -> (Turn, u32) {
        let key = self.key_of(limit, who);
        match self.ask(self.belt.take_turns(&key, limit.every, limit.window(), turns)).await {
            Some((taken, used)) => (Turn::of(limit, taken > 0, used), taken.saturating_sub(1)),
            None => (self.take_alone(limit, key, Instant::now()), 0),
        }
    }

    /// Gives the last turn back: it does not count.
    pub async fn give_back(&self, limit: Limit, who: &str) {
        let key = self.key_of(limit, who);
        if self.ask(self.belt.give_turn_back(&key, limit.every)).await.is_none() {
            let mut own = self.own.lock().unwrap_or_else(|broken| broken.into_inner());
            if let Some(full_at) = own.get_mut(&key) {
                *full_at = full_at.checked_sub(limit.every).unwrap_or(*full_at);
            }
        }
    }

    fn key_of(&self, limit: Limit, who: &str) -> String {
        let hidden = Hmac::<Sha256>::new_from_slice(self.key.expose()).map(|mut mac| {
            mac.update(b"pulsecal limit\0");
            for part in [limit.name, who] {
                mac.update(&(part.len() as u64).to_be_bytes());
                mac.update(part.as_bytes());
            }
            mac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        // HMAC takes keys of any length.
        format!("{}:limit:{}:{}", self.belt.prefix(), limit.name, hidden.unwrap_or_default())
    }

    async fn ask<T>(&self, asked: impl Future<Output = Result<T, BeltError>>) -> Option<T> {
        let cooling = *self.cooling_until.lock().unwrap_or_else(|broken| broken.into_inner());
        if cooling.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let problem = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("limits: Redis is back; all processes count together");
                }
                return Some(answer);
            }
            Ok(Err(error)) => error,
            Err(_) => BeltError::Late(PATIENCE),
        };
        *self.cooling_until.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(Instant::now() + COOL_DOWN);
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %problem, "limits: Redis is away; each process counts for itself");
        }
        None
    }

    fn take_alone(&self, limit: Limit, key: String, now: Instant) -> Turn {
        let mut own = self.own.lock().unwrap_or_else(|broken| broken.into_inner());
        if own.len() >= MOST && !own.contains_key(&key) {
            own.retain(|_, full_at| *full_at > now);
            if own.len() >= MOST {
                // All of them try at this moment: who has waited longest is forgotten.
                let oldest = own.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone());
                oldest.map(|oldest| own.remove(&oldest));
            }
        }
        // When all turns are there again; each one moves it on.
        let full_at = own.entry(key).or_insert(now);
        let next = (*full_at).max(now) + limit.every;
        let allowed = next - now <= limit.window();
        if allowed {
            *full_at = next;
        }
        Turn::of(limit, allowed, full_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "test", burst: 10, every: Duration::from_secs(30) };

    fn limits() -> Limits {
        let belt = Belt::new("redis://127.0.0.1:9", "test").expect("a URL");
        Limits::new(belt, Secret::new(b"0123456789abcdef0123456789abcdef".to_vec()))
    }

    #[tokio::test]
    async fn turns_run_out_come_back_and_are_counted_for_each() {
        let limits = limits();
        let now = Instant::now();
        let take = |who: &str, now| limits.take_alone(LIMIT, who.to_owned(), now);
        for left in (0..10).rev() {
            let turn = take("one", now);
            assert!(turn.allowed && turn.left == left, "{turn:?}");
        }
        let refused = take("one", now);
        assert!(!refused.allowed && refused.wait == LIMIT.every && refused.reset == LIMIT.window(), "{refused:?}");
        assert!(take("other", now).allowed);
        let later = now + LIMIT.every;
        assert!(take("one", later).allowed && !take("one", later).allowed);
        assert_eq!(take("one", now + LIMIT.window() * 3).left, 9);
    }

    #[tokio::test]
    async fn without_redis_a_process_counts_for_itself_says_so_and_does_not_wait() {
        let limits = limits();
        for _ in 0..10 {
            assert!(limits.take(LIMIT, "one").await.allowed);
        }
        assert!(!limits.take(LIMIT, "one").await.allowed && limits.alone());
        limits.give_back(LIMIT, "one").await;
        assert!(limits.take(LIMIT, "one").await.allowed);
    }

    #[test]
    fn what_a_process_remembers_is_bounded() {
        let limits = limits();
        let now = Instant::now();
        for i in 0..2 * MOST {
            assert!(limits.take_alone(LIMIT, i.to_string(), now).allowed);
        }
        assert!(limits.own.lock().expect("sound").len() <= MOST);
    }

    #[test]
    fn rates_are_read() {
        let rates: Rates = " caller=100 , address=100000".parse().expect("rates");
        assert_eq!(rates.caller, Limit { name: "caller", burst: 1000, every: Duration::from_millis(10) });
        assert_eq!(rates.address.every, Duration::from_micros(10));
        for wrong in
            ["", "caller=1", "caller=1,address=0", "caller=1,address=100001", "caller=1,address=2,caller=3", "a,b"]
        {
            assert!(wrong.parse::<Rates>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_do_not_show_who_it_is() {
        let limits = limits();
        let key = limits.key_of(LIMIT, "192.0.2.1");
        assert!(key.starts_with("test:limit:test:") && !key.contains("192.0.2.1"));
        assert_ne!(key, limits.key_of(LIMIT, "192.0.2.2"));
        assert_ne!(key, limits.key_of(Limit { name: "other", ..LIMIT }, "192.0.2.1"));
    }
}
