//! Sealing beside writers, and after a restore into another cluster.

use std::time::Duration;

use pulsecal_core::audit::seal;
use pulsecal_core::ids::OrgId;
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit;
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;

use crate::support::{LIMIT, Ledger, entry, org};

#[tokio::test]
async fn writers_and_three_sealers_at_once_leave_chains_without_gaps() {
    let ledger = Ledger::open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8_usize {
        let ctx = ledger.ctx.clone();
        tasks.spawn(async move {
            for round in 0..20 {
                let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
                let whose: Vec<Option<OrgId>> = vec![Some(org(1)), Some(org(2 + writer as u128 % 3)), None];
                let entries: Vec<_> = whose.into_iter().map(|org| entry(org, round)).collect();
                let now = tx.now();
                audit::write(tx.conn(), ctx.ids, &entries, now).await.expect("writes");
                // Transactions end in another order than they began.
                tokio::time::sleep(Duration::from_millis((writer as u64 * 7 + round as u64 * 5) % 23)).await;
                if round % 5 < 4 {
                    tx.commit().await.expect("commits");
                }
            }
        });
    }
    let mut sealers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let ctx = ledger.ctx.clone();
        sealers.spawn(async move {
            for _ in 0..30 {
                seal::seal_round(&ctx).await.expect("seals");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    tasks.join_all().await;
    sealers.join_all().await;
    ledger.seal().await;
    assert_eq!(ledger.count("SELECT count(*) FROM audit_chain").await, 8 * 16 * 3);
    let (code, said) = ledger.verify(&[]).await;
    assert_eq!((code, &said["links"]), (0, &serde_json::json!(8 * 16 * 3)), "{said}");
}

#[tokio::test]
async fn the_scheduler_seals_by_itself_and_leaves_a_signed_head() {
    let ledger = Ledger::open().await;
    ledger.write(Some(org(1)), 5).await;
    let mut env = ledger.env();
    env.push(("REDIS_URL".into(), Redis::shared().await.url().to_owned()));
    env.push(("REDIS_PREFIX".into(), ledger.db.name().to_owned()));
    let scheduler = Process::spawn("pulsecal-scheduler", env);
    let heads = ledger.folder.join("blobs/audit/heads");
    let file = until(LIMIT, "a signed head is written", async || {
        std::fs::read_dir(&heads).ok()?.flatten().map(|file| file.path()).find(|path| path.extension().is_some())
    })
    .await;
    let (code, said) = ledger.verify(&["--against", file.to_str().expect("a path of ours")]).await;
    assert_eq!((code, &said["links"]), (0, &serde_json::json!(5)), "{said}");
    scheduler.stop_gracefully(LIMIT).await;
}

/// The marks are those of a cluster whose transactions had far higher numbers, as a restored database has them.
#[tokio::test]
async fn a_database_restored_into_a_younger_cluster_goes_on_being_sealed_and_counted() {
    let ledger = Ledger::open().await;
    ledger.write(Some(org(1)), 6).await;
    ledger.seal().await;
    assert!(ledger.pulsecal(&["audit", "rollup"]).await.status.success());
    ledger
        .tamper("UPDATE audit_marks SET cluster = 1, xid = xid + 1000000000; UPDATE audit_entries SET xid = xid + 999000000")
        .await;
    ledger.tamper("DELETE FROM audit_chain").await;
    ledger.write(Some(org(1)), 4).await;
    ledger.seal().await;
    ledger.write(Some(org(1)), 3).await;
    ledger.seal().await;
    let (code, said) = ledger.verify(&[]).await;
    assert_eq!((code, &said["links"]), (0, &serde_json::json!(13)), "{said}");
    until(LIMIT, "all is counted", async || {
        assert!(ledger.pulsecal(&["audit", "rollup"]).await.status.success());
        (ledger.count("SELECT coalesce(sum(entries), 0)::bigint FROM audit_daily").await == 13).then_some(())
    })
    .await;
    let checked = ledger.pulsecal(&["audit", "rollup", "--check", "--json"]).await;
    assert_eq!((checked.status.code(), checked.stdout.trim()), (Some(0), "[]"));
}
