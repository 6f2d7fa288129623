//! Waiting for something to become true, without sleeping for luck.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks `check` again and again until it answers `Some`, and gives that answer.
///
/// `what` completes the sentence "waited 5s until …". A check that itself hangs counts as not yet true.
///
/// # Panics
/// If `limit` passes; the message says what was awaited.
pub async fn until<T>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    let mut looks = 0_u64;
    loop {
        looks += 1;
        match timeout_at(end, check()).await {
            Ok(Some(found)) => return found,
            Ok(None) if Instant::now() < end => sleep(INTERVAL).await,
            Ok(None) => panic!("waited {limit:?} until {what}, in vain ({looks} looks)"),
            Err(_) => {
                panic!("waited {limit:?} until {what}, in vain (look {looks} did not answer)")
            }
        }
    }
}
