//! The same on an S3 server that checks signatures: s3s-fs. It is found by S3S_FS or on PATH; where it is
//! not, this test says so and does nothing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;

use super::support::{Clinic, LIMIT};

fn server() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("S3S_FS").map(PathBuf::from).into_iter().collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("s3s-fs")));
    places.into_iter().find(|file| file.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_backups_as_a_folder_does() {
    let Some(program) = server() else {
        eprintln!("SKIPPED: s3s-fs is not installed; ./dev test installs it into target/tools");
        return;
    };
    let mut clinic = Clinic::new().await;
    let root = clinic.folder.join("s3");
    std::fs::create_dir_all(root.join("clinic")).expect("a bucket");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let mut command = Command::new(program);
    command
        .args([
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--access-key",
            "clinic",
            "--secret-key",
            "for this test only",
        ])
        .arg(&root);
    let _server = Process::spawn_command("s3s-fs", command);
    until(LIMIT, "the S3 server answers", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
        .await;
    clinic.blob_url = "s3://clinic/some/prefix".into();
    clinic.more = [
        ("AWS_ACCESS_KEY_ID", "clinic"),
        ("AWS_SECRET_ACCESS_KEY", "for this test only"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    // More than one part, of what does not pack.
    clinic.sql("INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) SELECT gen_random_uuid(), '', '', '', now(), (SELECT string_agg(decode(md5(n::text || i::text || random()::text), 'hex'), '') FROM generate_series(1, 6400) i) FROM generate_series(1, 180) n").await;
    let id = clinic.backup().await;
    assert_eq!(clinic.listed().await, [(id.clone(), None)]);
    let drilled = clinic.run(&["backup", "drill", &id]).await;
    assert!(drilled.status.success(), "{}", drilled.stderr);
    clinic.more[1].1 = "another secret".into();
    let refused = clinic.run(&["backup", "list"]).await;
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("refuses access"), "{}", refused.stderr);
    clinic.more[1].1 = "for this test only".into();
    clinic.more[3].1 = "http://127.0.0.1:1".into();
    let away = clinic.run(&["backup", "list"]).await;
    assert!(away.status.code() == Some(1) && away.stderr.contains("does not answer"), "{}", away.stderr);
}
