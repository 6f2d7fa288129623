//! Heavy work that never ends: a backup, and two exports at a time, one after the other for as long as it is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pulsecal_core::context::Context;
use pulsecal_core::exports::{Column, CsvOptions, Filters, Format, Spec};
use pulsecal_core::ids::{ExportId, Ids, OrgId, PersonId};
use pulsecal_core::ledger::{Enqueued, Job};
use pulsecal_core::store::Scope;
use pulsecal_core::store::exports::{self, NewExport};
use pulsecal_core::time::Zone;
use pulsecal_jobs::{BackupDatabase, ExportReport};
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::bed::Bed;

/// A clinic with so many visits that an export of them takes its time, and a backup with them.
#[derive(Clone, Copy)]
pub struct Heavy {
    org: OrgId,
    nurse: PersonId,
}

/// Heavy work under way.
pub struct UnderWay {
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    samples: Arc<std::sync::Mutex<(u32, u32)>>,
}

impl Heavy {
    /// Loads it.
    pub async fn load(bed: &Bed, visits: i32) -> Self {
        let (org, nurse): (OrgId, PersonId) = (Ids.new_id(), Ids.new_id());
        let run = async |sql: &'static str| {
            sqlx::query(sql).bind(org.0).bind(nurse.0).bind(visits).execute(&bed.pool).await.expect("a clinic");
        };
        run("INSERT INTO organizations (org_id, name, zone, created_at, updated_at) SELECT $1, 'Clinic', 'Europe/Berlin', now(), now() WHERE $2::uuid IS NOT NULL AND $3::int > 0").await;
        run("INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at)
             SELECT CASE WHEN i = 0 THEN $2 ELSE gen_random_uuid() END, $1, CASE WHEN i < 50 THEN 'doctor' ELSE 'patient' END, 'Given' || i % 97, 'Family-' || i, now(), now()
             FROM generate_series(0, 5000) i WHERE $3::int > 0").await;
        run("WITH d AS (SELECT array_agg(person_id) AS all FROM people WHERE role = 'doctor'), p AS (SELECT array_agg(person_id) AS all FROM people WHERE role = 'patient')
             INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, place, created_at, updated_at)
             SELECT gen_random_uuid(), $1, p.all[1 + i % 4900], d.all[1 + i % 50], t, t + interval '20 minutes', 'fulfilled', 'Room ' || i % 40, t, t
             FROM generate_series(0, $3 - 1) AS i, d, p, LATERAL (SELECT timestamptz '2016-01-01Z' + i * interval '1 minute' AS t) AS at WHERE $2::uuid IS NOT NULL").await;
        bed.settle().await;
        Self { org, nurse }
    }

    /// Begins; when this returns, all three run.
    pub async fn begin(self, bed: &Bed) -> UnderWay {
        let over = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(std::sync::Mutex::new((0, 0)));
        let mut tasks = JoinSet::new();
        for place in 0..3 {
            let (ctx, pool, over) = (bed.context("api"), bed.pool.clone(), over.clone());
            tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if place == 0 { self.back_up(&ctx, &pool).await } else { self.export(&ctx, &pool).await }
                }
            });
        }
        pulsecal_tests::wait::until(Duration::from_secs(30), "a backup and two exports run", async || {
            (running(&bed.pool).await == (1, 2)).then_some(())
        })
        .await;
        let (pool, told, sampled) = (bed.pool.clone(), over.clone(), samples.clone());
        tasks.spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let (backups, exports) = running(&pool).await;
                {
                    let mut sampled = sampled.lock().unwrap_or_else(|broken| broken.into_inner());
                    sampled.0 += 1;
                    sampled.1 += u32::from(backups == 1 && exports == 2);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        UnderWay { over, tasks, samples }
    }

    async fn back_up(self, ctx: &Context, pool: &PgPool) {
        let mut tx = ctx.begin(Scope::Platform).await.expect("Postgres answers");
        let enqueued = tx.enqueue(&BackupDatabase {}).await.map_err(|error| error.to_string()).expect("enqueued");
        tx.commit().await.expect("the commit holds");
        if let Enqueued::New(id) = enqueued {
            over(pool, id.0).await;
        }
    }

    async fn export(self, ctx: &Context, pool: &PgPool) {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let (columns, csv) = (Column::USUAL.to_vec(), CsvOptions::default());
        let spec = Spec { format: Format::Csv, columns, filters: Filters::default(), zone, csv };
        let id: ExportId = Ids.new_id();
        let mut tx = ctx.begin(Scope::Org(self.org)).await.expect("Postgres answers");
        let report = ExportReport { v: 1, org: self.org, export: id };
        let enqueued = tx.enqueue(&report).await.map_err(|error| error.to_string()).expect("enqueued");
        let Enqueued::New(job) = enqueued else { panic!("a new job") };
        let now = tx.now();
        let new = NewExport { id, org: self.org, by: self.nurse, spec: &spec, job };
        exports::insert(tx.conn(), &new, now).await.expect("on record");
        tx.commit().await.expect("the commit holds");
        over(pool, job.0).await;
    }
}

impl UnderWay {
    /// Ends when what runs has ended, and says for which share of the time all three ran.
    pub async fn end(mut self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("heavy work goes on");
        }
        let (all, three) = *self.samples.lock().unwrap_or_else(|broken| broken.into_inner());
        f64::from(three) / f64::from(all.max(1))
    }
}

async fn over(pool: &PgPool, job: uuid::Uuid) {
    for _ in 0..6000 {
        let state = sqlx::query_scalar("SELECT state FROM job_history WHERE id = $1").bind(job).fetch_optional(pool);
        let state: Option<String> = state.await.expect("Postgres answers");
        if let Some(state) = state {
            assert_eq!(state, "done");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a heavy job is not over after five minutes");
}

/// Backups and exports that run at this moment.
async fn running(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("SELECT count(*) FILTER (WHERE kind = $1), count(*) FILTER (WHERE kind = $2) FROM jobs WHERE worker IS NOT NULL")
        .bind(BackupDatabase::KIND)
        .bind(ExportReport::KIND)
        .fetch_one(pool)
        .await
        .expect("Postgres answers")
}
