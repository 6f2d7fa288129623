//! A backup and its way back; and six things that may happen to one, each of which is found and named.

use super::support::{Clinic, json};

/// What happens to a backup: its name, the dump's bytes after it, the other dump's if they change too, and what is said of it.
type Corruption<'a> = (&'a str, &'a [u8], Option<&'a [u8]>, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_listed_verified_drilled_and_restored() {
    let clinic = Clinic::new().await;
    let id = clinic.backup().await;
    assert_eq!(clinic.listed().await, [(id.clone(), None)]);
    let raw = std::fs::read(clinic.file(&id, "dump.zst.age")).expect("there");
    assert!(raw.starts_with(b"age-encryption.org/v1"), "it is encrypted");
    let drilled = clinic.run(&["--json", "backup", "drill", &id]).await;
    assert!(drilled.status.success(), "{}{}", drilled.stdout, drilled.stderr);
    let found = json(&drilled);
    assert!(
        found["tables"].as_i64() > Some(20)
            && found["rows"].as_i64() > Some(5000)
            && found["newest_row_at"].is_string(),
        "{found}"
    );
    assert_eq!(clinic.count("SELECT count(*) FROM pg_database WHERE datname LIKE 'pulsecal_drill_%' AND datname LIKE '%' || (SELECT replace(backup_id::text, '-', '') FROM backups)").await, 0);
    assert_eq!(clinic.count("SELECT count(*) FROM backups WHERE state = 'succeeded' AND drilled_at IS NOT NULL AND drill_seconds > 0").await, 1);
    for action in ["backup.create", "backup.drill"] {
        let entries = clinic.count("SELECT count(*) FROM audit_entries WHERE action LIKE 'backup.%'").await;
        assert_eq!(entries, 2, "{action}");
    }
    // Into a database of that name, which must have no tables.
    let refused = clinic.run(&["backup", "restore", "--database", clinic.db.name()]).await;
    assert!(
        refused.status.code() == Some(1) && refused.stderr.contains("restored into an empty one only"),
        "{}",
        refused.stderr
    );
    let target = format!("{}_restored", clinic.db.name());
    let restored = clinic.run(&["backup", "restore", "--database", &target]).await;
    assert!(restored.status.success(), "{}", restored.stderr);
    let pool = sqlx::PgPool::connect(&clinic.db.url().replace(clinic.db.name(), &target)).await.expect("it is there");
    let name: String = sqlx::query_scalar("SELECT name FROM organizations").fetch_one(&pool).await.expect("reads");
    assert_eq!(name, "A \t\\N\n'\"ü");
    pool.close().await;
    let pool = clinic.db.pool().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {target} WITH (FORCE)")))
        .execute(&pool)
        .await
        .expect("drops");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_six_corruptions_is_found_and_named() {
    let clinic = Clinic::new().await;
    let older = clinic.backup().await;
    clinic.sql("DELETE FROM people WHERE given_name > 'P3'").await;
    let newer = clinic.backup().await;
    let (file, other) = (clinic.file(&newer, "dump.zst.age"), clinic.file(&older, "dump.zst.age"));
    let (good, old) = (std::fs::read(&file).expect("there"), std::fs::read(&other).expect("there"));
    assert!(good.len() > 100_000, "{} bytes are too few to cut a hole into", good.len());
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let hole = [&good[..10_000], &good[20_000..]].concat();
    let cases: [Corruption<'_>; 5] = [
        ("bit flip", &flipped, None, "bit flip"),
        ("truncation", &good[..good.len() - 1], None, "truncated"),
        ("missing part", &hole, None, "missing part"),
        ("swapped", &old, Some(&good), "swapped object"),
        ("older", &old, None, "older object under the same name"),
    ];
    for (name, content, others, said) in cases {
        std::fs::write(&file, content).expect("changed");
        std::fs::write(&other, others.unwrap_or(&old)).expect("changed");
        for how in ["verify", "drill"] {
            let done = clinic.run(&["backup", how, &newer]).await;
            assert_eq!(done.status.code(), Some(2), "{name}, {how}: {}{}", done.stdout, done.stderr);
            assert!(done.stderr.contains(said), "{name}, {how}: {}", done.stderr);
        }
    }
    std::fs::write(&file, &good).expect("put back");
    std::fs::write(&other, &old).expect("put back");
    assert!(clinic.run(&["backup", "drill", &newer]).await.status.success());

    // The wrong key, and one more thing: a manifest that was changed.
    clinic.keygen("stranger").await;
    let mut env = clinic.env();
    env.retain(|(name, _)| name != "BACKUP_IDENTITY_FILE");
    env.push(("BACKUP_IDENTITY_FILE".into(), clinic.folder.join("stranger").display().to_string()));
    for how in ["verify", "drill"] {
        let done =
            pulsecal_tests::processes::run("pulsecal", &["backup", how, &newer], env.clone(), super::support::LIMIT)
                .await;
        assert!(done.status.code() == Some(2) && done.stderr.contains("wrong key"), "{how}: {}", done.stderr);
    }
    let manifest = clinic.file(&newer, "manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("there");
    std::fs::write(&manifest, text.replacen("\"rows\":", "\"rows\":1", 1)).expect("changed");
    let done = clinic.run(&["backup", "verify", &newer]).await;
    assert!(done.status.code() == Some(2) && done.stderr.contains("signature"), "{}", done.stderr);
    assert!(clinic.listed().await.iter().any(|(id, problem)| *id == newer && problem.is_some()));
    std::fs::remove_file(&manifest).expect("removed");
    assert_eq!(clinic.listed().await, [(older, None)], "without a manifest there is no backup");
}
