//! The jobs of processes that fell silent are given back, and messages that a job left behind are settled.

use std::time::Duration;

use chrono::TimeDelta;
use pulsecal_core::context::Context;
use pulsecal_core::ids::OccurrenceId;
use pulsecal_core::send::{DoseMessage, Message};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::{DbError, Scope, feed, finish, send};
use pulsecal_core::telemetry::Loop;
use tokio_util::sync::CancellationToken;

/// A process that has not beaten for so long is taken for dead. With a beat every 2 s and a look every 2 s, its jobs run
/// elsewhere within half a minute.
const SILENCE_SECONDS: f64 = 12.0;
const EVERY: Duration = Duration::from_secs(2);
/// Looking for jobs whose worker has no row reads all live jobs, so it is done each n-th round.
const STRANGERS_EVERY: u32 = 15;

/// Messages of ended jobs are looked for each n-th round, …
const LEFT_BEHIND_EVERY: u32 = 5;
/// … among jobs that ended so lately: longer than all schedulers are away together.
const LEFT_BEHIND_HOURS: i64 = 72;

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    let round = std::sync::atomic::AtomicU32::new(0);
    crate::process::repeat("rescue", moved, stop, || async {
        let count = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut tx = ctx.begin(Scope::Platform).await?;
        let mut gone = feed::remove_silent(tx.conn(), SILENCE_SECONDS).await?;
        if count % STRANGERS_EVERY == STRANGERS_EVERY - 1 {
            gone.extend(feed::strangers(tx.conn()).await?);
        }
        if !gone.is_empty() {
            let (back, dead) = finish::rescue(tx.conn(), &gone).await?;
            tracing::warn!(
                processes = gone.len(),
                jobs.given_back = back,
                jobs.dead = dead,
                "rescue: processes fell silent"
            );
        }
        tx.commit().await?;
        if count.is_multiple_of(LEFT_BEHIND_EVERY) {
            settle_left_behind(&ctx).await?;
        }
        Ok::<_, DbError>(EVERY)
    })
    .await;
}

async fn settle_left_behind(ctx: &Context) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let now = tx.now();
    let left = send::settle_left_behind(tx.conn(), now - TimeDelta::hours(LEFT_BEHIND_HOURS), now).await?;
    if left.is_empty() {
        return tx.commit().await;
    }
    let doses: Vec<_> = left
        .iter()
        .filter(|message| message.kind == DoseMessage::KIND && message.state == "uncertain")
        .map(|message| (OccurrenceId(message.subject), false))
        .collect();
    send::mark_doses(tx.conn(), &doses, now).await?;
    let entries: Vec<Entry> = left
        .iter()
        .map(|message| Entry {
            org: message.org,
            actor: Actor::Job(message.job),
            action: "message.sent",
            subject_type: "message",
            subject: message.id.0,
            outcome: match message.state.as_str() {
                "uncertain" => "uncertain",
                "failed" => "failed",
                _ => "suppressed",
            },
            detail: None,
        })
        .collect();
    audit::write(tx.conn(), ctx.ids, &entries, now).await?;
    tx.commit().await?;
    for message in &left {
        tracing::warn!(message.id = %message.id.0, job.id = %message.job, message.state, "rescue: a job ended without its message");
    }
    Ok(())
}
