//! The rollup is one GROUP BY, whatever happens beside it.

use std::time::Duration;

use pulsecal_core::belt::list_key;
use pulsecal_core::ids::JobId;
use pulsecal_core::ledger::{Enqueued, Queue};
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::{self, rollup};
use pulsecal_jobs::AuditRollup;
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;
use tokio_util::sync::CancellationToken;

use crate::support::{LIMIT, Ledger, entry, org};

/// So often a worker is killed that has just counted something.
const KILLS: usize = 8;

const DONE: &str = "SELECT count(*) FROM job_history WHERE kind = 'audit_rollup' AND state = 'done'";

/// What the entries give by hour, beside what was counted by hour and by day, said by SQL of the test's own.
const WRONG: &str = "
  WITH right_hours AS (
    SELECT coalesce(org_id, '00000000-0000-0000-0000-000000000000') o, date_trunc('hour', at AT TIME ZONE 'UTC') h, action a, coalesce(role, '') r,
      outcome u, count(*) n FROM audit_entries WHERE action <> 'audit_rollup.replaced' GROUP BY 1, 2, 3, 4, 5),
  hours AS (SELECT org_id o, hour AT TIME ZONE 'UTC' h, action a, role r, outcome u, entries n FROM audit_hourly WHERE action <> 'audit_rollup.replaced'),
  right_days AS (SELECT o, h::date d, a, r, u, sum(n) n FROM right_hours GROUP BY 1, 2, 3, 4, 5),
  days AS (SELECT org_id o, day d, action a, role r, outcome u, entries::numeric n FROM audit_daily WHERE action <> 'audit_rollup.replaced')
  SELECT (SELECT count(*) FROM ((TABLE right_hours EXCEPT TABLE hours) UNION ALL (TABLE hours EXCEPT TABLE right_hours)) x)
       + (SELECT count(*) FROM ((TABLE right_days EXCEPT TABLE days) UNION ALL (TABLE days EXCEPT TABLE right_days)) y)";

#[tokio::test]
async fn eight_writers_killed_workers_and_doubled_deliveries_leave_it_exact() {
    let ledger = Ledger::open().await;
    let redis = Redis::shared().await;
    let mut env = ledger.env();
    env.push(("REDIS_URL".into(), redis.url().to_owned()));
    env.push(("REDIS_PREFIX".into(), ledger.db.name().to_owned()));
    env.push(("WORKER_QUEUES".into(), "maintenance=4".into()));
    let over = CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_usize {
        let (ctx, over) = (ledger.ctx.clone(), over.clone());
        writers.spawn(async move {
            let mut written = 0_i64;
            while !over.is_cancelled() {
                let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
                let count = 1 + (ctx.ids.fraction() * 4.0) as usize;
                for number in 0..count {
                    let entry = entry((writer > 0).then(|| org(writer as u128 % 3)), number + writer);
                    // Clocks of different machines do not agree: some entries are of the hour or the day before.
                    let now = tx.now() - chrono::TimeDelta::minutes(writer as i64 * 200);
                    audit::write(tx.conn(), ctx.ids, &[entry], now).await.expect("writes");
                }
                let (open, gives_up) = (ctx.ids.fraction(), ctx.ids.fraction() < 0.1);
                tokio::time::sleep(Duration::from_secs_f64(open * open * 0.4)).await;
                if !gives_up {
                    tx.commit().await.expect("commits");
                    written += count as i64;
                }
            }
            written
        });
    }
    let deliveries = {
        let (ctx, over) = (ledger.ctx.clone(), over.clone());
        let (belt, prefix) = (redis_belt(redis, &ledger), ledger.db.name().to_owned());
        tokio::spawn(async move {
            while !over.is_cancelled() {
                let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
                let made = [tx.enqueue(&AuditRollup {}).await, tx.enqueue(&AuditRollup {}).await];
                tx.commit().await.expect("commits");
                let ids: Vec<JobId> = made
                    .into_iter()
                    .filter_map(|made| match made.expect("enqueues") {
                        Enqueued::New(id) => Some(id),
                        Enqueued::Duplicate => None,
                    })
                    .collect();
                // Each id three times.
                let key = list_key(&prefix, Queue::Maintenance, 1);
                belt.push(&key, &[ids.clone(), ids.clone(), ids].concat()).await.expect("Redis takes them");
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        })
    };
    let mut workers = [Process::spawn("pulsecal-worker", env.clone()), Process::spawn("pulsecal-worker", env.clone())];
    for kill in 0..KILLS {
        let before = ledger.count(DONE).await;
        until(LIMIT, "workers count", async || (ledger.count(DONE).await > before + 2).then_some(())).await;
        let mut tx = ledger.ctx.begin(Scope::Platform).await.expect("begins");
        let today = tx.now().date_naive();
        let days = (today - chrono::Days::new(1), today + chrono::Days::new(1));
        rollup::replace(tx.conn(), days.0, days.1).await.expect("counts anew beside the workers");
        if kill % 3 < 2 {
            tx.commit().await.expect("commits");
        }
        workers[kill % 2].kill9();
        workers[kill % 2] = Process::spawn("pulsecal-worker", env.clone());
    }
    over.cancel();
    let written: i64 = writers.join_all().await.into_iter().sum();
    deliveries.await.expect("delivers");
    let sum = "SELECT coalesce(sum(entries), 0)::bigint FROM audit_daily";
    until(LIMIT, "all is counted", async || {
        let done = ledger.pulsecal(&["audit", "rollup"]).await;
        assert!(done.status.success(), "{}", done.stderr);
        (ledger.count(sum).await >= written).then_some(())
    })
    .await;
    assert_eq!(ledger.count("SELECT count(*) FROM audit_entries").await, written);
    assert_eq!(ledger.count(sum).await, written, "no entry was counted twice");
    assert_eq!(ledger.count(WRONG).await, 0);
    let checked = ledger.pulsecal(&["audit", "rollup", "--check", "--json"]).await;
    assert_eq!((checked.status.code(), checked.stdout.trim()), (Some(0), "[]"));
}

#[tokio::test]
async fn a_wrong_count_is_found_and_counting_the_days_anew_mends_it() {
    let ledger = Ledger::open().await;
    ledger.write(Some(org(1)), 12).await;
    ledger.write(None, 5).await;
    until(LIMIT, "all is counted", async || {
        assert!(ledger.pulsecal(&["audit", "rollup"]).await.status.success());
        (ledger.count("SELECT coalesce(sum(entries), 0)::bigint FROM audit_hourly").await == 17).then_some(())
    })
    .await;
    assert_eq!(ledger.count(WRONG).await, 0);
    ledger.tamper("UPDATE audit_hourly SET entries = entries + 1 WHERE action = 'dose.taken' AND role = 'nurse'").await;
    let checked = ledger.pulsecal(&["audit", "rollup", "--check"]).await;
    assert_eq!(checked.status.code(), Some(1));
    assert!(checked.stdout.contains("dose.taken"), "{}", checked.stdout);
    let today: chrono::NaiveDate =
        sqlx::query_scalar("SELECT (now() AT TIME ZONE 'UTC')::date").fetch_one(&ledger.pool).await.expect("the day");
    let (from, to) = ((today - chrono::Days::new(1)).to_string(), (today + chrono::Days::new(1)).to_string());
    let mended = ledger.pulsecal(&["audit", "rollup", "--from", &from, "--to", &to]).await;
    assert!(mended.status.success(), "{}", mended.stderr);
    assert_eq!(ledger.count(WRONG).await, 0);
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'audit_rollup.replaced' AND role = 'operator' AND request_id IS NOT NULL";
    assert_eq!(ledger.count(noted).await, 1);
}

/// A belt on the Redis of the workers.
fn redis_belt(redis: &Redis, ledger: &Ledger) -> pulsecal_core::belt::Belt {
    pulsecal_core::belt::Belt::new(redis.url(), ledger.db.name()).expect("a URL")
}
