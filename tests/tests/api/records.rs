//! Medical records: who treats a patient reads and writes them; whoever else breaks the glass, and everybody hears of it.

use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

const RECORDS: &str = "/v1/medical-records";
const REASON: &str = "Emergency, the patient is unconscious.";

/// Somebody of the staff, with a token of every scope.
async fn staff(api: &TestApi, clinic: &Clinic, role: &str, letter: char) -> (Uuid, Http) {
    let (id, token) = (new_id(), token_of(letter));
    add_person(&api.pool, clinic.org, id, role, &format!("{role}-{letter}")).await;
    add_token(&api.pool, clinic.org, id, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    (id, api.with(&token))
}

/// A visit of the clinic's patient, so many hours from now.
async fn visit(api: &TestApi, clinic: &Clinic, doctor: Option<Uuid>, hours: i32) {
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, zone, created_at, updated_at)
        VALUES ($1, $2, $3, $4, now() + make_interval(hours => $5), now() + make_interval(hours => $5, mins => 20), 'booked', 'UTC', now(), now())")
        .bind(new_id()).bind(clinic.org).bind(clinic.patient).bind(doctor).bind(hours).execute(&api.pool).await.expect("a visit");
}

fn of(patient: Uuid) -> String {
    format!("{RECORDS}?patient={patient}")
}

fn closed(answer: &Answer) {
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (403, &json!("urn:pulsecal:problem:not_treating")),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("break-glass"), "{}", answer.text());
}

fn titles(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|row| row["title"].as_str().expect("a title")).collect()
}

#[tokio::test]
async fn who_treats_a_patient_writes_reads_sorts_mends_and_withdraws_records() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    visit(&api, &clinic, Some(clinic.doctor), -24 * 300).await;
    let http = api.with(&clinic.token);
    let write = async |kind: &str, title: &str, day: Option<&str>| {
        let new = json!({"patient_id": clinic.patient, "kind": kind, "title": title, "occurred_on": day});
        http.post(RECORDS, &new).await.expect_status(201)
    };
    let written = write("surgery", "Appendix", Some("2001-02-03")).await;
    let at = written.header("location").expect("where it is").to_owned();
    assert_eq!(http.get(&at).await.expect_status(200).json(), written.json());
    write("allergy", "Penicillin", Some("2019-05-02")).await;
    write("note", "Slept well", None).await;

    let list = async |query: &str| http.get(&format!("{}{query}", of(clinic.patient))).await.expect_status(200).json();
    assert_eq!(titles(&list("").await), ["Slept well", "Penicillin", "Appendix"], "newest first");
    assert_eq!(titles(&list("&sort=recorded").await), ["Appendix", "Penicillin", "Slept well"]);
    assert_eq!(titles(&list("&sort=occurred").await), ["Appendix", "Penicillin", "Slept well"]);
    assert_eq!(titles(&list("&kind=allergy").await), ["Penicillin"]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = list(&format!("&sort=-occurred&limit=1{cursor}")).await;
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!((seen, cursor), (vec!["Slept well".into(), "Penicillin".into(), "Appendix".into()], String::new()));

    let with = |version: &str| http.clone().with_header("if-match", version);
    let mended = with("\"1\"").patch(&at, &json!({"description": "Without trouble."})).await.expect_status(200).json();
    assert_eq!((&mended["version"], &mended["description"]), (&json!(2), &json!("Without trouble.")));
    let _stale = with("\"1\"").patch(&at, &json!({"title": "Gall bladder"})).await.expect_status(412);
    let withdraw = format!("{at}/withdraw");
    let gone = http.post(&withdraw, &json!({"reason": "Another patient's."})).await.expect_status(200).json();
    assert_eq!((&gone["state"], &gone["withdrawn_reason"]), (&json!("entered_in_error"), &json!("Another patient's.")));
    let again = http.post(&withdraw, &json!({"reason": "Once more."})).await.expect_status(200).json();
    assert_eq!(again["version"], gone["version"], "twice changes nothing");
    let _kept = http.patch(&at, &json!({"title": "Gall bladder"})).await.expect_status(409);
    assert_eq!(titles(&list("&state=active").await).len(), 2);

    let accesses = http.get(&format!("/v1/patients/{}/accesses", clinic.patient)).await.expect_status(200).json();
    let did: Vec<&str> =
        accesses["items"].as_array().expect("items").iter().filter_map(|row| row["action"].as_str()).collect();
    for action in ["record.written", "record.read", "record.list", "record.changed", "record.withdrawn"] {
        assert!(did.contains(&action), "{action}: {did:?}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_record_is_said_at_once() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let other = Clinic::add(&api.pool, 'b').await;
    visit(&api, &clinic, Some(clinic.doctor), 1).await;
    let http = api.with(&clinic.token);
    let wrong = json!({"kind": "poem", "severity": "grave", "title": " ", "occurred_on": "2999-01-01", "colour": 1});
    let refused = http.post(RECORDS, &wrong).await.expect_status(422).json();
    let mut named = wrong_fields(&refused);
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, ["colour", "kind", "occurred_on", "patient_id", "severity", "title"]);
    let note = json!({"patient_id": clinic.patient, "kind": "note", "severity": "high", "title": "Slept"});
    assert_eq!(wrong_fields(&http.post(RECORDS, &note).await.expect_status(422).json()), ["severity"]);
    // A patient of somewhere else is nobody here, also under a reason.
    let theirs = json!({"patient_id": other.patient, "kind": "note", "title": "Slept"});
    assert_eq!(wrong_fields(&http.post(RECORDS, &theirs).await.expect_status(422).json()), ["patient_id"]);
    let glass = format!("/v1/patients/{}/break-glass", other.patient);
    let _nobody = http.post(&glass, &json!({"reason": REASON})).await.expect_status(404);
    let _nobody = http.get(&of(other.patient)).await.expect_status(404);
    let _needed = http.get(RECORDS).await.expect_status(422);
}

#[tokio::test]
async fn nurses_treat_who_is_in_the_house_and_desks_read_nothing() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, nurse) = staff(&api, &clinic, "nurse", 'n').await;
    closed(&nurse.get(&of(clinic.patient)).await);
    visit(&api, &clinic, None, 30).await;
    closed(&nurse.get(&of(clinic.patient)).await);
    visit(&api, &clinic, None, 3).await;
    let _open = nurse.get(&of(clinic.patient)).await.expect_status(200);
    // A visit with somebody else makes no doctor treat the patient, and a cancelled one with them neither.
    closed(&api.with(&clinic.token).get(&of(clinic.patient)).await);
    visit(&api, &clinic, Some(clinic.doctor), 5).await;
    sqlx::query("UPDATE appointments SET status = 'cancelled' WHERE doctor_id IS NOT NULL")
        .execute(&api.pool)
        .await
        .expect("cancelled");
    closed(&api.with(&clinic.token).get(&of(clinic.patient)).await);
    let (_, desk) = staff(&api, &clinic, "receptionist", 'r').await;
    for http in [&desk, &api.with(&clinic.admin)] {
        let refused = http.get(&of(clinic.patient)).await.expect_status(403).json();
        assert_eq!(refused["type"], "urn:pulsecal:problem:forbidden", "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_glass_opens_one_patients_records_for_a_while_and_everybody_hears_of_it() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    sqlx::query("UPDATE people SET email = 'admin@clinic.example.org' WHERE person_id = $1")
        .bind(clinic.administrator)
        .execute(&api.pool)
        .await
        .expect("an address");
    let smtp = RecordingSmtp::start();
    let mut env = api.env();
    env.extend([("SMTP_URL", smtp.url()), ("ALERT_MAIL", "ops@clinic.example.org".to_owned())]);
    let _scheduler = Process::spawn("pulsecal-scheduler", env.clone());
    let worker = Process::spawn("pulsecal-worker", env.clone());
    let (person, http) = staff(&api, &clinic, "doctor", 'd').await;
    let neighbour = new_id();
    add_person(&api.pool, clinic.org, neighbour, "patient", "Neighbour").await;
    closed(&http.get(&of(clinic.patient)).await);
    let refused =
        "SELECT count(*) FROM audit_entries WHERE action = 'access.refused' AND detail->>'why' = 'not_treating'";
    assert_eq!(api.count(refused).await, 1);

    let glass = format!("/v1/patients/{}/break-glass", clinic.patient);
    for reason in ["", "because", "          "] {
        assert_eq!(
            wrong_fields(&http.post(&glass, &json!({"reason": reason})).await.expect_status(422).json()),
            ["reason"]
        );
    }
    closed(&http.get(&of(clinic.patient)).await);
    let broken = http.post(&glass, &json!({"reason": REASON})).await.expect_status(201).json();
    assert_eq!((&broken["person_id"], &broken["patient_id"]), (&json!(person), &json!(clinic.patient)));
    let _open = http.get(&of(clinic.patient)).await.expect_status(200);
    // Nobody else's, and to nobody else.
    closed(&http.get(&of(neighbour)).await);
    closed(&staff(&api, &clinic, "doctor", 'e').await.1.get(&of(clinic.patient)).await);
    // A record that is written so makes nobody treat the patient.
    let new = json!({"patient_id": clinic.patient, "kind": "note", "title": "Came in by ambulance"});
    let _written = http.post(RECORDS, &new).await.expect_status(201);

    let mails = smtp.wait_accepted(2, LIMIT).await;
    let mut to: Vec<String> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
    to.sort_unstable();
    assert_eq!(to, ["admin@clinic.example.org", "ops@clinic.example.org"]);
    for mail in &mails {
        let text = mail.raw_text().replace("=\r\n", "").replace("=\n", "");
        assert!(text.contains(broken["id"].as_str().expect("an id")) && text.contains(&person.to_string()), "{text}");
        assert!(text.contains("/sign-in") && !text.contains("/ops"), "administrators have no page there: {text}");
        assert!(!text.contains("unconscious") && !text.contains("Patient-a") && !text.contains("doctor-d"), "{text}");
    }

    let accesses = api
        .with(&clinic.token)
        .get(&format!("/v1/patients/{}/accesses", clinic.patient))
        .await
        .expect_status(200)
        .json();
    let under: Vec<&str> = accesses["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|row| row["glass"] == true)
        .filter_map(|row| row["action"].as_str())
        .collect();
    for action in ["glass.broken", "record.list", "record.written"] {
        assert!(under.contains(&action), "{action}: {accesses}");
    }

    four_hours_go_by(&api).await;
    closed(&http.get(&of(clinic.patient)).await);
    closed(&http.post(RECORDS, &new).await);

    // Operators are told that it is over; administrators know by when it was opened until when.
    sqlx::query("UPDATE jobs SET run_at = now() WHERE kind = 'glass_alarm'").execute(&api.pool).await.expect("due");
    let over = &smtp.wait_accepted(3, LIMIT).await[2];
    assert_eq!(over.to, ["ops@clinic.example.org"]);

    // One that is told of when it has ended already is over at once.
    let _ended = worker.stop_gracefully(LIMIT).await;
    let _broken = http.post(&glass, &json!({"reason": REASON})).await.expect_status(201);
    four_hours_go_by(&api).await;
    let _worker = Process::spawn("pulsecal-worker", env);
    let mails = smtp.wait_accepted(6, LIMIT).await;
    assert_eq!(mails.iter().filter(|mail| mail.to == ["ops@clinic.example.org"]).count(), 4);
    let live = "SELECT count(*) FROM jobs WHERE kind = 'glass_alarm'";
    until(LIMIT, "the last job ends", async || (api.count(live).await == 0).then_some(())).await;
    assert_eq!(api.count("SELECT count(*) FROM alarms WHERE raised").await, 0);
    assert_eq!(smtp.accepted().len(), 6, "nobody is told twice");
}

#[tokio::test]
async fn who_breaks_glass_after_glass_is_stopped() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, http) = staff(&api, &clinic, "doctor", 'd').await;
    let glass = format!("/v1/patients/{}/break-glass", clinic.patient);
    for _ in 0..20 {
        let _broken = http.post(&glass, &json!({"reason": REASON})).await.expect_status(201);
    }
    let refused = http.post(&glass, &json!({"reason": REASON})).await.expect_status(429);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(api.count("SELECT count(*) FROM glass_breaks").await, 20);
    let (_, colleague) = staff(&api, &clinic, "doctor", 'e').await;
    let _broken = colleague.post(&glass, &json!({"reason": REASON})).await.expect_status(201);
}

async fn four_hours_go_by(api: &TestApi) {
    sqlx::query(
        "UPDATE glass_breaks SET broken_at = broken_at - interval '4 hours', ends_at = ends_at - interval '4 hours'",
    )
    .execute(&api.pool)
    .await
    .expect("time goes by");
}
