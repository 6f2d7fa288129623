//! The tick: schedules whose slot has come fire once, whatever number of schedulers there are. A slot is a row, written in
//! the transaction that enqueues its job: that row, not a leader, is what makes one firing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::context::Context;
use pulsecal_core::ledger::{Enqueued, Registry};
use pulsecal_core::process::Failure;
use pulsecal_core::store::schedules::{self, ScheduleRow, Shipped};
use pulsecal_core::store::{DbError, Scope, Tx, doses};
use pulsecal_core::telemetry::Loop;
use pulsecal_core::time::misfire::{ON_TIME, SlotVerdict};
use pulsecal_core::time::{CronExpr, FoldRule, GapRule, Misfire, OverlapPolicy, Zone, tzdb_version};
use tokio_util::sync::CancellationToken;

/// How often the tick looks.
const EVERY: Duration = Duration::from_millis(250);
/// Slots decided one by one in a pass; older ones beyond this are recorded in the next pass.
const MOST_SLOTS: usize = 2000;

/// The schedules that the code ships.
const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "materialise_doses",
        cron: "0 */15 * * * *",
        zone: "UTC",
        job_kind: "materialise_doses",
        misfire: "coalesce",
        window_seconds: 86_400,
    },
    Shipped {
        name: "sweep_no_shows",
        cron: "30 */5 * * * *",
        zone: "UTC",
        job_kind: "sweep_no_shows",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "keep_history",
        cron: "0 40 2 * * *",
        zone: "UTC",
        job_kind: "keep_history",
        misfire: "coalesce",
        window_seconds: 604_800,
    },
    Shipped {
        name: "forget_answers",
        cron: "0 25 * * * *",
        zone: "UTC",
        job_kind: "forget_answers",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "audit_rollup",
        cron: "0 */2 * * * *",
        zone: "UTC",
        job_kind: "audit_rollup",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "audit_check",
        cron: "0 7 * * * *",
        zone: "UTC",
        job_kind: "audit_check",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "sweep_exports",
        cron: "30 * * * * *",
        zone: "UTC",
        job_kind: "sweep_exports",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "tidy_exports",
        cron: "0 50 * * * *",
        zone: "UTC",
        job_kind: "tidy_exports",
        misfire: "coalesce",
        window_seconds: 3600,
    },
    Shipped {
        name: "backup_database",
        cron: "0 0 3 * * *",
        zone: "UTC",
        job_kind: "backup_database",
        misfire: "coalesce",
        window_seconds: 86_400,
    },
    Shipped {
        name: "drill_backup",
        cron: "0 0 5 * * SUN",
        zone: "UTC",
        job_kind: "drill_backup",
        misfire: "coalesce",
        // One that was missed on Sunday is made up for on any later day.
        window_seconds: 604_800,
    },
];

/// Ships the schedules, and has reminders planned anew after an update of the tz database.
///
/// # Errors
/// A shipped schedule that does not parse.
pub async fn ship(ctx: &Context, stop: &CancellationToken) -> Result<(), Failure> {
    while !stop.is_cancelled() {
        match try_ship(ctx).await {
            Ok(()) => return Ok(()),
            Err(Shipping::Wrong(why)) => return Err(Failure::new(why)),
            Err(Shipping::Db(error)) => {
                tracing::warn!(error = %error, "tick.ship: Postgres is away, or `pulsecal migrate` has not run; tries again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    Ok(())
}

enum Shipping {
    Wrong(String),
    Db(DbError),
}

impl From<DbError> for Shipping {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

async fn try_ship(ctx: &Context) -> Result<(), Shipping> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let now = tx.now();
    for shipped in SHIPPED {
        let cron: CronExpr =
            shipped.cron.parse().map_err(|error| Shipping::Wrong(format!("schedule {}: {error}", shipped.name)))?;
        let zone: Zone =
            shipped.zone.parse().map_err(|error| Shipping::Wrong(format!("schedule {}: {error}", shipped.name)))?;
        let next = cron.next(zone, GapRule::default(), FoldRule::default(), now);
        schedules::ship(tx.conn(), shipped, next, now).await?;
    }
    let again = doses::replan_for_tzdb(tx.conn(), tzdb_version(), now).await?;
    if again > 0 {
        tracing::info!(
            reminders = again,
            tzdb = tzdb_version(),
            "tick.tzdb: another version of the tz database; these are planned anew"
        );
    }
    tx.commit().await?;
    Ok(())
}

/// Runs until `stop`.
pub async fn run(ctx: Context, moved: Loop, stop: CancellationToken) {
    let registry = pulsecal_jobs::registry();
    crate::process::repeat("tick", moved, stop, || async {
        let mut tx = ctx.begin(Scope::Platform).await?;
        let due = {
            let now = tx.now();
            schedules::due(tx.conn(), now).await?
        };
        for schedule in &due {
            fire(&mut tx, &registry, schedule).await?;
        }
        tx.commit().await?;
        Ok::<_, DbError>(EVERY)
    })
    .await;
}

async fn fire(tx: &mut Tx, registry: &Registry, schedule: &ScheduleRow) -> Result<(), DbError> {
    let now = tx.now();
    let Some(rule) = Rule::of(schedule) else {
        // An operator's row that cannot be read; it must not stop the others, and is looked at again in a minute.
        tracing::error!(schedule = schedule.name, "tick: this schedule cannot be read; see `pulsecal schedules`");
        return schedules::move_on(
            tx.conn(),
            &schedule.name,
            schedule.decided_until,
            Some(now + TimeDelta::minutes(1)),
        )
        .await;
    };
    // After a long pause, what is too late for any policy is one row, not thousands.
    let cut = now - rule.misfire.window.max(ON_TIME);
    if let Some(first) =
        rule.cron.next(rule.zone, rule.gap, rule.fold, schedule.decided_until).filter(|slot| *slot < cut)
    {
        let reason = format!("too late, as all slots until {cut}");
        schedules::decide(tx.conn(), &schedule.name, first, "missed", Some(&reason), now).await?;
        tracing::warn!(schedule = schedule.name, slot = %first, reason, "tick.missed");
    }
    let from = schedule.decided_until.max(cut);
    let slots = rule.cron.slots(rule.zone, rule.gap, rule.fold, from, now, MOST_SLOTS);
    let until = if slots.len() == MOST_SLOTS { slots.last().copied().unwrap_or(now) } else { now };
    for (slot, verdict) in rule.misfire.judge(&slots, now) {
        match verdict {
            SlotVerdict::Missed { reason } => {
                schedules::decide(tx.conn(), &schedule.name, slot, "missed", Some(reason.as_str()), now).await?;
                tracing::warn!(schedule = schedule.name, slot = %slot, reason = reason.as_str(), "tick.missed");
            }
            SlotVerdict::Fire => fire_slot(tx, registry, schedule, &rule, slot).await?,
        }
    }
    let next = rule.cron.next(rule.zone, rule.gap, rule.fold, until);
    schedules::move_on(tx.conn(), &schedule.name, until, next).await
}

async fn fire_slot(
    tx: &mut Tx,
    registry: &Registry,
    schedule: &ScheduleRow,
    rule: &Rule,
    slot: DateTime<Utc>,
) -> Result<(), DbError> {
    let now = tx.now();
    if rule.overlap == OverlapPolicy::Skip && schedules::runs_still(tx.conn(), &schedule.name).await? {
        schedules::decide(tx.conn(), &schedule.name, slot, "missed", Some("overlap"), now).await?;
        tracing::warn!(schedule = schedule.name, slot = %slot, reason = "overlap", "tick.missed: the run before has not ended");
        return Ok(());
    }
    let job = registry.kind(&schedule.job_kind).map(|kind| kind.enqueue(schedule.args.clone()));
    let Some(Ok(job)) = job else {
        schedules::decide(
            tx.conn(),
            &schedule.name,
            slot,
            "missed",
            Some("its job kind or args are not understood"),
            now,
        )
        .await?;
        tracing::error!(schedule = schedule.name, "tick: its job kind or args are not understood");
        return Ok(());
    };
    if !schedules::decide(tx.conn(), &schedule.name, slot, "fired", None, now).await? {
        return Ok(());
    }
    if let Some(Enqueued::New(id)) = tx.enqueue_all(vec![job]).await?.first() {
        schedules::fired(tx.conn(), &schedule.name, slot, *id).await?;
        metrics::gauge!("pulsecal_schedule_lateness_seconds", "schedule" => schedule.name.clone())
            .set((now - slot).as_seconds_f64());
        tracing::info!(schedule = schedule.name, slot = %slot, job.id = %id, "tick.fired");
    }
    Ok(())
}

struct Rule {
    cron: CronExpr,
    zone: Zone,
    gap: GapRule,
    fold: FoldRule,
    overlap: OverlapPolicy,
    misfire: Misfire,
}

impl Rule {
    fn of(row: &ScheduleRow) -> Option<Self> {
        Some(Self {
            cron: row.cron.parse().ok()?,
            zone: row.zone.parse().ok()?,
            gap: row.gap.parse().ok()?,
            fold: row.fold.parse().ok()?,
            overlap: row.overlap.parse().ok()?,
            misfire: Misfire {
                policy: row.misfire.parse().ok()?,
                window: TimeDelta::seconds(i64::from(row.window_seconds)),
            },
        })
    }
}
