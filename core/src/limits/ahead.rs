//! Turns that a process took ahead of need, so that it does not ask Redis at every request of somebody who asks often. They were
//! counted for all processes when they were taken: nobody gets more than the limit, and what is not used in time is lost to them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::{Limit, Turn};

/// So many at most are taken at once …
const MOST_TURNS: u32 = 16;
/// … and no more than this part of those that are left.
const PART_OF_LEFT: u32 = 16;
/// After a pause of this length, those that were held are forgotten.
const PAUSE: Duration = Duration::from_millis(20);
/// For so many callers at most.
const MOST_CALLERS: usize = 10_000;

/// What this process holds for one caller.
#[derive(Debug)]
struct Held {
    turns: u32,
    left: u32,
    reset: Duration,
    /// Requests without a pause.
    row: u32,
    last: Instant,
}

/// What this process holds.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    held: Mutex<HashMap<(&'static str, String), Held>>,
}

impl Ahead {
    /// Uses a turn that is held; none: how many are to be taken.
    pub(super) fn use_one(&self, limit: Limit, who: &str, now: Instant) -> Result<Turn, u32> {
        let mut all = self.held.lock().unwrap_or_else(|broken| broken.into_inner());
        if all.len() >= MOST_CALLERS {
            all.retain(|_, held| now.saturating_duration_since(held.last) < PAUSE);
            if all.len() >= MOST_CALLERS {
                return Err(1);
            }
        }
        let held = all.entry((limit.name, who.to_owned())).or_insert(Held {
            turns: 0,
            left: 0,
            reset: Duration::ZERO,
            row: 0,
            last: now,
        });
        if now.saturating_duration_since(held.last) >= PAUSE {
            (held.turns, held.row) = (0, 0);
        }
        held.last = now;
        held.row = held.row.saturating_add(1);
        match held.turns.checked_sub(1) {
            Some(turns) => {
                held.turns = turns;
                let left = held.left.saturating_add(turns);
                Ok(Turn { limit, allowed: true, left, wait: Duration::ZERO, reset: held.reset })
            }
            None => Err(held.row.min(MOST_TURNS).min(held.left / PART_OF_LEFT).max(1)),
        }
    }

    /// Keeps what was taken beyond the turn that is used now.
    pub(super) fn keep(&self, turn: &Turn, who: &str, more: u32) {
        let mut all = self.held.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(held) = all.get_mut(&(turn.limit.name, who.to_owned())) {
            (held.left, held.reset) = (turn.left, turn.reset);
            held.turns += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "test", burst: 1000, every: Duration::from_millis(10) };

    fn turn(left: u32) -> Turn {
        Turn { limit: LIMIT, allowed: true, left, wait: Duration::ZERO, reset: LIMIT.every }
    }

    #[test]
    fn more_are_taken_ahead_the_more_often_somebody_asks_and_none_where_few_are_left() {
        let (ahead, start) = (Ahead::default(), Instant::now());
        let (mut at, mut asked) = (start, Vec::new());
        for _ in 0..100 {
            at += Duration::from_millis(1);
            if let Err(turns) = ahead.use_one(LIMIT, "one", at) {
                ahead.keep(&turn(900), "one", turns - 1);
                asked.push(turns);
            }
        }
        assert_eq!(asked[..5], [1, 2, 4, 8, 16]);
        assert!(asked.len() < 12 && asked.iter().all(|turns| *turns <= MOST_TURNS), "{asked:?}");
        // After a pause it begins anew, and near the end they are taken one by one.
        assert_eq!(ahead.use_one(LIMIT, "one", at + PAUSE), Err(1));
        ahead.keep(&turn(20), "one", 0);
        for _ in 0..10 {
            assert_eq!(ahead.use_one(LIMIT, "one", at + PAUSE), Err(1));
        }
        assert_eq!(ahead.use_one(LIMIT, "other", at), Err(1));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (ahead, now) = (Ahead::default(), Instant::now());
        for i in 0..2 * MOST_CALLERS {
            assert_eq!(ahead.use_one(LIMIT, &i.to_string(), now), Err(1));
        }
        assert!(ahead.held.lock().expect("sound").len() <= MOST_CALLERS);
    }
}
