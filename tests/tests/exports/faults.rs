//! What goes wrong on the way: each ends in a clear state, and the store holds what an export needs and nothing else.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use pulsecal_tests::processes::{Binaries, Process};
use pulsecal_tests::wait::until;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Clinic, LIMIT, ask, fetch, ids_only, records, token_of};

/// Enough for a debug build to be at it for some seconds.
const MANY: i32 = 150_000;

async fn ids(pool: &PgPool) -> BTreeSet<String> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT appointment_id FROM appointments").fetch_all(pool).await.expect("ids");
    ids.into_iter().map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn a_worker_that_is_killed_half_way_is_replaced_and_no_row_is_doubled_or_missing() {
    let clinic = Clinic::open().await;
    clinic.add_visits(MANY).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _scheduler = clinic.start("pulsecal-scheduler");
    let first = clinic.start("pulsecal-worker");
    let id = ask(&nurse, ids_only()).await;
    clinic.grows(&id).await;
    first.kill9();
    let (state, rows, _) = clinic.state(&id).await;
    assert!(state == "running" && rows < i64::from(MANY), "killed half-way: {state}, {rows} rows");
    let _second = clinic.start("pulsecal-worker");
    clinic.becomes(&id, "succeeded").await;
    let attempts: i32 = sqlx::query_scalar("SELECT attempt FROM exports").fetch_one(&clinic.pool).await.expect("read");
    assert_eq!(attempts, 2);
    let file = fetch(&nurse, &id).await;
    let rows = records(&file.body);
    let in_file: BTreeSet<String> = rows[1..].iter().map(|row| row[0].clone()).collect();
    assert_eq!(rows.len() - 1, in_file.len(), "no row is doubled");
    assert_eq!(in_file, ids(&clinic.pool).await, "and none is missing");
    let whole: Vec<_> =
        clinic.in_store().into_iter().filter(|path| !path.to_string_lossy().contains(".unfinished")).collect();
    assert_eq!(whole.len(), 1, "of the first try nothing can be seen: {whole:?}");
}

#[tokio::test]
async fn a_cancel_takes_effect_within_a_second_and_leaves_nothing() {
    let clinic = Clinic::open().await;
    clinic.add_visits(MANY).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let id = ask(&nurse, ids_only()).await;
    clinic.grows(&id).await;
    let asked = Instant::now();
    let answer = nurse.delete(&format!("/v1/exports/{id}")).await.expect_status(200).json();
    assert_eq!(answer["state"], "cancelled");
    until(LIMIT, "the job is over", async || {
        let state: Option<String> = sqlx::query_scalar("SELECT state FROM job_list WHERE kind = 'export_report'")
            .fetch_one(&clinic.pool)
            .await
            .ok()?;
        (state.as_deref() == Some("cancelled") && clinic.in_store().is_empty()).then_some(())
    })
    .await;
    clinic.copies_end().await;
    // It takes about a third of a second; generous, for the machine of the tests does other things too.
    eprintln!("cancelled, and nothing left, after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(nurse.get(&format!("/v1/exports/{id}/download")).await.status, 409);
}

#[tokio::test]
async fn without_a_store_it_is_tried_again_and_then_fails_in_words() {
    let clinic = Clinic::open().await;
    clinic.add_visits(10).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    // Nothing listens there.
    let mut env = clinic.env();
    env.extend([
        ("BLOB_URL".to_owned(), "s3://nowhere/exports".to_owned()),
        ("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:9".to_owned()),
        ("AWS_ALLOW_HTTP".to_owned(), "true".to_owned()),
        ("AWS_REGION".to_owned(), "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID".to_owned(), "nobody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "nothing".to_owned()),
    ]);
    let away = Process::spawn("pulsecal-worker", env);
    let _scheduler = clinic.start("pulsecal-scheduler");
    let id = ask(&nurse, ids_only()).await;
    until(LIMIT, "a try has failed", async || clinic.state(&id).await.2).await;
    let words = clinic.becomes(&id, "failed").await.expect("words");
    assert!(words.contains("could not be reached"), "{words}");
    away.kill9();
    // The store is back: asked for anew, it is there.
    let _worker = clinic.start("pulsecal-worker");
    let again = ask(&nurse, ids_only()).await;
    clinic.becomes(&again, "succeeded").await;
    assert_eq!(clinic.in_store().len(), 1);
}

#[tokio::test]
async fn a_full_disk_is_said_in_words_and_nothing_is_left() {
    let clinic = Clinic::open().await;
    clinic.add_visits(40_000).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    // Files of this process end at 512 KiB, as on a disk that has no more.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\""]).arg(Binaries::get().path("pulsecal-worker"));
    command.env_clear().envs(clinic.env());
    let _worker = Process::spawn_command("worker", command);
    let _scheduler = clinic.start("pulsecal-scheduler");
    let id = ask(&nurse, ids_only()).await;
    let words = clinic.becomes(&id, "failed").await.expect("words");
    assert!(words.contains("no space left"), "{words}");
    assert!(clinic.in_store().is_empty(), "{:?}", clinic.in_store());
    let ids = ["appointment_id", "starts_at", "ends_at", "created_at", "updated_at"];
    let xlsx = ask(&nurse, json!({"format": "xlsx", "columns": ids})).await;
    let words = clinic.becomes(&xlsx, "failed").await.expect("words");
    assert!(words.contains("no space left"), "{words}");
    assert!(clinic.in_store().is_empty(), "{:?}", clinic.in_store());
}

#[tokio::test]
async fn a_pdf_of_too_many_rows_is_refused_in_words_and_not_tried_again() {
    let clinic = Clinic::open().await;
    clinic.add_visits(100_001).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let id = ask(&nurse, json!({"format": "pdf"})).await;
    clinic.becomes(&id, "failed").await;
    let shown = nurse.get(&format!("/v1/exports/{id}")).await.expect_status(200).json();
    assert_eq!(
        shown["problem"],
        "These are 100001 rows, and a PDF has 100000 at most. Ask for CSV or XLSX, or for fewer rows."
    );
    let tries: i32 = sqlx::query_scalar("SELECT attempt FROM exports").fetch_one(&clinic.pool).await.expect("read");
    assert_eq!((tries, clinic.in_store().len()), (1, 0));
}

#[tokio::test]
async fn what_is_expired_or_nobodys_is_deleted_and_what_was_given_up_is_over() {
    let clinic = Clinic::open().await;
    clinic.add_visits(10).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let worker = clinic.start("pulsecal-worker");
    let [old, kept] = [ask(&nurse, ids_only()).await, ask(&nurse, ids_only()).await];
    for id in [&old, &kept] {
        clinic.becomes(id, "succeeded").await;
    }
    assert!(worker.stop_gracefully(LIMIT).await.success());
    sqlx::query("UPDATE exports SET expires_at = now() - interval '1 second' WHERE export_id = $1::uuid")
        .bind(&old)
        .execute(&clinic.pool)
        .await
        .expect("its time is over");
    assert_eq!(nurse.get(&format!("/v1/exports/{old}/download")).await.status, 409, "closed before it is swept");
    // A file that a worker wrote and died before it was on record; an export whose job is gone.
    std::fs::create_dir_all(clinic.blobs.join("exports/0197a000-0000-7000-8000-000000000000")).expect("a folder");
    std::fs::write(clinic.blobs.join("exports/0197a000-0000-7000-8000-000000000000/lost"), b"lost").expect("written");
    let given_up = ask(&nurse, ids_only()).await;
    sqlx::query("DELETE FROM jobs WHERE kind = 'export_report'").execute(&clinic.pool).await.expect("deleted");
    for kind in ["sweep_exports", "sweep_exports", "tidy_exports", "tidy_exports"] {
        sqlx::query("INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) VALUES (gen_random_uuid(), $1, 'maintenance', '{}', now(), 5, now())")
            .bind(kind)
            .execute(&clinic.pool)
            .await
            .expect("each of them, twice");
    }
    let _worker = clinic.start("pulsecal-worker");
    let _scheduler = clinic.start("pulsecal-scheduler");
    until(LIMIT, "the sweep is over", async || {
        let (expired, failed) = (clinic.state(&old).await.0, clinic.state(&given_up).await.0);
        (expired == "expired" && failed == "failed" && clinic.in_store().len() == 1).then_some(())
    })
    .await;
    assert_eq!(clinic.state(&kept).await.0, "succeeded");
    assert_eq!(records(&fetch(&nurse, &kept).await.body).len(), 11);
    let shown = nurse.get(&format!("/v1/exports/{old}")).await.json();
    assert!(
        shown["download"].is_null() && shown["problem"].as_str().is_some_and(|words| words.contains("Ask for it anew"))
    );
    let noted: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_entries WHERE action = 'export.expire'")
        .fetch_one(&clinic.pool)
        .await
        .expect("counted");
    assert_eq!(noted, 1);
}
