//! Healthy means progress: a process is ready only if each of its loops moved lately.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// The loops of a process.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    loops: Mutex<Vec<Arc<Watched>>>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    limit: Duration,
    moved_ms: AtomicU64,
}

/// A loop's hand: it says that the loop moved.
#[derive(Clone, Debug)]
pub struct Loop {
    started: Instant,
    watched: Arc<Watched>,
}

impl Loop {
    /// The loop went round.
    pub fn moved(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.watched.moved_ms.store(ms, Ordering::Relaxed);
    }
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Shared { started: Instant::now(), loops: Mutex::new(Vec::new()) }))
    }
}

impl Health {
    /// Watches a loop that goes round within `limit` when all is well.
    pub fn watch(&self, name: impl Into<String>, limit: Duration) -> Loop {
        let watched = Arc::new(Watched { name: name.into(), limit, moved_ms: AtomicU64::new(0) });
        self.0.loops.lock().unwrap_or_else(|broken| broken.into_inner()).push(watched.clone());
        let hand = Loop { started: self.0.started, watched };
        hand.moved();
        hand
    }

    /// The loops that stand still, each with the time since it moved; empty: ready.
    pub fn stuck(&self) -> Vec<(String, Duration)> {
        let now = self.0.started.elapsed();
        let loops = self.0.loops.lock().unwrap_or_else(|broken| broken.into_inner());
        let still = loops.iter().map(|watched| {
            let since = now.saturating_sub(Duration::from_millis(watched.moved_ms.load(Ordering::Relaxed)));
            (watched, since)
        });
        still
            .filter(|(watched, since)| *since > watched.limit)
            .map(|(watched, since)| (watched.name.clone(), since))
            .collect()
    }
}
