//! A clinic of 100,000 patients: no request reads a big table from end to end. Postgres counts the scans that the API's own
//! statements made, under the role, the policies and the settings that they run with: more than `EXPLAIN` of a copy of them could
//! tell, and it takes in the plans that Postgres keeps for a statement that comes often.

use std::collections::BTreeMap;

use pulsecal_tests::big_clinic::{BigClinic, DOCTORS};
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::wait::until;
use serde_json::json;

use crate::accounts::{add_account, enter};
use crate::sign_in::{browser, form_token};
use crate::support::{LIMIT, TestApi, add_token, token_of};

const PATIENTS: i32 = 100_000;
/// The tables that grow with the patients.
const BIG: [&str; 12] = [
    "payments",
    "insurances",
    "record_attachments",
    "medical_records",
    "emergency_contacts",
    "people",
    "appointments",
    "prescriptions",
    "medication_reminders",
    "messages",
    "audit_entries",
    "dose_occurrences",
];
/// A request fetches no more rows of one big table by its indexes.
const MOST_ROWS: i64 = 2_000;
/// As often is each read asked: from the sixth time on Postgres may plan for all parameters alike.
const TIMES: i64 = 8;

/// Scans from end to end, and rows fetched by indexes, of each big table so far.
async fn counted(api: &TestApi) -> BTreeMap<String, (i64, i64)> {
    // Sessions hand in their counts when they end; the API opens others.
    let ended: Vec<i32> = sqlx::query_scalar(
        "WITH theirs AS MATERIALIZED (
           SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pulsecal')
         SELECT pid FROM theirs WHERE pg_terminate_backend(pid)",
    )
    .fetch_all(&api.pool)
    .await
    .expect("ended");
    until(LIMIT, "the sessions are gone", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)")
            .bind(&ended)
            .fetch_one(&api.pool)
            .await
            .expect("counted");
        (left == 0).then_some(())
    })
    .await;
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, coalesce(seq_scan, 0), coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = ANY ($1)",
    )
    .bind(BIG.map(str::to_owned).to_vec())
    .fetch_all(&api.pool)
    .await
    .expect("counted");
    rows.into_iter().map(|(table, scans, rows)| (table, (scans, rows))).collect()
}

/// What somebody asks for.
enum Ask {
    Get(Http, String),
    Post(Http, String, serde_json::Value),
    Form(Http, String, Vec<(&'static str, String)>),
}

impl Ask {
    async fn put(&self) -> (Answer, &str) {
        match self {
            Self::Get(by, path) => (by.get(path).await, path),
            Self::Post(by, path, body) => (by.post(path, body).await, path),
            Self::Form(by, path, fields) => {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                (by.post_form(path, &fields).await, path)
            }
        }
    }
}

#[tokio::test]
async fn at_a_clinic_of_a_hundred_thousand_patients_no_request_scans_a_big_table() {
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &[]).await;
    let clinic = BigClinic::load(&api.pool, PATIENTS).await;
    let token = token_of('a');
    add_token(
        &api.pool,
        clinic.org,
        clinic.doctor(0),
        &token,
        &crate::support::ALL_SCOPES,
        "now() + interval '1 hour'",
        false,
    )
    .await;
    add_account(&api.pool, "mine@example.org", &[clinic.patient(4711)]).await;
    let (by_token, staff, own) = (api.with(&token), browser(&api, &token).await, enter(&api, "mine@example.org").await);
    let form = form_token(&staff, "/staff/agenda").await;
    let tomorrow = (crate::support::now() + chrono::TimeDelta::days(1)).date_naive();
    // Of the doctor who asks: every so manieth is.
    let ours = clinic.patient(DOCTORS);
    let (patient, visit) = (clinic.patient(4711), clinic.visit(700));
    let span = format!("from={tomorrow}T00:00:00Z&to={}T00:00:00Z", tomorrow.succ_opt().expect("a day"));
    let v1 = |path: &str| Ask::Get(by_token.clone(), format!("/v1/{path}"));
    let (receptionist, at_desk) = (crate::support::new_id(), token_of('d'));
    crate::support::add_person(&api.pool, clinic.org, receptionist, "receptionist", "Desk").await;
    add_token(
        &api.pool,
        clinic.org,
        receptionist,
        &at_desk,
        &crate::support::ALL_SCOPES,
        "now() + interval '1 hour'",
        false,
    )
    .await;
    let by_desk = api.with(&at_desk);
    let desk = |path: &str| Ask::Get(by_desk.clone(), format!("/v1/{path}"));
    let (administrator, of_admin) = (crate::support::new_id(), token_of('m'));
    crate::support::add_person(&api.pool, clinic.org, administrator, "admin", "Admin").await;
    add_token(
        &api.pool,
        clinic.org,
        administrator,
        &of_admin,
        &crate::support::ALL_SCOPES,
        "now() + interval '1 hour'",
        false,
    )
    .await;
    let by_admin = api.with(&of_admin);
    let trail = |path: &str| Ask::Get(by_admin.clone(), format!("/v1/{path}"));
    let page = |path: &str| Ask::Get(staff.clone(), path.to_owned());
    let starts = crate::support::now() + chrono::TimeDelta::days(90);
    let at = |minutes: i64| (starts + chrono::TimeDelta::minutes(minutes)).format("%Y-%m-%dT%H:%M:00Z").to_string();
    let booking = json!({"patient_id": patient, "doctor_id": clinic.doctor(3), "starts_at": at(0), "ends_at": at(20)});
    let moving = json!({"starts_at": at(30), "ends_at": at(50)});
    let asks = [
        v1("patients"),
        v1("patients?limit=100"),
        v1("patients?sort=-registered"),
        v1("patients?sort=name"),
        v1("patients?sort=-name"),
        v1("prescriptions?sort=-created"),
        v1("medication-reminders?sort=-created"),
        v1("appointments?sort=-starts_at"),
        v1("messages?sort=created"),
        trail("audit-entries"),
        trail(&format!("audit-entries?subject={patient}")),
        v1(&format!("patients/{patient}")),
        v1(&format!("patients/{patient}/accesses")),
        v1(&format!("appointments?{span}")),
        v1(&format!("appointments?{span}&doctor={}", clinic.doctor(7))),
        v1(&format!("appointments?patient={patient}")),
        v1(&format!("appointments?{span}&status=booked")),
        v1(&format!("appointments/{visit}")),
        v1(&format!("patients/{patient}/emergency-contacts")),
        v1(&format!("emergency-contacts/{}", clinic.contact(4711))),
        v1("members"),
        v1("members?role=nurse&active=true"),
        v1("prescriptions"),
        v1(&format!("prescriptions?patient={patient}")),
        v1(&format!("prescriptions/{}", clinic.prescription(4711))),
        v1(&format!("medication-reminders?patient={patient}")),
        v1(&format!("medication-reminders/{}", clinic.reminder(4711))),
        v1(&format!("medication-reminders/{}/occurrences", clinic.reminder(4711))),
        v1(&format!("medical-records?patient={ours}")),
        v1(&format!("medical-records?patient={ours}&sort=recorded&kind=note")),
        v1(&format!("medical-records?patient={ours}&sort=occurred&state=active")),
        v1(&format!("medical-records?patient={ours}&sort=-occurred&limit=1")),
        v1(&format!("medical-records/{}", clinic.record(DOCTORS))),
        v1(&format!("medical-records/{}/attachments", clinic.record(DOCTORS))),
        desk("insurances"),
        desk(&format!("insurances?patient={patient}&valid_on={tomorrow}")),
        desk("insurances?kind=public&valid_on=2026-11-11"),
        desk("payments"),
        desk("payments?sort=created"),
        desk("payments?sort=due"),
        desk("payments?sort=-due&limit=1"),
        desk("payments?state=pending"),
        desk("payments?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z"),
        desk(&format!("payments?patient={patient}")),
        desk(&format!("payments?appointment={visit}")),
        v1("messages"),
        v1(&format!("messages?patient={patient}")),
        v1("messages?state=sent"),
        Ask::Post(by_token.clone(), "/v1/appointments".into(), booking),
        Ask::Post(by_token.clone(), format!("/v1/appointments/{visit}/move"), moving),
        Ask::Post(by_token.clone(), format!("/v1/appointments/{visit}/cancel"), json!({})),
        page(&format!("/staff/agenda?day={tomorrow}&doctor=all")),
        page(&format!("/staff/agenda?day={tomorrow}")),
        page("/staff/patients"),
        page("/staff/patients?name=family"),
        page(&format!("/staff/patients/{patient}")),
        page(&format!("/staff/patients/{patient}/accesses")),
        page(&format!("/staff/appointments/{}", clinic.visit(500))),
        page("/staff/messages"),
        Ask::Form(
            staff.clone(),
            format!("/staff/appointments/{}/cancel", clinic.visit(500)),
            vec![("form_token", form), ("version", "1".into()), ("reason", "clinic".into())],
        ),
        Ask::Get(own.clone(), "/p".into()),
        Ask::Get(own.clone(), "/p/medicines".into()),
        Ask::Get(own.clone(), "/p/records".into()),
        Ask::Get(own.clone(), "/p/payments".into()),
        Ask::Get(own.clone(), "/p/accesses".into()),
        Ask::Get(own, "/p/data/file".into()),
    ];
    let mut wrong = Vec::new();
    for ask in &asks {
        let before = counted(&api).await;
        let (mut answer, path) = ask.put().await;
        let times = if matches!(ask, Ask::Get(..)) { TIMES } else { 1 };
        for _ in 1..times {
            answer = ask.put().await.0;
        }
        assert!((200..400).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        for (table, (scans, rows)) in counted(&api).await {
            let (scans, rows) = (scans - before[&table].0, rows - before[&table].1);
            if scans > 0 || rows > MOST_ROWS * times {
                wrong.push(format!(
                    "{path}: {table}: {scans} scans from end to end, {rows} rows by indexes in {times} times"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
