//! The same on an S3 server that checks signatures.

use pulsecal_tests::s3_server::S3Server;

use super::support::Clinic;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_backups_as_a_folder_does() {
    let mut clinic = Clinic::new().await;
    let Some(server) = S3Server::start(&clinic.folder).await else {
        eprintln!("SKIPPED: s3s-fs is not installed; ./dev test installs it into target/tools");
        return;
    };
    clinic.more = server.env();
    // More than one part, of what does not pack.
    clinic.sql("INSERT INTO dev_mailbox (id, recipient, subject, message_id, received_at, raw) SELECT gen_random_uuid(), '', '', '', now(), (SELECT string_agg(decode(md5(n::text || i::text || random()::text), 'hex'), '') FROM generate_series(1, 6400) i) FROM generate_series(1, 180) n").await;
    let id = clinic.backup().await;
    assert_eq!(clinic.listed().await, [(id.clone(), None)]);
    let drilled = clinic.run(&["backup", "drill", &id]).await;
    assert!(drilled.status.success(), "{}", drilled.stderr);
    clinic.set("AWS_SECRET_ACCESS_KEY", "another secret");
    let refused = clinic.run(&["backup", "list"]).await;
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("refuses access"), "{}", refused.stderr);
    clinic.more = server.env_by_port(1);
    let away = clinic.run(&["backup", "list"]).await;
    assert!(away.status.code() == Some(1) && away.stderr.contains("does not answer"), "{}", away.stderr);
}
