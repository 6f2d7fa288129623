//! What goes wrong while a backup or a drill is at work: each ends in a clear state, nothing is left, and the next one is made.

use std::process::Command;
use std::time::Duration;

use pulsecal_core::backup;
use pulsecal_core::store::audit::Actor;
use pulsecal_jobs::{BackupDatabase, DrillBackup};
use pulsecal_tests::fault_proxy::{FaultProxy, Mode, url_through};
use pulsecal_tests::processes::{Binaries, Process};
use pulsecal_tests::s3_server::S3Server;
use pulsecal_tests::wait::until;

use super::support::{Clinic, LIMIT, files, go_on, half_way, with_pg_dump_that_waits};

const FAILED: &str = "SELECT count(*) FROM backups WHERE state = 'failed'";
const RUNNING: &str = "SELECT count(*) FROM backups WHERE state = 'running'";
const MUCH: &str = "INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) SELECT gen_random_uuid(), '', '', '', now(), convert_to(repeat(md5(n::text), 100), 'UTF8') FROM generate_series(1, 20000) n";
const SUCCEEDED: &str = "SELECT count(*) FROM backups WHERE state = 'succeeded'";

/// The next one is made, is the only one, and all else of it is on record.
async fn the_next_one_succeeds(clinic: &Clinic) {
    let id = clinic.backup().await;
    assert_eq!(clinic.listed().await, [(id, None)]);
    assert_eq!(clinic.left_over().await, Vec::<std::path::PathBuf>::new());
    assert_eq!((clinic.count(SUCCEEDED).await, clinic.count(RUNNING).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_said_in_words_and_nothing_is_left() {
    let clinic = Clinic::new().await;
    // Files of this process end at 32 KiB, as on a disk that has no more.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" backup create"]).arg(Binaries::get().path("pulsecal"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(clinic.env());
    let full = Process::spawn_command("pulsecal", command);
    full.wait_line("the blob store is full", LIMIT).await;
    assert_eq!(full.wait_exit(LIMIT).await.code(), Some(1));
    assert_eq!(clinic.left_over().await, Vec::<std::path::PathBuf>::new());
    assert_eq!(
        clinic.count("SELECT count(*) FROM backups WHERE state = 'failed' AND problem LIKE '%store is full%'").await,
        1
    );
    the_next_one_succeeds(&clinic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cancelled_or_out_of_time_is_on_record_as_failed_and_leaves_nothing() {
    let mut clinic = Clinic::new().await;
    clinic.with_belt("backups=1").await;
    let bin = with_pg_dump_that_waits(&clinic.folder, 300_000);
    clinic.set("PG_BIN", &bin);
    let ctx = clinic.context();
    let worker = Process::spawn("pulsecal-worker", clinic.env());
    worker.wait_line("takes jobs", LIMIT).await;
    let job = clinic.enqueue(&ctx, &BackupDatabase {}).await;
    half_way(&clinic.folder).await;
    let cancelled = clinic.run(&["jobs", "cancel", &job.to_string()]).await;
    assert!(cancelled.status.success(), "{}", cancelled.stderr);
    assert_eq!(clinic.ended(job).await.0, "cancelled");
    until(LIMIT, "the run is on record as failed", async || (clinic.count(FAILED).await == 1).then_some(())).await;
    until(LIMIT, "what it wrote is gone", async || clinic.left_over().await.is_empty().then_some(())).await;
    // A job whose time is up is given up in the same way: what it does is dropped where it stands.
    std::fs::remove_file(clinic.folder.join("half")).expect("it was half-way");
    let work = backup::create(&ctx, Actor::Operator { run: ctx.ids.new_id() });
    tokio::select! {
        made = work => panic!("it waits: {made:?}"),
        () = half_way(&clinic.folder) => {}
    }
    until(LIMIT, "the run is on record as failed", async || (clinic.count(FAILED).await == 2).then_some(())).await;
    until(LIMIT, "what it wrote is gone", async || clinic.left_over().await.is_empty().then_some(())).await;
    assert_eq!((clinic.count(RUNNING).await, clinic.listed().await.len()), (0, 0));
    // The same worker goes on.
    go_on(&clinic.folder);
    let next = clinic.enqueue(&ctx, &BackupDatabase {}).await;
    assert_eq!(clinic.ended(next).await.0, "done");
    assert_eq!((clinic.count(SUCCEEDED).await, clinic.listed().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_goes_away_half_way_makes_no_backup() {
    let mut clinic = Clinic::new().await;
    // More than the buffers on the way hold.
    clinic.sql(MUCH).await;
    let bin = with_pg_dump_that_waits(&clinic.folder, 300_000);
    let proxy = FaultProxy::to_url(clinic.db.url());
    clinic.set("PG_BIN", &bin);
    clinic.set("DATABASE_URL", &url_through(clinic.db.url(), proxy.address()));
    let run = Process::spawn_with("pulsecal", &["backup", "create"], clinic.env());
    half_way(&clinic.folder).await;
    proxy.set(Mode::Refuse).await;
    go_on(&clinic.folder);
    let ended = run.wait_exit(LIMIT).await;
    assert_eq!(ended.code(), Some(1), "{:?}", run.lines());
    assert_eq!(clinic.left_over().await, Vec::<std::path::PathBuf>::new());
    // Nobody could write it down. The next run does.
    assert_eq!((clinic.count(RUNNING).await, clinic.count(FAILED).await), (1, 0));
    proxy.set(Mode::Pass).await;
    the_next_one_succeeds(&clinic).await;
    assert_eq!(clinic.count(FAILED).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_away_in_the_middle_of_an_upload_holds_nothing_of_it() {
    let mut clinic = Clinic::new().await;
    let Some(server) = S3Server::start(&clinic.folder).await else {
        eprintln!("SKIPPED: s3s-fs is not installed; ./dev test installs it into target/tools");
        return;
    };
    // More than two parts, of what does not pack; the first is on its way when the dump stands still.
    clinic.sql("INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) SELECT gen_random_uuid(), '', '', '', now(), (SELECT string_agg(decode(md5(n::text || i::text || random()::text), 'hex'), '') FROM generate_series(1, 6400) i) FROM generate_series(1, 180) n").await;
    let bin = with_pg_dump_that_waits(&clinic.folder, 30_000_000);
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port).into());
    clinic.more = server.env_by_port(proxy.address().port());
    clinic.set("PG_BIN", &bin);
    let run = Process::spawn_with("pulsecal", &["backup", "create"], clinic.env());
    half_way(&clinic.folder).await;
    until(LIMIT, "an upload has begun", async || (!unfinished(&clinic).is_empty()).then_some(())).await;
    proxy.set(Mode::Refuse).await;
    go_on(&clinic.folder);
    let ended = run.wait_exit(LIMIT).await;
    assert_eq!(ended.code(), Some(1), "{:?}", run.lines());
    run.wait_line("does not answer", LIMIT).await;
    assert_eq!((clinic.count(SUCCEEDED).await, clinic.count(FAILED).await), (0, 1));
    proxy.set(Mode::Pass).await;
    assert!(clinic.listed().await.is_empty());
    // The next one clears up what could not be taken back.
    let id = clinic.backup().await;
    assert_eq!(clinic.listed().await, [(id, None)]);
    assert_eq!(unfinished(&clinic), Vec::<String>::new());
}

/// Marks of uploads and parts in the bucket.
fn unfinished(clinic: &Clinic) -> Vec<String> {
    let all = files(&clinic.folder.join("s3")).into_iter().map(|file| file.display().to_string());
    all.filter(|file| file.contains(".unfinished") || file.contains("upload")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_killed_or_cancelled_half_way_leaves_no_database() {
    let mut clinic = Clinic::new().await;
    // Enough to be at it for a while.
    clinic.sql(MUCH).await;
    let id = clinic.backup().await;
    let scratch = "SELECT count(*) FROM pg_database WHERE starts_with(datname::text, 'pulsecal_drill_' || left(encode(sha256(convert_to(current_database()::text, 'UTF8')), 'hex'), 8))";
    let drill = Process::spawn_with("pulsecal", &["backup", "drill"], clinic.env());
    until(LIMIT, "its scratch database is there", async || (clinic.count(scratch).await == 1).then_some(())).await;
    drill.kill9();
    assert_eq!(clinic.count(scratch).await, 1, "killed half-way");
    let drilled = until(LIMIT, "the server has noticed that the other drill is gone", async || {
        let done = clinic.run(&["backup", "drill", &id]).await;
        (done.status.code() != Some(3)).then_some(done)
    })
    .await;
    assert!(drilled.status.success(), "{}", drilled.stderr);
    assert_eq!(clinic.count(scratch).await, 0, "the next one drops it, and its own");

    clinic.with_belt("backups=1").await;
    let ctx = clinic.context();
    let worker = Process::spawn("pulsecal-worker", clinic.env());
    worker.wait_line("takes jobs", LIMIT).await;
    let job = clinic.enqueue(&ctx, &DrillBackup {}).await;
    until(LIMIT, "its scratch database is there", async || (clinic.count(scratch).await == 1).then_some(())).await;
    let cancelled = clinic.run(&["jobs", "cancel", &job.to_string()]).await;
    assert!(cancelled.status.success(), "{}", cancelled.stderr);
    let (state, error) = clinic.ended(job).await;
    assert!(state == "cancelled" || state == "done", "{state} {error:?}");
    until(Duration::from_secs(20), "it is gone", async || (clinic.count(scratch).await == 0).then_some(())).await;
}
