//! What a tick costs with nothing due, beside how many active reminders there are: it must not grow with them.
//!
//! `./dev bench planner -- --reminders 1000,100000,1000000 --ticks 300`

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use pulsecal_core::context::Context;
use pulsecal_core::doses::{dispatch, planner};
use pulsecal_core::ledger::{NewJob, Priority, Queue};
use pulsecal_core::store::feed::{self, Fed};
use pulsecal_core::store::{DbError, Scope, doses, schedules};
use pulsecal_core::time::tzdb_version;
use pulsecal_jobs::MedicationReminder;
use serde_json::{Value, json};
use tokio::time::Instant;

use support::bed::Bed;
use support::options::Options;
use support::report::{Report, spread};

fn main() {
    let options = Options::read(&["--reminders", "--ticks"]);
    let sizes: Vec<i64> = options.values("--reminders", "1000,100000,1000000");
    let ticks: u32 = options.value("--ticks", 300);
    support::block_on(async {
        let bed = Bed::open().await;
        let mut report = Report::new("planner", &bed).await;
        report.fact("ticks", ticks);
        report.fact("aim", "the cost of a tick does not grow with the reminders: growth near 1");
        let ctx = bed.context("scheduler");
        let (mut there, mut least) = (0, None);
        for size in sizes {
            add_reminders(&bed, there, size).await;
            there = size;
            bed.settle().await;
            let row = measure(&bed, &ctx, size, ticks).await;
            let least = *least.get_or_insert(row.tick);
            report.row([
                ("active reminders", json!(size)),
                ("tick p50 ms", json!(row.tick)),
                ("tick p99 ms", json!(row.tick_p99)),
                ("growth", json!(row.tick / least)),
                ("plan p50 ms", json!(row.plan)),
                ("dispatch p50 ms", json!(row.dispatch)),
                ("Postgres µs a tick", json!(row.postgres)),
                ("once at a scheduler's start ms", row.start),
            ]);
        }
        report.finish();
    });
}

struct Row {
    tick: f64,
    tick_p99: f64,
    plan: f64,
    dispatch: f64,
    postgres: f64,
    start: Value,
}

/// A tick is one round of all that looks whether something is due: schedules, doses, plans, the queues.
async fn measure(bed: &Bed, ctx: &Context, size: i64, ticks: u32) -> Row {
    let (mut whole, mut plans, mut dispatches) = (Vec::new(), Vec::new(), Vec::new());
    let mut postgres = 0.0;
    for round in 0..=ticks {
        if round == 1 {
            // The first round prepares statements and warms caches.
            (whole, plans, dispatches) = (Vec::new(), Vec::new(), Vec::new());
            postgres = bed.postgres_cpu();
        }
        let began = Instant::now();
        let planned = planner::plan_due(ctx, 500).await.expect("the planner looks");
        let after_plan = Instant::now();
        let taken = dispatch::dispatch_due(ctx, 1000, |step| NewJob::of(&MedicationReminder::from(step)));
        let taken = taken.await.expect("the dispatcher looks").taken;
        let after_dispatch = Instant::now();
        look(ctx).await.expect("schedules and queues read");
        assert_eq!((planned.reminders, taken), (0, 0), "nothing is due at {size} reminders");
        whole.push(began.elapsed().as_secs_f64() * 1000.0);
        plans.push((after_plan - began).as_secs_f64() * 1000.0);
        dispatches.push((after_dispatch - after_plan).as_secs_f64() * 1000.0);
    }
    let postgres = (bed.postgres_cpu() - postgres) / f64::from(ticks) * 1e6;
    let began = Instant::now();
    let mut tx = ctx.begin(Scope::Platform).await.expect("Postgres answers");
    let now = tx.now();
    doses::replan_for_tzdb(tx.conn(), tzdb_version(), now).await.expect("the version is compared");
    let start = json!(began.elapsed().as_secs_f64() * 1000.0);
    let [tick, _, tick_p99, _] = spread(&mut whole);
    Row { tick, tick_p99, plan: spread(&mut plans)[0], dispatch: spread(&mut dispatches)[0], postgres, start }
}

async fn look(ctx: &Context) -> Result<(), DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    let due = schedules::due(tx.conn(), now).await?;
    let lists: Vec<Fed> = Queue::ALL
        .into_iter()
        .flat_map(|queue| Priority::ALL.map(|priority| Fed { queue, priority: priority.level(), place: None }))
        .collect();
    let waiting = feed::lists_with_due(tx.conn(), &lists).await?;
    assert!(due.is_empty() && !waiting.contains(&true), "nothing is due");
    tx.commit().await
}

/// Patients `from..to` with a reminder that is planned for the next days, and its next dose.
async fn add_reminders(bed: &Bed, from: i64, to: i64) {
    let parts = [
        "INSERT INTO organizations (org_id, name, zone, created_at, updated_at)
           SELECT uuid('00000000-0000-7000-8000-000000000001'), 'Clinic', 'Europe/Berlin', now(), now() WHERE $1::bigint >= 0 AND $2::bigint > 0 AND $3::text <> ''
           ON CONFLICT DO NOTHING",
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, created_at, updated_at)
           SELECT uuid('10000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), '00000000-0000-7000-8000-000000000001', 'patient', 'P', i::text,
             'p' || i || '@patients.example.org', now(), now(), now() FROM generate_series($1::bigint, $2::bigint - 1) i WHERE $3::text <> ''",
        "INSERT INTO prescriptions (prescription_id, org_id, patient_id, medicine, created_at, updated_at)
           SELECT uuid('20000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), '00000000-0000-7000-8000-000000000001',
             uuid('10000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), 'Metformin 500 mg', now(), now() FROM generate_series($1::bigint, $2::bigint - 1) i WHERE $3::text <> ''",
        "INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, planned_through, planned_zone, planned_tzdb,
             replan, next_plan_at, created_at, updated_at)
           SELECT uuid('30000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), '00000000-0000-7000-8000-000000000001',
             uuid('20000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), uuid('10000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')),
             '{}', 'wall_clock', now() + interval '14 days', 'Europe/Berlin', $3, false, now() + interval '1 day' + i * interval '10 ms', now(), now()
           FROM generate_series($1::bigint, $2::bigint - 1) i",
        "INSERT INTO dose_occurrences (occurrence_id, org_id, reminder_id, patient_id, slot, due_at, zone, ladder_at, next_at, updated_at)
           SELECT uuid('40000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), '00000000-0000-7000-8000-000000000001',
             uuid('30000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')), uuid('10000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')),
             t, t, 'Europe/Berlin', t, t, now()
           FROM generate_series($1::bigint, $2::bigint - 1) i, LATERAL (SELECT now() + interval '6 hours' + i * interval '10 ms' AS t) d WHERE $3::text <> ''",
    ];
    for sql in parts {
        sqlx::query(sql)
            .bind(from)
            .bind(to)
            .bind(tzdb_version())
            .execute(&bed.pool)
            .await
            .unwrap_or_else(|error| panic!("cannot load: {error}"));
    }
}
