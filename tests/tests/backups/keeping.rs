//! What is kept: by `pulsecal backup prune`, and by the job that makes the nightly backup. The blobs are real; those of earlier
//! days are copies of one, with manifests that were signed for their day.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_jobs::BackupDatabase;
use pulsecal_tests::processes::Process;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::support::{Clinic, LIMIT, files, json as printed};

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// A backup as one that was made at `at` would lie there.
fn copy(clinic: &Clinic, of: &str, at: DateTime<Utc>) -> String {
    let milliseconds = u128::try_from(at.timestamp_millis()).expect("after 1970");
    let id = Uuid::from_u128((milliseconds << 80) | (7 << 76) | (2 << 62)).to_string();
    let text = std::fs::read_to_string(clinic.file(of, "manifest.json")).expect("a manifest");
    let mut manifest = serde_json::from_str::<Value>(&text).expect("JSON")["manifest"].take();
    manifest["id"] = json!(id);
    manifest["seen"]["at"] = json!(at);
    let manifest = manifest.to_string();
    let key = hmac(b"0123456789abcdef0123456789abcdef", b"pulsecal backup manifest");
    let signature: String = hmac(&key, manifest.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let to = clinic.file(&id, "manifest.json");
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
    std::fs::write(to, format!(r#"{{"signature":"{signature}","manifest":{manifest}}}"#)).expect("written");
    std::fs::copy(clinic.file(of, "dump.zst.age"), clinic.file(&id, "dump.zst.age")).expect("copied");
    id
}

/// The newest of each of the newest `count` periods, by the name of the period.
fn newest_of(all: &[(String, DateTime<Utc>)], count: usize, period: &str) -> Vec<String> {
    let mut periods = BTreeSet::new();
    let newest = all.iter().filter(|(_, at)| periods.insert(at.format(period).to_string()));
    newest.take(count).map(|(id, _)| id.clone()).collect()
}

fn ids(of: &[(String, Option<String>)]) -> BTreeSet<String> {
    of.iter().map(|(id, _)| id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_and_the_nightly_job_remove_what_is_not_kept_and_never_the_newest_proven_one() {
    let mut clinic = Clinic::new().await;
    clinic.set("BACKUP_KEEP", "3d,2w,2m");
    let first = clinic.backup().await;
    let text = std::fs::read_to_string(clinic.file(&first, "manifest.json")).expect("a manifest");
    let at = serde_json::from_str::<Value>(&text).expect("JSON")["manifest"]["seen"]["at"].take();
    let at: DateTime<Utc> = serde_json::from_value(at).expect("a time");
    let mut all = vec![(first.clone(), at)];
    for day in 1..=40 {
        let then = at - TimeDelta::days(day);
        all.push((copy(&clinic, &first, then), then));
    }
    let listed = clinic.listed().await;
    assert!(listed.len() == 41 && listed.iter().all(|(_, problem)| problem.is_none()), "{listed:?}");
    // The newest is not proven; one that no rule keeps is the newest that is.
    let proven = all[33].0.clone();
    clinic.sql("UPDATE backups SET verified_at = NULL").await;
    let pool = clinic.db.pool().await;
    sqlx::query("INSERT INTO backups (backup_id, database_name, state, started_at, ended_at, verified_at) VALUES ($1::uuid, current_database(), 'succeeded', $2, $2, $2)")
        .bind(&proven)
        .bind(all[33].1)
        .execute(&pool)
        .await
        .expect("on record");

    let mut kept: BTreeSet<String> = newest_of(&all, 3, "%F").into_iter().collect();
    kept.extend(newest_of(&all, 2, "%G-%V"));
    kept.extend(newest_of(&all, 2, "%Y-%m"));
    kept.insert(proven.clone());
    let removed: BTreeSet<String> = all.iter().map(|(id, _)| id.clone()).filter(|id| !kept.contains(id)).collect();
    let said = async |arguments: &[&str]| -> BTreeSet<String> {
        let done = clinic.run(arguments).await;
        assert!(done.status.success(), "{}", done.stderr);
        serde_json::from_value(printed(&done)["removed"].take()).expect("ids")
    };
    assert_eq!(said(&["--json", "backup", "prune", "--dry-run"]).await, removed);
    assert_eq!(clinic.listed().await.len(), 41, "a dry run removes nothing");
    assert_eq!(said(&["--json", "backup", "prune"]).await, removed);
    assert_eq!(ids(&clinic.listed().await), kept);
    assert!(said(&["--json", "backup", "prune"]).await.is_empty(), "what is kept stays kept");
    let entries = "SELECT count(*) FROM audit_entries WHERE action = 'backup.delete' AND outcome = 'success'";
    assert_eq!(usize::try_from(clinic.count(entries).await).ok(), Some(removed.len()));
    assert!(clinic.run(&["backup", "verify", &proven]).await.status.success());

    // The night after, with a shorter rule: only what it made stays, since that is proven now.
    clinic.with_belt("backups=1").await;
    clinic.set("BACKUP_KEEP", "1d");
    let worker = Process::spawn("pulsecal-worker", clinic.env());
    worker.wait_line("takes jobs", LIMIT).await;
    let job = clinic.enqueue(&clinic.context(), &BackupDatabase {}).await;
    assert_eq!(clinic.ended(job).await.0, "done");
    let listed = clinic.listed().await;
    assert!(listed.len() == 1 && listed[0].1.is_none() && !kept.contains(&listed[0].0), "{listed:?}");
    assert_eq!(files(&clinic.folder.join("Blöbe hier")).len(), 2, "a dump and a manifest");
    let gone = "SELECT count(*) FROM backups WHERE state = 'deleted'";
    assert_eq!(clinic.count(gone).await, 2, "of those that the table knows");
}
