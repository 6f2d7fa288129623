//! What is in the files, as readers see it that are not ours.

use std::io::Cursor;
use std::process::Command;

use calamine::{Data, Reader, Xlsx};
use serde_json::json;

use crate::support::{Clinic, ask, fetch, new_id, records, token_of};

/// Names that have broken exports of others.
const NASTY: [&str; 16] = [
    "=cmd|'/c calc'!A1",
    "+49 30 5550100",
    "-5",
    "@SUM(A1)",
    "\tTab",
    "＝full width",
    "comma, \"quote\" and\nline",
    "שלום רב",
    "مرحبا بالعالم",
    "Zoë Ångström-Łukasz Ελένη Дмитрий",
    "😀 emoji",
    "12345678901234567890",
    "  spaces  ",
    "'quoted already",
    "null",
    "2026-03-29",
];

async fn nasty_clinic() -> Clinic {
    let clinic = Clinic::open().await;
    for (number, name) in (0_i32..).zip(NASTY) {
        let patient = new_id();
        let sql = "INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at) VALUES ($1, $2, 'patient', '', '', now(), now())";
        sqlx::query(sql).bind(patient).bind(clinic.org).execute(&clinic.pool).await.expect("a person");
        // Around the hour of Berlin that comes twice.
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, starts_at, ends_at, status, place, created_at, updated_at) VALUES ($1, $2, $3, timestamptz '2026-10-24T23:30:00Z' + $4 * interval '30 minutes', timestamptz '2026-10-25T12:30:00Z', 'booked', $5, now(), now())")
            .bind(new_id())
            .bind(clinic.org)
            .bind(patient)
            .bind(number)
            .bind(name)
            .execute(&clinic.pool)
            .await
            .expect("a visit");
    }
    clinic
}

#[tokio::test]
async fn every_reader_finds_what_was_stored_and_runs_none_of_it() {
    let clinic = nasty_clinic().await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let columns = ["starts_at", "minutes", "place", "appointment_id"];

    let id =
        ask(&nurse, json!({"format": "csv", "columns": columns, "csv": {"bom": true, "delimiter": "semicolon"}})).await;
    clinic.becomes(&id, "succeeded").await;
    let file = fetch(&nurse, &id).await.body;
    let text = String::from_utf8(file.clone()).expect("UTF-8");
    let text = text.strip_prefix('\u{feff}').expect("a byte order mark");
    assert!(
        text.starts_with("starts_at;minutes;place;appointment_id\r\n2026-10-25T01:30:00+02:00;780;'=cmd|'/c calc'!A1;"),
        "{text}"
    );
    assert!(text.contains("\"comma, \"\"quote\"\" and\nline\"") && text.ends_with("\r\n"));
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(text.as_bytes());
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    for ((number, name), row) in NASTY.iter().enumerate().zip(&rows) {
        let dangerous = number < 6;
        assert_eq!(&row[2], if dangerous { format!("'{name}") } else { (*name).to_owned() });
    }
    let hours: Vec<&str> = rows[1..5].iter().map(|row| &row[0]).collect();
    assert_eq!(
        hours,
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00"
        ]
    );
    python_reads_the_same(&file, &rows);

    let id = ask(&nurse, json!({"format": "xlsx", "columns": columns})).await;
    clinic.becomes(&id, "succeeded").await;
    let file = fetch(&nurse, &id).await.body;
    let mut book = Xlsx::new(Cursor::new(file)).expect("a workbook");
    let sheet = book.worksheet_range("Appointments").expect("its sheet");
    let rows: Vec<&[Data]> = sheet.rows().collect();
    assert_eq!(rows.len(), NASTY.len() + 1);
    for (name, row) in NASTY.iter().zip(&rows[1..]) {
        assert_eq!(row[2], Data::String((*name).to_owned()), "text stays text");
        assert!(matches!(row[0], Data::DateTime(_)) && matches!(row[1], Data::Float(_)), "{row:?}");
    }
    let formulas = book.worksheet_formula("Appointments").expect("its formulas");
    assert!(formulas.cells().all(|(_, _, formula)| formula.is_empty()), "nothing is a formula");

    let id = ask(&nurse, json!({"format": "pdf", "columns": columns})).await;
    clinic.becomes(&id, "succeeded").await;
    let file = fetch(&nurse, &id).await.body;
    assert!(file.starts_with(b"%PDF-"));
    poppler_reads_the_pdf(&file);
}

/// With Python's own reader, where there is a Python.
fn python_reads_the_same(file: &[u8], rows: &[csv::StringRecord]) {
    let path = std::env::temp_dir().join(format!("pulsecal-nasty-{}.csv", std::process::id()));
    std::fs::write(&path, file).expect("written");
    let script = "import csv,json,sys; print(json.dumps(list(csv.reader(open(sys.argv[1],encoding='utf-8-sig',newline=''),delimiter=';'))))";
    let read = Command::new("python3").args(["-c", script]).arg(&path).output();
    std::fs::remove_file(&path).expect("removed");
    let Ok(read) = read else { return };
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let theirs: Vec<Vec<String>> = serde_json::from_slice(&read.stdout).expect("JSON");
    let ours: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(str::to_owned).collect()).collect();
    assert_eq!(theirs[1..], ours);
}

/// With poppler, where it is installed.
fn poppler_reads_the_pdf(file: &[u8]) {
    let path = std::env::temp_dir().join(format!("pulsecal-nasty-{}.pdf", std::process::id()));
    std::fs::write(&path, file).expect("written");
    let read = Command::new("pdftotext").arg("-layout").arg(&path).arg("-").output();
    std::fs::remove_file(&path).expect("removed");
    let Ok(read) = read else { return };
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8_lossy(&read.stdout);
    for part in ["Canary Heart Clinic", "Page 1 of 1", "12345678901234567890", "Ελένη", "Дмитрий"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_of_one_organization() {
    let clinic = Clinic::open().await;
    clinic.add_visits(500).await;
    let foreign = Clinic::open().await;
    drop(foreign);
    // Another organization in the same database.
    let [org, patient] = [new_id(), new_id()];
    sqlx::query("INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES ($1, 'Other', 'UTC', now(), now())").bind(org).execute(&clinic.pool).await.expect("another");
    sqlx::query("INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at) VALUES ($1, $2, 'patient', 'F', 'Foreign', now(), now())").bind(patient).bind(org).execute(&clinic.pool).await.expect("a person");
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, starts_at, ends_at, status, created_at, updated_at) VALUES (gen_random_uuid(), $1, $2, now(), now() + interval '1 hour', 'booked', now(), now())").bind(org).bind(patient).execute(&clinic.pool).await.expect("a visit");
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let filters = json!({"from": "2020-01-01T00:10:00Z", "to": "2020-01-01T01:10:00Z", "doctor": clinic.doctor, "status": ["fulfilled", "booked"]});
    for (fields, count) in [(json!({"format": "csv"}), 500), (json!({"format": "csv", "filters": filters}), 6)] {
        let id = ask(&nurse, fields).await;
        clinic.becomes(&id, "succeeded").await;
        let rows = records(&fetch(&nurse, &id).await.body);
        assert_eq!(rows.len() - 1, count);
        assert!(rows.iter().flatten().all(|cell| !cell.contains("Foreign")));
    }
}
