//! A worker that is killed in the middle of a backup.

use std::time::{Duration, Instant};

use pulsecal_core::ids::BackupId;
use pulsecal_jobs::BackupDatabase;
use pulsecal_tests::processes::Process;

use super::support::{Clinic, LIMIT};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_twenty_random_points_leaves_no_false_success_and_the_next_run_is_one() {
    let mut clinic = Clinic::new().await;
    clinic.with_belt("backups=1").await;
    let ctx = clinic.context();
    let begin = async || clinic.enqueue(&ctx, &BackupDatabase {}).await;
    // Chance: set the seed that a failing run printed to have it again.
    let seed = std::env::var("PULSECAL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let mut chance: u64 = seed.unwrap_or_else(|| ctx.ids.new_id::<BackupId>().0.as_u64_pair().1);
    eprintln!("PULSECAL_TEST_SEED={chance}");
    // How long one takes when nothing happens to it.
    let worker = Process::spawn("pulsecal-worker", clinic.env());
    worker.wait_line("takes jobs", LIMIT).await;
    begin().await;
    let began = Instant::now();
    worker.wait_line("backup.made", LIMIT).await;
    let whole = began.elapsed();
    worker.kill9();
    let mut made = clinic.listed().await.len();
    assert_eq!(made, 1);

    for trial in 0..20_u32 {
        let worker = Process::spawn("pulsecal-worker", clinic.env());
        worker.wait_line("takes jobs", LIMIT).await;
        begin().await;
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(chance >> 48).expect("16 bits");
        tokio::time::sleep(whole * part / 65_536).await;
        worker.kill9();
        let listed = clinic.listed().await;
        assert!(listed.iter().all(|(_, problem)| problem.is_none()), "trial {trial}: {listed:?}");
        assert!(listed.len() <= made + 1, "trial {trial}");
        made = listed.len();
        let claimed = clinic.count("SELECT count(*) FROM backups WHERE state = 'succeeded'").await;
        assert!(
            usize::try_from(claimed).expect("small") <= made,
            "trial {trial}: a run that left no backup is called a success"
        );
    }
    let last = clinic.backup().await;
    assert_eq!(clinic.listed().await.first().map(|(id, _)| id.clone()), Some(last));
    let left = std::fs::read_dir(clinic.folder.join("Blöbe hier/.unfinished")).expect("a folder").count();
    assert_eq!(left, 0, "unfinished uploads are swept");
    assert_eq!(clinic.count("SELECT count(*) FROM backups WHERE state = 'running'").await, 0);
    assert_eq!(
        clinic.count("SELECT count(*) FROM backups WHERE state = 'succeeded'").await,
        i64::try_from(made + 1).expect("small")
    );
    for (id, _) in clinic.listed().await.iter().take(3) {
        assert!(clinic.run(&["backup", "verify", id]).await.status.success());
    }
    assert!(whole < Duration::from_secs(30));
}
