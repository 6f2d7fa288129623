//! `pulsecal import fhir` with the real program: what goes in, what is listed, and that doing it again doubles nothing.

use std::path::Path;
use std::time::Duration;

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::processes::run;
use pulsecal_tests::servers::Postgres;
use serde_json::Value;
use sqlx::PgPool;

async fn import(db: &TestDatabase, file: &Path, more: &[&str]) -> (i32, Value, String) {
    let file = file.to_str().expect("a path of ours");
    let args = [&["import", "fhir", file, "--json"], more].concat();
    let out = run("pulsecal", &args, [("DATABASE_URL", db.url())], Duration::from_secs(60)).await;
    (out.status.code().expect("ended"), serde_json::from_str(&out.stdout).unwrap_or(Value::Null), out.stderr)
}

async fn counts(pool: &PgPool) -> Vec<i64> {
    let mut all = Vec::new();
    for table in
        ["people", "prescriptions", "medication_reminders", "identifiers", "imported_resources", "appointments"]
    {
        let sql = format!("SELECT count(*) FROM {table}");
        all.push(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.expect("counts"));
    }
    all
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fhir").join(name)
}

const CLINIC: &[&str] = &["--new-org", "Harbour Clinic", "--zone", "America/New_York"];

#[tokio::test]
async fn bundles_of_others_go_in_once_however_often_they_are_imported() {
    let db = TestDatabase::create(Postgres::shared().await).await;
    let pool = db.pool().await;
    let mut before = Vec::new();
    for round in 0..2 {
        for name in
            ["synthea-shaped.json", "carebundle-bundles.json", "carebundle-export.ndjson", "carebundle-lab.json"]
        {
            let (code, report, err) = import(&db, &fixture(name), CLINIC).await;
            assert!(code == 0 || code == 3, "{name}: {code} {err}");
            assert!(report["stored"].as_object().is_some_and(|stored| !stored.is_empty()), "{name}: {report}");
        }
        let now = counts(&pool).await;
        assert!(now[0] > 0 && now[1] > 0 && now[2] > 0 && now[3] > 0, "{now:?}");
        assert!(round == 0 || now == before, "importing again doubled rows: {before:?} {now:?}");
        before = now;
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_listed_and_the_rest_goes_in() {
    let db = TestDatabase::create(Postgres::shared().await).await;
    let pool = db.pool().await;
    let folder = std::env::temp_dir().join(format!("pulsecal-import-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("mixed.ndjson");
    let patient = |id: &str, more: &str| {
        format!(r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"Okafor","given":["Ada"]}}]{more}}}"#)
    };
    let order = |id: &str, who: &str, repeat: &str| {
        format!(
            r#"{{"resourceType":"MedicationRequest","id":"{id}","status":"active","intent":"order","authoredOn":"2026-01-05","subject":{{"reference":"Patient/{who}"}},"medicationCodeableConcept":{{"text":"Ramipril 5 mg"}},"dosageInstruction":[{{"timing":{{"repeat":{repeat}}}}}]}}"#
        )
    };
    let zone = |name: &str| {
        format!(r#","extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/timezone","valueCode":"{name}"}}]"#)
    };
    let lines = [
        patient("good", &zone("Asia/Kolkata")),
        patient("nowhere", &zone("Mars/Olympus")),
        order("fine", "good", r#"{"frequency":2,"period":1,"periodUnit":"d"}"#),
        order(
            "backwards",
            "good",
            r#"{"frequency":1,"period":1,"periodUnit":"d","boundsPeriod":{"start":"2026-05-02","end":"2026-05-01"}}"#,
        ),
        order("odd", "good", r#"{"frequency":1,"period":1}"#),
        order("nobody", "missing", r#"{"frequency":1,"period":1,"periodUnit":"d"}"#),
        "this line is no JSON".to_owned(),
    ];
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let (code, report, err) = import(&db, &file, CLINIC).await;
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(code, 3, "{report} {err}");
    let left_out = report["left_out"].to_string();
    for expected in [
        "Patient/nowhere",
        "MedicationRequest/backwards",
        "MedicationRequest/odd",
        "MedicationRequest/nobody",
        "line 7",
    ] {
        assert!(left_out.contains(expected), "{expected} is not listed: {left_out}");
    }
    let zones: Vec<Option<String>> =
        sqlx::query_scalar("SELECT zone FROM people").fetch_all(&pool).await.expect("reads");
    assert_eq!(zones, [Some("Asia/Kolkata".to_owned())]);
    let plans: i64 =
        sqlx::query_scalar("SELECT count(*) FROM medication_reminders").fetch_one(&pool).await.expect("reads");
    assert_eq!(plans, 1, "only the fine order has a plan");
    let doses = run("pulsecal", &["doses", "plan"], [("DATABASE_URL", db.url())], Duration::from_secs(60)).await;
    assert!(doses.status.success(), "{}", doses.stderr);
    let planned: i64 =
        sqlx::query_scalar("SELECT count(*) FROM dose_occurrences").fetch_one(&pool).await.expect("reads");
    assert_eq!(planned, 28, "two doses a day for fourteen days");
}

#[tokio::test]
async fn a_file_that_is_no_fhir_changes_nothing_and_says_so() {
    let db = TestDatabase::create(Postgres::shared().await).await;
    let pool = db.pool().await;
    let file = std::env::temp_dir().join(format!("pulsecal-nofhir-{}.csv", std::process::id()));
    std::fs::write(&file, "name;dose\nAda;1\n").expect("a file");
    let (code, report, _) = import(&db, &file, CLINIC).await;
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(code, 1);
    assert!(report["left_out"].to_string().contains("no FHIR"), "{report}");
    assert_eq!(counts(&pool).await, [0; 6]);
}
