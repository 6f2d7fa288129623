//! Between the taking side and the apalis worker: claimed jobs that wait for a free slot, and how many more may be claimed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use pulsecal_core::ledger::Claimed;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Claimed jobs of one queue on their way to its workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HandOver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<VecDeque<Claimed>>,
    worker: AtomicWaker,
    room: Room,
}

impl HandOver {
    /// For a queue that runs `slots` jobs at once.
    pub fn new(slots: usize) -> Self {
        let shared = Shared { waiting: Mutex::default(), worker: AtomicWaker::new(), room: Room::new(slots) };
        Self(Arc::new(shared))
    }

    /// How many more may be claimed.
    pub fn room(&self) -> &Room {
        &self.0.room
    }

    /// Hands claimed jobs over.
    pub fn put(&self, jobs: Vec<Claimed>) {
        self.0.waiting.lock().unwrap_or_else(|broken| broken.into_inner()).extend(jobs);
        self.0.worker.wake();
    }

    /// The next job, or a promise to wake.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Claimed> {
        if let Some(job) = self.pop() {
            return Poll::Ready(job);
        }
        self.0.worker.register(cx.waker());
        self.pop().map_or(Poll::Pending, Poll::Ready)
    }

    fn pop(&self) -> Option<Claimed> {
        self.0.waiting.lock().unwrap_or_else(|broken| broken.into_inner()).pop_front()
    }

    /// Takes all that wait, for a worker that stops.
    pub fn take_back(&self) -> Vec<Claimed> {
        self.0.waiting.lock().unwrap_or_else(|broken| broken.into_inner()).drain(..).collect()
    }
}

/// How many jobs may be claimed ahead of the slots, at most.
const MOST_AHEAD: usize = 2000;
/// A claimed job should not wait longer than about this for its slot.
const AHEAD_MS: usize = 30;

/// When no job ended for so long, a batch does not grow by waiting.
const QUIET: Duration = Duration::from_millis(5);

/// Counts what is claimed and not yet ended. A queue of long jobs claims what it has slots for; one of short jobs claims
/// ahead what ends within a moment, so that claims come in large batches.
#[derive(Debug)]
pub struct Room {
    slots: usize,
    claimed: AtomicUsize,
    ended: AtomicUsize,
    pace: Mutex<Pace>,
    freed: Notify,
}

#[derive(Debug)]
struct Pace {
    since: Instant,
    ended: usize,
    ahead: usize,
}

impl Room {
    fn new(slots: usize) -> Self {
        let pace = Mutex::new(Pace { since: Instant::now(), ended: 0, ahead: 0 });
        Self { slots, claimed: AtomicUsize::new(0), ended: AtomicUsize::new(0), pace, freed: Notify::new() }
    }

    /// Waits until it is worth claiming, and says how many.
    pub async fn wait(&self) -> usize {
        loop {
            let freed = self.freed.notified();
            let most = self.slots + self.ahead();
            let free = most.saturating_sub(self.claimed.load(Ordering::Acquire));
            // A third at a time keeps batches large while no slot runs dry.
            if free > 0 && free >= most / 3 {
                return free;
            }
            if free == 0 {
                freed.await;
            } else if timeout(QUIET, freed).await.is_err() {
                // Nothing ends at the moment: long jobs hold the rest, and the free slots shall not wait for them.
                return free;
            }
        }
    }

    fn ahead(&self) -> usize {
        let mut pace = self.pace.lock().unwrap_or_else(|broken| broken.into_inner());
        let passed = pace.since.elapsed();
        if passed >= Duration::from_millis(50) {
            let ended = self.ended.load(Ordering::Relaxed);
            let ms = usize::try_from(passed.as_millis()).unwrap_or(usize::MAX);
            pace.ahead = (ended.wrapping_sub(pace.ended) * AHEAD_MS / ms).min(MOST_AHEAD);
            pace.ended = ended;
            pace.since = Instant::now();
        }
        pace.ahead
    }

    /// Jobs were claimed.
    pub fn claimed(&self, count: usize) {
        self.claimed.fetch_add(count, Ordering::AcqRel);
    }

    /// A job ended, or was given back.
    pub fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.claimed.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_that_long_jobs_leave_free_are_offered_at_once() {
        let room = Room::new(32);
        assert_eq!(room.wait().await, 32);
        room.claimed(24);
        assert_eq!(timeout(Duration::from_secs(10), room.wait()).await, Ok(8));
        room.claimed(8);
        assert!(timeout(10 * QUIET, room.wait()).await.is_err(), "no slot is free");
        room.ended();
        assert_eq!(room.wait().await, 1);
    }
}
