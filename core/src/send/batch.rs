//! Gathers what many tasks ask for at the same moment into one piece of work.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// A batch of so many was asked by a crowd, and more of it is on its way …
const CROWD: usize = 32;
/// … for which the next batch waits a little: its statements cost nearly the same for twice as many.
const FOR_COMPANY: Duration = Duration::from_millis(4);

/// Answers questions in batches: while one batch is worked on, the next one gathers. Who asks alone does not wait for company.
pub struct Batcher<Q, A> {
    ask: mpsc::Sender<(Q, oneshot::Sender<A>)>,
}

impl<Q, A> Clone for Batcher<Q, A> {
    fn clone(&self) -> Self {
        Self { ask: self.ask.clone() }
    }
}

impl<Q, A> std::fmt::Debug for Batcher<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("waiting", &(self.ask.max_capacity() - self.ask.capacity())).finish()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// Starts answering: up to `most` questions a batch, `lanes` batches at once. `work` gives one answer for each question,
    /// in their order. Ends when the last handle is gone.
    pub fn start<F, Fut>(most: usize, lanes: usize, work: F) -> Self
    where
        F: Fn(Vec<Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<A>> + Send + 'static,
    {
        let (ask, mut questions) = mpsc::channel::<(Q, oneshot::Sender<A>)>(2 * most);
        let work = Arc::new(work);
        let lanes = Arc::new(Semaphore::new(lanes));
        tokio::spawn(async move {
            let mut last = 0;
            loop {
                let Ok(lane) = lanes.clone().acquire_owned().await else { return };
                let mut batch = Vec::new();
                if questions.recv_many(&mut batch, most).await == 0 {
                    return;
                }
                if last >= CROWD {
                    let until = Instant::now() + FOR_COMPANY;
                    while batch.len() < most {
                        let room = most - batch.len();
                        if timeout_at(until, questions.recv_many(&mut batch, room)).await.is_ok_and(|more| more > 0) {
                            continue;
                        }
                        break;
                    }
                }
                last = batch.len();
                let work = work.clone();
                tokio::spawn(async move {
                    let (asked, replies): (Vec<Q>, Vec<_>) = batch.into_iter().unzip();
                    for (answer, reply) in work(asked).await.into_iter().zip(replies) {
                        // Who no longer waits was aborted; what it asked for holds all the same.
                        let _gone = reply.send(answer);
                    }
                    drop(lane);
                });
            }
        });
        Self { ask }
    }

    /// Asks, and waits for the answer; none if the batcher ended or its work panicked.
    pub async fn ask(&self, question: Q) -> Option<A> {
        let (reply, answer) = oneshot::channel();
        self.ask.send((question, reply)).await.ok()?;
        answer.await.ok()
    }
}
