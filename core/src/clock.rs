//! The clock: the only source of the present moment.

use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::Mutex;

use chrono::{DateTime, Timelike, Utc};

/// Tells the time, to the microsecond (what Postgres keeps).
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    #[cfg(feature = "testing")]
    Set(Mutex<DateTime<Utc>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that stands still until it is set again.
    #[cfg(feature = "testing")]
    pub fn standing(at: DateTime<Utc>) -> Self {
        Self(Arc::new(Source::Set(Mutex::new(at))))
    }

    /// Sets a standing clock; does nothing to the machine's.
    #[cfg(feature = "testing")]
    pub fn set(&self, at: DateTime<Utc>) {
        if let Source::Set(now) = &*self.0 {
            *now.lock().unwrap_or_else(|broken| broken.into_inner()) = at;
        }
    }

    /// The present moment.
    pub fn now(&self) -> DateTime<Utc> {
        let now = match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place where the time is read")]
            Source::System => Utc::now(),
            #[cfg(feature = "testing")]
            Source::Set(now) => *now.lock().unwrap_or_else(|broken| broken.into_inner()),
        };
        let micros = now.nanosecond() / 1000;
        now.with_nanosecond(micros * 1000).unwrap_or(now)
    }
}
