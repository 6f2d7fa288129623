//! What is in the files, as readers see it that are not ours.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use calamine::{Data, Reader, Xlsx};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Europe::Berlin;
use serde_json::{Value, json};

use crate::support::{Clinic, ask, fetch, new_id, records, token_of};

/// Texts that have broken exports of others; those that a spreadsheet would run come first.
const DANGEROUS: usize = 9;
const NASTY: [&str; 26] = [
    "=cmd|'/c calc'!A1",
    "=1+1",
    "+49 30 5550100",
    "-5",
    "@SUM(A1)",
    "\tTab",
    "\rReturn",
    "＝full width",
    " =1+1",
    "comma, \"quote\" and\nline",
    "two\r\nlines",
    "שלום רב",
    "مرحبا بالعالم",
    "abc שלום 123",
    "Zoë Ångström-Łukasz Ελένη Дмитрий",
    "😀 emoji",
    "12345678901234567890",
    "  spaces  ",
    "'quoted already",
    "null",
    "2026-03-29",
    "1e5",
    "<b>&amp;</b>",
    "_x0041_",
    "a\u{1}b",
    "\u{feff}mark",
];
/// What the one font of PDF has no letters for, or no letters that can be seen.
const NOT_IN_FONT: [&str; 4] = ["＝full width", "😀 emoji", "a\u{1}b", "\u{feff}mark"];
const COLUMNS: [&str; 5] = ["starts_at", "minutes", "place", "patient_birth_date", "appointment_id"];

/// A visit as it should be in each file.
struct Visit {
    id: String,
    starts_at: DateTime<Utc>,
    minutes: i64,
    place: &'static str,
    born: Option<NaiveDate>,
}

impl Visit {
    fn shown(&self) -> String {
        self.starts_at.with_timezone(&Berlin).to_rfc3339()
    }

    fn guarded(&self) -> String {
        let dangerous = NASTY[..DANGEROUS].contains(&self.place);
        format!("{}{}", if dangerous { "'" } else { "" }, self.place)
    }

    fn expected(&self) -> Value {
        json!({
            "id": self.id, "starts_at": self.shown(), "local": self.starts_at.with_timezone(&Berlin).naive_local(), "minutes": self.minutes,
            "place": self.place, "guarded": self.guarded(), "born": self.born, "in_font": !NOT_IN_FONT.contains(&self.place),
        })
    }
}

/// The visits begin each half hour, through the hour of Berlin that comes twice; the first and the last are where the years end
/// that spreadsheets know.
async fn nasty_clinic() -> (Clinic, Vec<Visit>) {
    let clinic = Clinic::open().await;
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
    let day = |text: &str| Some(text.parse::<NaiveDate>().expect("a day"));
    let born = [None, day("1899-12-31"), day("1900-02-28"), day("1900-03-01"), day("1969-12-31"), day("9999-12-31")];
    let mut visits = Vec::new();
    for (number, place) in (0_i32..).zip(NASTY) {
        let starts_at = match number {
            0 => at("1899-06-01T10:00:00Z"),
            25 => at("9999-12-31T20:30:00Z"),
            _ => at("2026-10-24T23:00:00Z") + TimeDelta::minutes(30 * i64::from(number)),
        };
        let born = born[visits.len() % born.len()];
        let (patient, id) = (new_id(), new_id());
        sqlx::query("INSERT INTO people (person_id, org_id, role, given_name, family_name, birth_date, created_at, updated_at) VALUES ($1, $2, 'patient', '', '', $3, now(), now())")
            .bind(patient)
            .bind(clinic.org)
            .bind(born)
            .execute(&clinic.pool)
            .await
            .expect("a person");
        let minutes = i64::from(5 * number + 5);
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, starts_at, ends_at, status, place, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'booked', $6, now(), now())")
            .bind(id)
            .bind(clinic.org)
            .bind(patient)
            .bind(starts_at)
            .bind(starts_at + TimeDelta::minutes(minutes))
            .bind(place)
            .execute(&clinic.pool)
            .await
            .expect("a visit");
        visits.push(Visit { id: id.to_string(), starts_at, minutes, place, born });
    }
    (clinic, visits)
}

#[tokio::test]
async fn every_reader_finds_what_was_stored_and_runs_none_of_it() {
    let (clinic, visits) = nasty_clinic().await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let _worker = clinic.start("pulsecal-worker");
    let mut files = Vec::new();
    for fields in [
        json!({"format": "csv", "columns": COLUMNS, "csv": {"bom": true, "delimiter": "semicolon"}}),
        json!({"format": "csv", "columns": COLUMNS}),
        json!({"format": "xlsx", "columns": COLUMNS}),
    ] {
        let id = ask(&nurse, fields).await;
        clinic.becomes(&id, "succeeded").await;
        files.push(fetch(&nurse, &id).await.body);
    }
    // A PDF that ids would make too narrow to be read.
    let id = ask(&nurse, json!({"format": "pdf", "columns": &COLUMNS[..4]})).await;
    clinic.becomes(&id, "succeeded").await;
    let shown = nurse.get(&format!("/v1/exports/{id}")).await.json();
    assert!(shown["notes"].to_string().contains("are not in the PDF's font"), "{shown}");
    let pdf = fetch(&nurse, &id).await.body;
    assert!(pdf.starts_with(b"%PDF-"));

    let text = String::from_utf8(files[0].clone()).expect("UTF-8");
    let text = text.strip_prefix('\u{feff}').expect("a byte order mark");
    let head =
        "starts_at;minutes;place;patient_birth_date;appointment_id\r\n1899-06-01T11:00:00+01:00;5;'=cmd|'/c calc'!A1;;";
    assert!(text.starts_with(head) && text.ends_with("\r\n"), "{text}");
    assert!(
        text.contains("\"comma, \"\"quote\"\" and\nline\"") && text.contains("9999-12-31T21:30:00+01:00"),
        "{text}"
    );
    csv_is(&visits, b';', text.as_bytes());
    csv_is(&visits, b',', &files[1]);
    let twice: Vec<String> = visits[2..6].iter().map(Visit::shown).collect();
    assert_eq!(&twice[..2], ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00"]);
    assert_eq!(&twice[2..], ["2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"]);
    xlsx_is(&visits, &files[2]);
    other_programs_find_the_same(&visits, [&files[1], &files[2], &pdf]);
}

fn csv_is(visits: &[Visit], delimiter: u8, file: &[u8]) {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), visits.len());
    for (row, visit) in rows.iter().zip(visits) {
        let born = visit.born.map(|day| day.to_string()).unwrap_or_default();
        let wanted = [visit.shown(), visit.minutes.to_string(), visit.guarded(), born, visit.id.clone()];
        assert_eq!(row.iter().collect::<Vec<_>>(), wanted);
    }
}

fn xlsx_is(visits: &[Visit], file: &[u8]) {
    let mut book = Xlsx::new(Cursor::new(file)).expect("a workbook");
    let sheet = book.worksheet_range("Appointments").expect("its sheet");
    let rows: Vec<&[Data]> = sheet.rows().skip(1).collect();
    assert_eq!(rows.len(), visits.len());
    for (row, visit) in rows.iter().zip(visits) {
        assert_eq!(row[2], Data::String(visit.place.to_owned()), "text stays text");
        assert_eq!(
            (&row[1], &row[4]),
            (&Data::Float(f64::from(u32::try_from(visit.minutes).expect("few"))), &Data::String(visit.id.clone()))
        );
        // Excel counts days from March 1900 on as others do; what is older is text.
        let old = |day: NaiveDate| day < NaiveDate::from_ymd_opt(1900, 3, 1).expect("a day");
        let local = visit.starts_at.with_timezone(&Berlin).naive_local();
        match (&row[0], old(local.date())) {
            (Data::String(text), true) => assert_eq!(*text, visit.shown()),
            (Data::DateTime(serial), false) => assert_eq!(serial.as_f64(), days(local)),
            other => panic!("{other:?}"),
        }
        match (&row[3], visit.born) {
            (Data::Empty, None) => {}
            (Data::String(text), Some(day)) if old(day) => assert_eq!(*text, day.to_string()),
            (Data::DateTime(serial), Some(day)) if !old(day) => assert_eq!(serial.as_f64(), days(day.into())),
            other => panic!("{other:?}"),
        }
    }
    let formulas = book.worksheet_formula("Appointments").expect("its formulas");
    assert!(formulas.cells().all(|(_, _, formula)| formula.is_empty()), "nothing is a formula");
}

/// Days since 1899-12-30.
fn days(at: chrono::NaiveDateTime) -> f64 {
    let zero = NaiveDate::from_ymd_opt(1899, 12, 30).expect("a day");
    let seconds = i32::try_from((at.date() - zero).num_days()).expect("few");
    f64::from(seconds) + f64::from(chrono::Timelike::num_seconds_from_midnight(&at)) / 86_400.0
}

/// With `tests/readers/compare.py`, which takes the readers that are installed here. `READERS_PYTHON` names a Python that has more.
fn other_programs_find_the_same(visits: &[Visit], files: [&[u8]; 3]) {
    let folder = std::env::temp_dir().join(format!("pulsecal-readers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let expected: Vec<Value> = visits.iter().map(Visit::expected).collect();
    std::fs::write(folder.join("expected.json"), json!(expected).to_string()).expect("written");
    for (name, file) in ["report.csv", "report.xlsx", "report.pdf"].iter().zip(files) {
        std::fs::write(folder.join(name), file).expect("written");
    }
    let python = std::env::var_os("READERS_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/compare.py");
    let compared = Command::new(python).arg(script).arg(&folder).output();
    let Ok(compared) = compared else {
        eprintln!("SKIPPED: there is no python3 for tests/readers/compare.py");
        return;
    };
    let said = String::from_utf8_lossy(&compared.stdout);
    let failed = String::from_utf8_lossy(&compared.stderr);
    assert!(compared.status.success(), "{said}{failed}; the files are in {}", folder.display());
    eprint!("{said}");
    std::fs::remove_dir_all(&folder).expect("removed");
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
