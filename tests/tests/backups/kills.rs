//! A worker that is killed in the middle of a backup.

use std::time::{Duration, Instant};

use pulsecal_core::config::Config;
use pulsecal_core::ledger::NewJob;
use pulsecal_core::store::Scope;
use pulsecal_jobs::BackupDatabase;
use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::Redis;

use super::support::{Clinic, LIMIT};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_twenty_points_leaves_no_false_success_and_the_next_run_is_one() {
    let mut clinic = Clinic::new().await;
    let redis = Redis::shared().await;
    clinic.more = [("REDIS_URL", redis.url()), ("REDIS_PREFIX", clinic.db.name()), ("WORKER_QUEUES", "backups=1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let env = clinic.env();
    let lookup = |name: &'static str| env.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
    let config = Config::read(&lookup).expect("the environment is right");
    let ctx = pulsecal_core::process::context(&config, "cli").expect("a context");
    let begin = async || {
        let mut tx = ctx.begin(Scope::Platform).await.expect("begins");
        let job = NewJob::of(&BackupDatabase {}).expect("a job").beside_others();
        tx.enqueue_all(vec![job]).await.expect("enqueued");
        tx.commit().await.expect("commits");
    };
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
        tokio::time::sleep(whole * trial / 19).await;
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
