//! When a crash is held against a job, asked of the rescue itself: it declares nobody dead for what another may have done.

use pulsecal_core::ids::ProcessId;
use pulsecal_core::store::finish::rescue;
use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::servers::Postgres;
use sqlx::PgPool;
use uuid::Uuid;

struct Ledger {
    pool: PgPool,
    _db: TestDatabase,
}

impl Ledger {
    async fn new() -> Self {
        let db = TestDatabase::create(Postgres::shared().await).await;
        Self { pool: db.pool().await, _db: db }
    }

    async fn insert(&self, id: u128, max_attempts: i32) {
        sqlx::query(
            "INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) VALUES ($1, 'noop', 'maintenance', '{}', now(), $2, now())",
        )
        .bind(Uuid::from_u128(id))
        .bind(max_attempts)
        .execute(&self.pool)
        .await
        .expect("the job goes in");
    }

    /// Each of these sets is claimed by a process, and the processes die at the same time. Gives how often each job has
    /// crashed by then; none: it is dead.
    async fn crash(&self, processes: &[&[u128]]) -> Vec<Option<i16>> {
        let workers: Vec<ProcessId> =
            (0..).take(processes.len()).map(|n| ProcessId(Uuid::from_u128(100 + n))).collect();
        let ids: Vec<(Uuid, ProcessId)> = processes
            .iter()
            .zip(&workers)
            .flat_map(|(ids, worker)| ids.iter().map(|id| (Uuid::from_u128(*id), *worker)))
            .collect();
        let mut conn = self.pool.acquire().await.expect("a connection");
        for (id, worker) in &ids {
            let claim = "UPDATE jobs SET worker = $2, attempt = attempt + 1, started_at = now() WHERE id = $1";
            let claimed = sqlx::query(claim).bind(id).bind(worker.0).execute(&mut *conn).await.expect("claims");
            assert_eq!(claimed.rows_affected(), 1, "it was there to be claimed");
        }
        let (back, dead) = rescue(&mut conn, &workers).await.expect("rescues");
        assert_eq!(back + dead, ids.len() as u64);
        let mut crashes = Vec::new();
        for (id, _) in ids {
            let row = sqlx::query_scalar("SELECT crashes FROM jobs WHERE id = $1 AND worker IS NULL").bind(id);
            let live: Option<i16> = row.fetch_optional(&mut *conn).await.expect("reads");
            let row = sqlx::query_scalar("SELECT crashes FROM job_history WHERE id = $1 AND state = 'dead'").bind(id);
            let dead: Option<i16> = row.fetch_optional(&mut *conn).await.expect("reads");
            assert!(live.is_some() != dead.is_some(), "it is live or dead");
            crashes.push(live);
        }
        crashes
    }
}

/// 1 kills, 2 is innocent, and all that 2 is in by the rules of the suspects' lane is: once among all, once in a group with 1.
#[tokio::test]
async fn two_crashes_end_nobody_however_few_the_attempts() {
    for max_attempts in 1..=5 {
        let ledger = Ledger::new().await;
        ledger.insert(1, max_attempts).await;
        ledger.insert(2, max_attempts).await;
        assert_eq!(ledger.crash(&[&[1, 2]]).await, [Some(1), Some(1)]);
        assert_eq!(ledger.crash(&[&[1, 2]]).await, [Some(2), Some(2)]);
        // The innocent one is done now. The other one goes on alone until its attempts are used up.
        for attempt in 3..max_attempts.max(3) {
            assert_eq!(ledger.crash(&[&[1]]).await, [Some(i16::try_from(attempt).expect("small"))]);
        }
        assert_eq!(ledger.crash(&[&[1]]).await, [None], "dead, with {max_attempts} attempts");
    }
}

/// Ordinary jobs run beside one that runs alone of its sort, and may be what kills.
#[tokio::test]
async fn the_third_crash_counts_only_against_who_was_all_by_itself() {
    let ledger = Ledger::new().await;
    for id in 1..=5 {
        ledger.insert(id, 1).await;
    }
    ledger.crash(&[&[1, 2]]).await;
    ledger.crash(&[&[1, 2]]).await;
    assert_eq!(ledger.crash(&[&[2, 3]]).await, [Some(3), Some(1)], "3 may have been the one");
    // What runs in another process is nobody's neighbour, though both die at the same time.
    assert_eq!(ledger.crash(&[&[1], &[4]]).await, [None, Some(1)], "nobody was beside 1");
    // There is an end to it all the same.
    assert_eq!(ledger.crash(&[&[2, 5]]).await, [None, Some(1)]);
}
