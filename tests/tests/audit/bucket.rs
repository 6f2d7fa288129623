//! Signed heads in a bucket of an S3 server that checks signatures.

use std::path::PathBuf;

use pulsecal_tests::processes::Process;
use pulsecal_tests::s3_server::S3Server;
use pulsecal_tests::servers::Redis;
use pulsecal_tests::wait::until;

use crate::support::{LIMIT, Ledger, org};

#[tokio::test(flavor = "multi_thread")]
async fn heads_go_to_a_bucket_and_chains_are_held_against_them_there() {
    let mut ledger = Ledger::open().await;
    let root = ledger.folder.join("s3");
    let Some(server) = S3Server::start(&ledger.folder).await else {
        eprintln!("SKIPPED: s3s-fs is not installed; ./dev test installs it into target/tools");
        return;
    };
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    ledger.set(server.env());
    let heads = || -> Vec<PathBuf> {
        let folder = std::fs::read_dir(root.join("clinic/some/prefix/audit/heads"));
        let mut files: Vec<PathBuf> =
            folder.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "json"));
        files.sort();
        files
    };

    // By hand, and by a scheduler.
    ledger.write(Some(org(0xa)), 10).await;
    ledger.seal().await;
    let sealed = ledger.pulsecal(&["audit", "seal"]).await;
    assert!(sealed.status.success() && sealed.stdout.contains("The signed head is audit/heads/"), "{sealed:?}");
    assert_eq!(heads().len(), 1);
    ledger.write(Some(org(0xa)), 5).await;
    ledger.seal().await;
    let mut env = ledger.env();
    env.extend([text("REDIS_URL", Redis::shared().await.url()), text("REDIS_PREFIX", ledger.db.name())]);
    let scheduler = Process::spawn("pulsecal-scheduler", env);
    until(LIMIT, "the scheduler writes a head", async || (heads().len() == 2).then_some(())).await;
    drop(scheduler);
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert_eq!((code, said["heads"].as_i64()), (0, Some(2)), "{said}");
    let files = heads();
    let files: Vec<&std::path::Path> = files.iter().map(PathBuf::as_path).collect();
    let (code, said) = ledger.verify_in_python(&files).await;
    assert_eq!(code, 0, "{said}");

    // The end cut off is what only heads show.
    let end = "org_id = '00000000-0000-0000-0000-00000000000a' AND seq > 12";
    ledger
        .tamper(&format!(
            "DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_chain WHERE {end}); DELETE FROM audit_chain WHERE {end}"
        ))
        .await;
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert_eq!(
        (code, &said["findings"][0]["wrong"], &said["findings"][0]["seq"]),
        (1, &"truncated".into(), &13.into()),
        "{said}"
    );

    // A bucket that cannot be read is not a bucket without heads: nothing was checked then.
    ledger.set(vec![text("AWS_SECRET_ACCESS_KEY", "another secret")]);
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert!(code == 2 && said.to_string().contains("refuses access"), "{said}");
    ledger.set(vec![text("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert!(code == 2 && said.to_string().contains("does not answer"), "{said}");
}
