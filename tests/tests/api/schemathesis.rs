//! schemathesis holds the running API against its document: every route, with what the document allows and with what it does not.
//! In `./dev test` it has a bound; by hand as long as one likes:
//!
//! ```text
//! SCHEMATHESIS_EXAMPLES=500 SCHEMATHESIS_SEED=7 ./dev test -p pulsecal-tests --test api schemathesis -- --nocapture
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use pulsecal_tests::processes::Process;
use pulsecal_tests::servers::Postgres;
use pulsecal_tests::wait::until;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Clinic, LIMIT, TestApi, add_person, timing};

const VERSION: &str = "4.32.5";
/// The ids of the document's examples (`api/src/contract/examples.rs`).
const PATIENT: &str = "0197a000-0000-7000-8000-000000000001";
const DOCTOR: &str = "0197a000-0000-7000-8000-000000000002";
const PRESCRIPTION: &str = "0197a000-0000-7000-8000-000000000003";
const REMINDER: &str = "0197a000-0000-7000-8000-000000000004";
const APPOINTMENT: &str = "0197a000-0000-7000-8000-000000000005";

/// Settings and hooks that do not depend on the run.
const SETTINGS: &str = include_str!("../../schemathesis/schemathesis.toml");
const HOOKS: &str = include_str!("../../schemathesis/hooks.py");

fn uuid(text: &str) -> Uuid {
    text.parse().expect("an id")
}

/// schemathesis in an environment of its own; none: it cannot be had here.
fn installed() -> Option<PathBuf> {
    let built = std::env::current_exe().expect("the test knows its own file");
    let target = built.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists() || folder.ends_with("target"))?;
    let home = target.join("tools").join(format!("schemathesis-{VERSION}"));
    let program = home.join("bin/schemathesis");
    let runs = |program: &Path| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    if runs(&program) {
        return Some(program);
    }
    let made =
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home).status().is_ok_and(|done| done.success());
    let package = format!("schemathesis=={VERSION}");
    let got = made
        && Command::new(home.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", &package])
            .status()
            .is_ok_and(|done| done.success());
    (got && runs(&program)).then_some(program)
}

/// What the examples of the document are about.
async fn add_examples(pool: &PgPool, clinic: &Clinic) {
    add_person(pool, clinic.org, uuid(PATIENT), "patient", "Castellan").await;
    add_person(pool, clinic.org, uuid(DOCTOR), "doctor", "Bergstrom").await;
    sqlx::query("INSERT INTO prescriptions (prescription_id, org_id, patient_id, prescriber_id, medicine, dosage, created_at, updated_at) VALUES ($1, $2, $3, $4, 'Examplomycin', '1 tablet', now(), now())")
        .bind(uuid(PRESCRIPTION)).bind(clinic.org).bind(uuid(PATIENT)).bind(uuid(DOCTOR)).execute(pool).await.expect("a prescription");
    sqlx::query("INSERT INTO medication_reminders (reminder_id, org_id, prescription_id, patient_id, timing, meaning, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'wall_clock', now(), now())")
        .bind(uuid(REMINDER)).bind(clinic.org).bind(uuid(PRESCRIPTION)).bind(uuid(PATIENT)).bind(timing("02:30:00")).execute(pool).await.expect("a reminder");
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, zone, created_at, updated_at)
        VALUES ($1, $2, $3, $4, date_trunc('hour', now()) + interval '3 days', date_trunc('hour', now()) + interval '3 days 30 minutes', 'booked', 'Europe/Berlin', now(), now())")
        .bind(uuid(APPOINTMENT)).bind(clinic.org).bind(uuid(PATIENT)).bind(uuid(DOCTOR)).execute(pool).await.expect("a visit");
}

/// An export whose file is there.
async fn an_export(api: &TestApi, clinic: &Clinic) -> String {
    let http = api.with(&clinic.admin);
    let asked = http.post("/v1/exports", &json!({"format": "csv"})).await.expect_status(202).json();
    let id = asked["id"].as_str().expect("an id").to_owned();
    until(LIMIT, "the export is there", async || {
        let shown = http.get(&format!("/v1/exports/{id}")).await.json();
        (shown["state"] == "succeeded").then_some(())
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_api_is_what_the_document_says() {
    let Some(program) = tokio::task::spawn_blocking(installed).await.expect("looked for") else {
        println!("SKIPPED: schemathesis {VERSION} cannot be installed here (python3 with venv, and the Python index)");
        return;
    };
    let files = tempfile::tempdir().expect("a folder");
    let blobs = files.path().join("blobs");
    std::fs::create_dir(&blobs).expect("a folder for files");
    let blobs = format!("file://{}", blobs.display());
    let more = [("RATE_LIMITS", "address=100000,caller=100000"), ("BLOB_URL", blobs.as_str())];
    let api = TestApi::start_with(Postgres::shared().await, &more).await;
    let mut env = api.env();
    env.push(("BLOB_URL", blobs.clone()));
    let _worker = Process::spawn("pulsecal-worker", env);
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_examples(&api.pool, &clinic).await;
    let export = an_export(&api, &clinic).await;

    let set = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let settings = files.path().join("schemathesis.toml");
    let file = format!(
        "{SETTINGS}\n[[operations]]\ninclude-path = \"/v1/exports/{{id}}/download\"\nparameters = {{ \"path.id\" = \"{export}\" }}\n\n[auth.openapi.token]\nbearer = \"{}\"\n",
        clinic.admin
    );
    std::fs::write(&settings, file).expect("written");
    std::fs::write(files.path().join("hooks.py"), HOOKS).expect("written");
    let base = api.base.clone();
    let done = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .arg("--config-file")
            .arg(&settings)
            .args([
                "run",
                &format!("{base}/openapi.json"),
                "--no-color",
                "--include-path-regex",
                r"^/(v1|health|openapi|oauth|\.well-known)",
            ])
            .args([
                "--checks",
                "all",
                "--continue-on-failure",
                "--request-timeout",
                "10",
                "--generation-database",
                "none",
            ])
            .args(["--max-examples", &set("SCHEMATHESIS_EXAMPLES", "8"), "--seed", &set("SCHEMATHESIS_SEED", "1")])
            .args(["--phases", &set("SCHEMATHESIS_PHASES", "examples,coverage,fuzzing,stateful")])
            .current_dir(files.path())
            .output()
    })
    .await
    .expect("it ran")
    .expect("it ran");
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}");
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let faults = api.process.lines().into_iter().filter(|line| line.contains("api.error")).collect::<Vec<_>>();
    assert_eq!(faults, Vec::<String>::new());
    assert!(api.process.status().is_none(), "the API still runs");
}
