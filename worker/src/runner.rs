//! Runs one claimed job under its policy: time-out, panic caught, stop seen, outcome handed to the finisher.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use pulsecal_core::context::{Context, RunContext};
use pulsecal_core::ledger::{Claimed, Ending, Fence, Finish, JobError, Kind, Registry, Verdict};
use pulsecal_core::operate::CANCELLED_WAITING;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::finisher::Ended;
use crate::held::Held;
use crate::orders::Orders;

/// How long a job that was told to give up may take to stop where it is.
const LETTING_GO: Duration = Duration::from_secs(2);

/// The reason of a job that an operator cancelled while it ran.
const CANCELLED_RUNNING: &str = "cancelled while it ran";

/// What runs claimed jobs. Cheap to clone.
#[derive(Clone)]
pub struct Runner(Arc<Parts>);

struct Parts {
    ctx: Context,
    registry: Arc<Registry>,
    ended: Ended,
    held: Held,
    orders: Orders,
    /// Fires when running jobs have had their time.
    give_up: CancellationToken,
}

impl Runner {
    /// Puts the parts together.
    pub fn new(
        ctx: Context,
        registry: Arc<Registry>,
        ended: Ended,
        held: Held,
        orders: Orders,
        give_up: CancellationToken,
    ) -> Self {
        Self(Arc::new(Parts { ctx, registry, ended, held, orders, give_up }))
    }

    /// What this process holds.
    pub fn held(&self) -> &Held {
        &self.0.held
    }

    /// What operators ask.
    pub fn orders(&self) -> &Orders {
        &self.0.orders
    }

    /// Runs a job to its end. Never fails: how it ended is the ledger's matter.
    pub async fn run(&self, job: Claimed) {
        let fence = job.fence;
        let ending = match self.0.registry.kind(&job.kind) {
            None => Some(Ending::Dead(format!(
                "this worker knows no kind of job named {:?}",
                job.kind.chars().take(60).collect::<String>()
            ))),
            Some(_) if job.cancel_asked || self.0.orders.is_cancelled(&fence) => {
                Some(Ending::Cancelled(CANCELLED_WAITING.into()))
            }
            Some(_) if job.expired => Some(Ending::Expired),
            Some(kind) => self.attempt(kind, job).await,
        };
        if let Some(ending) = ending {
            // The finisher lives until the last runner is gone.
            let _sent = self.0.ended.send(Finish { fence, ending }).await;
        } else {
            self.0.held.release(std::iter::once(&fence));
        }
    }

    /// Gives back a claimed job that did not start.
    pub async fn give_back(&self, fence: Fence) {
        let _sent = self.0.ended.send(Finish { fence, ending: Ending::GivenBack }).await;
    }

    /// None: the job was settled together with its effect.
    async fn attempt(&self, kind: &Kind, job: Claimed) -> Option<Ending> {
        let began = Instant::now();
        let policy = &kind.policy;
        let span =
            tracing::info_span!("job", job.id = %job.fence.job, job.kind = kind.name, job.attempt = job.fence.attempt);
        let run = RunContext::new(self.0.ctx.clone(), job.fence, job.fence.attempt >= job.max_attempts);
        let (runs, args) = (*kind, job.args);
        // Args are read within the task too, so that nothing of a job's own can take the worker down.
        let work = async move { timeout(runs.policy.timeout, runs.run(&args, run)).await };
        let mut task = tokio::spawn(work.instrument(span.clone()));
        let mut told_to_stop = false;
        let result = tokio::select! {
            biased;
            result = &mut task => Some(result),
            () = self.0.give_up.cancelled() => {
                task.abort();
                // Given back when it stands still, or another would run it at the same time. It may also have ended just now.
                timeout(LETTING_GO, &mut task).await.ok()
            }
            () = self.0.orders.cancelled(job.fence) => {
                task.abort();
                told_to_stop = true;
                // It stands still at its next await. One that blocks its thread until then keeps its slot, and its claim.
                tokio::select! { result = &mut task => Some(result), () = self.0.give_up.cancelled() => None }
            }
        };
        let now = self.0.ctx.clock.now();
        let wait_until =
            |wait: Duration| now + chrono::Duration::from_std(wait).unwrap_or(chrono::Duration::days(3650));
        let result = match result {
            None => Ok(Err(Ending::GivenBack)),
            Some(Ok(Ok(result))) => result.map(|verdict| match verdict {
                Verdict::Done => Ok(Some(Ending::Done)),
                Verdict::Cancel(why) => Ok(Some(Ending::Cancelled(why.to_owned()))),
                Verdict::Snooze(wait) => Err(Ending::Snoozed(wait_until(wait))),
                Verdict::Settled => Ok(None),
            }),
            Some(Ok(Err(_))) => {
                Err(JobError::Retry(format!("took longer than its {} s", policy.timeout.as_secs_f64())))
            }
            Some(Err(gone)) if gone.is_panic() => Err(JobError::Retry("its handler panicked".to_owned())),
            Some(Err(_)) if told_to_stop => Ok(Err(Ending::Cancelled(CANCELLED_RUNNING.to_owned()))),
            Some(Err(_)) => Ok(Err(Ending::GivenBack)),
        };
        let ending = match result {
            Ok(Ok(ending)) => ending,
            Ok(Err(back)) => Some(back),
            Err(problem) => {
                let last = job.fence.attempt >= job.max_attempts;
                let why = bounded(&problem.to_string());
                Some(match problem {
                    JobError::Never(_) => Ending::Dead(why),
                    _ if last => Ending::Dead(why),
                    JobError::RetryAfter(_, wait) => Ending::Retry(wait_until(wait), why),
                    JobError::Retry(_) => {
                        let wait = policy.backoff.after(job.fence.attempt, self.0.ctx.ids.fraction());
                        Ending::Retry(wait_until(wait), why)
                    }
                })
            }
        };
        span.in_scope(|| report(kind.name, ending.as_ref(), began.elapsed()));
        ending
    }
}

fn report(kind: &'static str, ending: Option<&Ending>, took: Duration) {
    let outcome = match ending {
        None | Some(Ending::Done) => "done",
        Some(Ending::Cancelled(_)) => "cancelled",
        Some(Ending::Expired) => "expired",
        Some(Ending::Dead(why)) => {
            tracing::error!(error = why, "job.dead: will not be tried again; see `pulsecal jobs show`");
            "dead"
        }
        Some(Ending::Retry(at, why)) => {
            tracing::warn!(error = why, retry.at = %at, "job.retry");
            "retry"
        }
        Some(Ending::Snoozed(_)) => "snoozed",
        Some(Ending::GivenBack) => "given_back",
    };
    counter!("pulsecal_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
    histogram!("pulsecal_job_seconds", "kind" => kind).record(took.as_secs_f64());
}

/// An error text as the ledger keeps it: one line, bounded, with what looks like an address masked, and without NUL and
/// its like, which Postgres does not take.
fn bounded(text: &str) -> String {
    let text = text.replace(|letter: char| letter.is_control(), " ");
    let words = text.split_whitespace().map(|word| if word.contains('@') { "(address)" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_is_one_line_without_addresses_that_postgres_takes() {
        assert_eq!(bounded("refused\r\n for ann@example.org\0 \u{7f}twice"), "refused for (address) twice");
        assert_eq!(bounded(&"x".repeat(900)).len(), 500);
    }
}
