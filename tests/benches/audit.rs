//! The audit entries, each figure beside its yardstick in the same run:
//! A2 the rollup: counting all anew beside one GROUP BY, and one new percent beside the same;
//! A3 an audited write beside a plain insert, with 16 writers on one organization; and how fast `pulsecal audit verify` is.
//!
//! `./dev bench audit -- --rows 1000000 --seconds 8`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pulsecal_core::audit::seal;
use pulsecal_core::audit::verify::{self, What};
use pulsecal_core::context::Context;
use pulsecal_core::ids::{OrgId, PersonId, RequestId};
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::{self, Actor, Entry, Role, rollup};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;
use uuid::Uuid;

use support::bed::Bed;
use support::options::Options;
use support::report::Report;

const WRITERS: usize = 16;

/// The table as a plain one: the same columns, key and index of subjects; no number of the transaction, no trigger, no chain.
const PLAIN: &str = "CREATE TABLE plain_entries (id uuid PRIMARY KEY, org_id uuid, at timestamptz NOT NULL, actor_kind text NOT NULL, actor_id uuid,
  role text, action text NOT NULL, subject_type text NOT NULL, subject_id uuid NOT NULL, outcome text NOT NULL, request_id uuid, detail jsonb);
  CREATE INDEX ON plain_entries (subject_id, at)";

/// Twenty organizations, a week, six actions, four roles.
const LOAD: &str = "INSERT INTO audit_entries (id, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail)
  SELECT uuid('0197a000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), uuid('00000000-0000-7000-8000-' || lpad(to_hex(i % 20), 12, '0')),
    now() - interval '7 days' + i * interval '7 days' / $2, 'person', gen_random_uuid(), (ARRAY['nurse', 'doctor', 'job', 'patient'])[1 + i % 4],
    (ARRAY['dose.taken', 'patient.changed', 'message.sent', 'prescription.written', 'export.asked', 'reminder.set'])[1 + i % 6],
    'dose_occurrence', gen_random_uuid(), CASE WHEN i % 17 = 0 THEN 'failed' ELSE 'success' END, gen_random_uuid(), '{\"before\": \"due\"}'
  FROM generate_series($1::bigint, $2::bigint - 1) i";

const GROUP_BY: &str = "SELECT count(*) FROM (SELECT coalesce(org_id, '00000000-0000-0000-0000-000000000000') o, date_trunc('hour', at, 'UTC') h, action,
  coalesce(role, '') r, outcome, count(*) FROM audit_entries GROUP BY 1, 2, 3, 4, 5) g";

fn main() {
    let options = Options::read(&["--rows", "--seconds"]);
    let rows: i64 = options.value("--rows", 1_000_000);
    let seconds: u64 = options.value("--seconds", 8);
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("audit", &bed).await;
        report.fact("rows", rows);
        report.fact("writers", WRITERS);
        let ctx = bed.context("worker");
        writes(&bed, &ctx, seconds, &mut report).await;
        sealed_and_counted(&bed, &ctx, rows, &mut report).await;
        report.finish();
    });
}

/// A3: plain and audited in turn, twice, so that neither has the better half of the run.
async fn writes(bed: &Bed, ctx: &Context, seconds: u64, report: &mut Report) {
    sqlx::raw_sql(AssertSqlSafe(PLAIN)).execute(&bed.pool).await.expect("a plain table");
    let options = bed.pool.connect_options();
    let pool = PgPoolOptions::new().max_connections(16).connect_with((*options).clone()).await.expect("connections");
    let (mut plain, mut audited, mut alone) = (0.0, 0.0, 0.0);
    for _ in 0..2 {
        plain += rate(seconds, |i| plain_write(pool.clone(), i)).await / 2.0;
        alone += rate(seconds, |i| audited_write(pool.clone(), i)).await / 2.0;
        // With the sealer at work beside the writers, as in production.
        let over = Arc::new(AtomicBool::new(false));
        let sealing = {
            let (ctx, over) = (ctx.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    seal::seal_all(&ctx).await.expect("seals");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        };
        audited += rate(seconds, |i| audited_write(pool.clone(), i)).await / 2.0;
        over.store(true, Ordering::Relaxed);
        sealing.await.expect("the sealer ends");
    }
    report.row([
        ("what", json!("audited write, sealer at work")),
        ("figure", json!(audited)),
        ("unit", json!("writes/s")),
        ("yardstick", json!(plain)),
        ("ratio", json!(audited / plain)),
        ("aim", json!(">= 0.8")),
    ]);
    report.row([
        ("what", json!("audited write, not sealed")),
        ("figure", json!(alone)),
        ("unit", json!("writes/s")),
        ("yardstick", json!(plain)),
        ("ratio", json!(alone / plain)),
        ("aim", json!(">= 0.8")),
    ]);
    pool.close().await;
}

/// Transactions a second of all writers together.
async fn rate<F, Fut>(seconds: u64, write: F) -> f64
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let end = Instant::now() + Duration::from_secs(seconds);
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut number = 0;
    let mut writers = tokio::task::JoinSet::new();
    while Instant::now() < end || !writers.is_empty() {
        while writers.len() < WRITERS && Instant::now() < end {
            number += 1;
            let done = done.clone();
            let one = write(number);
            writers.spawn(async move {
                one.await;
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let _one = writers.join_next().await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let done = done.load(Ordering::Relaxed) as f64;
    done / began.elapsed().as_secs_f64()
}

fn one_entry(number: usize) -> Entry {
    let request = RequestId(Uuid::from_u128(number as u128));
    Entry {
        org: Some(OrgId(Uuid::from_u128(1))),
        actor: Actor::Person { id: PersonId(Uuid::from_u128(2)), role: Role::Nurse, request },
        action: "dose.taken",
        subject_type: "dose_occurrence",
        subject: pulsecal_core::ids::Ids.new_id(),
        outcome: "success",
        detail: Some(json!({"before": "due"})),
    }
}

/// The product's own statement, in a transaction of its own.
async fn audited_write(pool: PgPool, number: usize) {
    let now = pulsecal_core::clock::Clock::system().now();
    let mut tx = pool.begin().await.expect("begins");
    audit::write(&mut tx, pulsecal_core::ids::Ids, &[one_entry(number)], now).await.expect("writes");
    tx.commit().await.expect("commits");
}

/// The same values in the same shape, into the plain table.
async fn plain_write(pool: PgPool, number: usize) {
    let now = pulsecal_core::clock::Clock::system().now();
    let entry = one_entry(number);
    let mut tx = pool.begin().await.expect("begins");
    sqlx::query(
        "INSERT INTO plain_entries (id, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail)
         VALUES ($1, $2, $3, 'person', $4, 'nurse', $5, $6, $7, $8, $9, $10)",
    )
    .bind(pulsecal_core::ids::Ids.new_id::<Uuid>())
    .bind(entry.org.map(|org| org.0))
    .bind(now)
    .bind(Uuid::from_u128(2))
    .bind(entry.action)
    .bind(entry.subject_type)
    .bind(entry.subject)
    .bind(entry.outcome)
    .bind(Uuid::from_u128(number as u128))
    .bind(entry.detail)
    .execute(&mut *tx)
    .await
    .expect("writes");
    tx.commit().await.expect("commits");
}

/// A2, and the speed of sealing and verifying.
async fn sealed_and_counted(bed: &Bed, ctx: &Context, rows: i64, report: &mut Report) {
    load(bed, 0, rows - rows / 100).await;
    advance(ctx).await;
    load(bed, rows - rows / 100, rows).await;
    bed.settle().await;
    let group_by = best(3, async || group_by(bed).await).await;
    let began = Instant::now();
    advance(ctx).await;
    let increment = began.elapsed().as_secs_f64();
    let rebuild = best(3, async || rebuild(ctx).await).await;
    report.row([
        ("what", json!("rollup, all anew")),
        ("figure", json!(rebuild)),
        ("unit", json!("s")),
        ("yardstick", json!(group_by)),
        ("ratio", json!(rebuild / group_by)),
        ("aim", json!("<= 1.3")),
    ]);
    report.row([
        ("what", json!("rollup, 1 % new")),
        ("figure", json!(increment)),
        ("unit", json!("s")),
        ("yardstick", json!(group_by)),
        ("ratio", json!(increment / group_by)),
        ("aim", json!("<= 0.05")),
    ]);
    let began = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = seal::seal_all(ctx).await.expect("seals") as f64 / began.elapsed().as_secs_f64();
    report.row([("what", json!("sealing")), ("figure", json!(rate)), ("unit", json!("entries/s"))]);
    bed.settle().await;
    let began = Instant::now();
    let verified = verify::verify(ctx, What { org: None, from: 1 }, &[]).await.expect("verifies");
    let taken = began.elapsed().as_secs_f64();
    assert!(verified.findings.is_empty(), "{verified:?}");
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = verified.links as f64 / taken;
    report.row([
        ("what", json!(format!("verifying {} entries", verified.links))),
        ("figure", json!(rate)),
        ("unit", json!("entries/s")),
        ("aim", json!(">= 300000")),
    ]);
}

async fn load(bed: &Bed, from: i64, to: i64) {
    sqlx::query(LOAD).bind(from).bind(to).execute(&bed.pool).await.expect("loads");
}

async fn advance(ctx: &Context) {
    let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
    let now = tx.now();
    rollup::advance(tx.conn(), now).await.expect("counts");
    tx.commit().await.expect("commits");
}

async fn rebuild(ctx: &Context) {
    let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
    let today = tx.now().date_naive();
    rollup::replace(tx.conn(), today - chrono::Days::new(30), today + chrono::Days::new(2)).await.expect("counts anew");
    tx.commit().await.expect("commits");
}

/// With the settings that the rollup has.
async fn group_by(bed: &Bed) {
    let mut tx = bed.pool.begin().await.expect("begins");
    let settings = "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off";
    sqlx::raw_sql(settings).execute(&mut *tx).await.expect("settings");
    let _groups: i64 = sqlx::query_scalar(GROUP_BY).fetch_one(&mut *tx).await.expect("groups");
}

/// The shortest of some runs, in seconds.
async fn best(runs: usize, mut run: impl AsyncFnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..runs {
        let began = Instant::now();
        run().await;
        best = best.min(began.elapsed().as_secs_f64());
    }
    best
}
