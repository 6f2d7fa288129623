//! The same with the store on an S3 server that checks signatures. Where there is none, these tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pulsecal_tests::fault_proxy::{FaultProxy, Mode};
use pulsecal_tests::s3_server::S3Server;
use pulsecal_tests::wait::until;
use sha2::{Digest, Sha256};

use crate::support::{Clinic, LIMIT, ask, fetch, ids_only, records, token_of};

/// Two parts of an upload, and a rest.
const ROWS: i32 = 120_000;
const SLOW: Mode = Mode::Throttle { bytes_per_second: 2 << 20 };

/// A clinic whose files lie in a bucket, and what stands before it.
async fn bucket() -> Option<(Clinic, S3Server, FaultProxy)> {
    let mut clinic = Clinic::open().await;
    let Some(server) = S3Server::start(&clinic.blobs).await else {
        eprintln!("SKIPPED: s3s-fs is not installed; ./dev test installs it into target/tools");
        return None;
    };
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port).into());
    clinic.more = server.env_by_port(proxy.address().port());
    clinic.add_visits(ROWS).await;
    Some((clinic, server, proxy))
}

/// What the server keeps: blobs, parts of uploads, and uploads that are open. Not what it was sent by halves, in files of its own
/// (`.tmp.N.internal.part`), nor what it notes of objects beside them and leaves there when they are removed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] });
    let own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let note = name.starts_with(".bucket-") && name.ends_with(".json") && !name.contains(".upload-");
        note || name.ends_with(".internal.part")
    };
    found.filter(|path| !own(path)).collect()
}

/// Waits until the first part is on its way.
async fn first_part(clinic: &Clinic) {
    until(LIMIT, "a part is being sent", async || {
        let bytes: i64 = sqlx::query_scalar("SELECT bytes FROM exports").fetch_one(&clinic.pool).await.ok()?;
        (bytes > 9 << 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_half_way_delays_the_file_and_the_file_is_whole() {
    let Some((clinic, _server, proxy)) = bucket().await else { return };
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let _scheduler = clinic.start("pulsecal-scheduler");
    proxy.set(SLOW).await;
    let id = ask(&nurse, ids_only()).await;
    first_part(&clinic).await;
    proxy.set(Mode::Refuse).await;
    let words = until(LIMIT, "the try has failed", async || clinic.state(&id).await.2).await;
    assert!(words.contains("could not be reached"), "{words}");
    proxy.set(Mode::Pass).await;
    clinic.becomes(&id, "succeeded").await;
    let attempts: i32 = sqlx::query_scalar("SELECT attempt FROM exports").fetch_one(&clinic.pool).await.expect("read");
    assert!(attempts >= 2, "{attempts}");

    let file = fetch(&nurse, &id).await;
    let rows = records(&file.body);
    assert_eq!(rows.len() - 1, usize::try_from(ROWS).expect("some"));
    let shown = nurse.get(&format!("/v1/exports/{id}")).await.json();
    let sha256: String = Sha256::digest(&file.body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown["sha256"].as_str(), Some(sha256.as_str()));
    let size = file.body.len();
    for (range, wanted) in [
        ("bytes=0-9".to_owned(), 0..10),
        (format!("bytes={}-{}", 9 << 20, (9 << 20) + 70_000), 9 << 20..(9 << 20) + 70_001),
        ("bytes=-100".to_owned(), size - 100..size),
    ] {
        let part = nurse.request(reqwest::Method::GET, &format!("/v1/exports/{id}/download")).header("range", &range);
        let part = nurse.send(part).await.expect("a part").expect_status(206);
        assert!(part.body == file.body[wanted], "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_half_way_leaves_no_part_in_the_bucket() {
    let Some((clinic, _server, proxy)) = bucket().await else { return };
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    proxy.set(SLOW).await;
    let id = ask(&nurse, ids_only()).await;
    first_part(&clinic).await;
    let asked = Instant::now();
    assert_eq!(nurse.delete(&format!("/v1/exports/{id}")).await.status, 200);
    clinic.jobs_end().await;
    clinic.copies_end().await;
    eprintln!("cancelled, and the job over, after {:?}", asked.elapsed());
    let left = files(&clinic.blobs);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(clinic.state(&id).await.0, "cancelled");
}
