//! Files of medical records: what is taken and what is not, who gets them, and that they come back byte for byte.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 1 0 R >>\n%%EOF\n";

/// A record of the clinic's patient, by its doctor, who treats them from then on.
async fn record(api: &TestApi, clinic: &Clinic) -> String {
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, zone, created_at, updated_at)
        VALUES (gen_random_uuid(), $1, $2, $3, now() - interval '2 hours', now() - interval '1 hour', 'fulfilled', 'UTC', now(), now())")
        .bind(clinic.org).bind(clinic.patient).bind(clinic.doctor).execute(&api.pool).await.expect("a visit");
    let new = json!({"patient_id": clinic.patient, "kind": "imaging", "title": "Thorax"});
    let made = api.with(&clinic.token).post("/v1/medical-records", &new).await.expect_status(201).json();
    format!("/v1/medical-records/{}/attachments", made["id"].as_str().expect("an id"))
}

async fn upload(http: &Http, to: &str, name: &str, kind: &str, file: impl Into<Vec<u8>>) -> Answer {
    let encoded = Url::parse_with_params("http://127.0.0.1/", [("name", name)]).expect("an address");
    let to = format!("{to}?{}", encoded.query().unwrap_or_default());
    let request = http.request(Method::POST, &to).header("content-type", kind).body(file.into());
    http.send(request).await.expect("an answer")
}

fn path_of(made: &Value) -> String {
    format!("/v1/record-attachments/{}", made["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_to_who_treats_the_patient_and_to_the_patient_alone() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let to = record(&api, &clinic).await;
    let doctor = api.with(&clinic.token);
    // As large as it may be, and of every byte.
    let large: Vec<u8> =
        PDF.iter().copied().chain((0..).map(|at: u32| at.to_le_bytes()[at as usize % 4])).take(10 << 20).collect();
    let made = upload(&doctor, &to, "Röntgen \"Thorax\".pdf", "application/pdf", large.clone()).await;
    assert_eq!(made.status, 422, "a quote is none of a file's name: {}", made.text());
    let made =
        upload(&doctor, &to, "Röntgen Thorax.pdf", "Application/PDF; x=y", large.clone()).await.expect_status(201);
    let at = made.header("location").expect("where it is").to_owned();
    let shown = made.json();
    assert_eq!((&shown["bytes"], &shown["media_type"]), (&json!(10 << 20), &json!("application/pdf")));
    assert!(at.ends_with(&path_of(&shown)));
    let path = path_of(&shown);
    assert_eq!(doctor.get(&path).await.expect_status(200).json(), shown);
    let sent = doctor.get(&format!("{path}/content")).await.expect_status(200);
    assert!(sent.body == large, "byte for byte");
    let hex: String = Sha256::digest(&large).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown["sha256"], hex.as_str());
    assert_eq!(sent.header("content-type"), Some("application/pdf"));
    assert_eq!(
        sent.header("content-disposition"),
        Some("attachment; filename=\"R_ntgen Thorax.pdf\"; filename*=UTF-8''R%C3%B6ntgen%20Thorax%2Epdf")
    );
    assert!(sent.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    assert_eq!(
        (sent.header("x-content-type-options"), sent.header("cache-control")),
        (Some("nosniff"), Some("private, no-store"))
    );

    // Colleagues who do not treat the patient, other roles, other organizations.
    let (nurse, token) = (new_id(), token_of('n'));
    add_person(&api.pool, clinic.org, nurse, "doctor", "Other").await;
    add_token(&api.pool, clinic.org, nurse, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    let reads = [path.clone(), format!("{path}/content"), to.clone()];
    for (http, status) in [(api.with(&token), 403), (api.with(&clinic.admin), 403), (api.with(&other.token), 404)] {
        for read in &reads {
            let _closed = http.get(read).await.expect_status(status);
        }
        let _closed = upload(&http, &to, "x.pdf", "application/pdf", PDF).await.expect_status(status);
        let _closed = http.post(&format!("{path}/withdraw"), &json!({"reason": "Mine."})).await.expect_status(status);
    }

    // The patient, at their page; another patient of the same clinic is nobody.
    let neighbour = new_id();
    add_person(&api.pool, clinic.org, neighbour, "patient", "Neighbour").await;
    add_account(&api.pool, "own@example.org", &[clinic.patient]).await;
    add_account(&api.pool, "neighbour@example.org", &[neighbour]).await;
    let own = enter(&api, "own@example.org").await;
    let page = own.get("/p/records").await.expect_status(200).text();
    let link = format!("/p/attachments/{}", shown["id"].as_str().expect("an id"));
    assert!(page.contains(&link) && page.contains("Röntgen Thorax.pdf"), "{page}");
    assert!(own.get(&link).await.expect_status(200).body == large);
    let _nobody = enter(&api, "neighbour@example.org").await.get(&link).await.expect_status(404);
    let data = own.get("/p/data/file").await.expect_status(200).json();
    assert_eq!(data["attachments"][0]["file_name"], "Röntgen Thorax.pdf");
    let looked = api
        .count("SELECT count(*) FROM audit_entries WHERE action = 'attachment.fetched' AND outcome = 'success'")
        .await;
    assert_eq!(looked, 2, "each look at the file is on record");

    // Entered in error: it stays, and nobody reads it.
    let withdraw = format!("{path}/withdraw");
    let _why = doctor.post(&withdraw, &json!({"reason": " "})).await.expect_status(422);
    let gone = doctor.post(&withdraw, &json!({"reason": "Another patient's."})).await.expect_status(200).json();
    assert!(gone["withdrawn_at"].is_string());
    let twice = doctor.post(&withdraw, &json!({"reason": "Again."})).await.expect_status(200).json();
    assert_eq!(twice, gone);
    let _closed = doctor.get(&format!("{path}/content")).await.expect_status(409);
    let _closed = own.get(&link).await.expect_status(404);
    assert!(!own.get("/p/records").await.text().contains(&link));
    assert_eq!(doctor.get(&to).await.json()["items"][0], gone);
    assert_eq!(api.count("SELECT count(*) FROM record_attachments").await, 1);
}

#[tokio::test]
async fn what_a_file_is_not_said_to_be_is_too_large_or_misnamed_is_refused_in_words() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let to = record(&api, &clinic).await;
    let doctor = api.with(&clinic.token);
    for kind in ["text/html", "image/svg+xml", "application/json", "application/octet-stream", "application/zip"] {
        let refused = upload(&doctor, &to, "x", kind, PDF).await.expect_status(415);
        assert!(refused.text().contains("application/pdf, image/png"), "{}", refused.text());
    }
    let wrong: [(&str, &[u8]); 6] = [
        ("image/png", PDF),
        ("application/pdf", b"<html><script>alert(1)</script></html>"),
        ("application/pdf", b""),
        ("text/plain", b"\xff\xfe\x00"),
        ("image/jpeg", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("application/dicom", b"DICM"),
    ];
    for (kind, file) in wrong {
        let refused = upload(&doctor, &to, "x.bin", kind, file).await.expect_status(422).json();
        assert_eq!(wrong_fields(&refused), ["body"], "{kind}");
    }
    for name in ["../../etc/passwd", "a\r\nSet-Cookie: x", ".profile", "a\u{202e}gpj.exe", "con?", ""] {
        let refused = upload(&doctor, &to, name, "application/pdf", PDF).await.expect_status(422).json();
        assert!(wrong_fields(&refused).contains(&"name"), "{name:?} {refused}");
    }
    let all = upload(&doctor, &to, "a/b", "image/png", PDF).await.expect_status(422).json();
    assert_eq!(wrong_fields(&all), ["name", "body"], "all at once");
    let large = PDF.iter().copied().chain(std::iter::repeat(0)).take((10 << 20) + 1).collect::<Vec<u8>>();
    for http in [doctor.clone(), doctor.clone().with_header("idempotency-key", "large")] {
        let refused = upload(&http, &to, "x.pdf", "application/pdf", large.clone()).await.expect_status(413);
        assert!(refused.text().contains("10240 KiB"), "{}", refused.text());
    }
    // Elsewhere a body is as short as it was.
    let long =
        json!({"patient_id": clinic.patient, "kind": "note", "title": "x", "description": "y".repeat(300 * 1024)});
    let _long = doctor.post("/v1/medical-records", &long).await.expect_status(413);
    assert_eq!(api.count("SELECT count(*) FROM record_attachments").await, 0);
    // Neither names nor contents are in the trail.
    let _made = upload(&doctor, &to, "HIV test.txt", "text/plain", "positive").await.expect_status(201);
    let told = "SELECT count(*) FROM audit_entries WHERE detail::text LIKE '%HIV%' OR detail::text LIKE '%positive%'";
    assert_eq!(api.count(told).await, 0);
}

#[tokio::test]
async fn the_same_upload_with_a_key_is_made_once_and_twenty_are_the_most_for_two_at_once_too() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let to = record(&api, &clinic).await;
    let doctor = api.with(&clinic.token);
    let keyed = doctor.clone().with_header("idempotency-key", "scan-1");
    let large: Vec<u8> = PDF.iter().copied().chain(std::iter::repeat(b' ')).take(3 << 20).collect();
    let answers = [
        upload(&keyed, &to, "scan.pdf", "application/pdf", large.clone()).await.expect_status(201),
        upload(&keyed, &to, "scan.pdf", "application/pdf", large.clone()).await.expect_status(201),
    ];
    assert_eq!(answers[0].body, answers[1].body);
    let _other = upload(&keyed, &to, "scan.pdf", "application/pdf", PDF).await.expect_status(422);
    assert_eq!(api.count("SELECT count(*) FROM record_attachments").await, 1);
    let answers = join_all((0..24).map(|_| upload(&doctor, &to, "x.pdf", "application/pdf", PDF))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 19);
    assert!(answers.iter().filter(|answer| answer.status != 201).all(|answer| answer.status == 409), "{answers:?}");
    let page = doctor.get(&format!("{to}?limit=15")).await.expect_status(200).json();
    let rest = doctor.get(&format!("{to}?cursor={}", page["next_cursor"].as_str().expect("more"))).await.json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(5));
    // A record that was entered in error takes none.
    let of = to.trim_end_matches("/attachments");
    let _withdrawn = doctor.post(&format!("{of}/withdraw"), &json!({"reason": "Wrong."})).await.expect_status(200);
    let _closed = upload(&doctor, &to, "x.pdf", "application/pdf", PDF).await.expect_status(409);
}

/// A sample for the test of traces: a file of a new record, and what is done to it.
pub async fn sample(doctor: &Http, patient: Uuid, route: &str, method: &str) -> Answer {
    let new = json!({"patient_id": patient, "kind": "note", "title": "With a file"});
    let written = doctor.post("/v1/medical-records", &new).await.expect_status(201).json();
    let to = format!("/v1/medical-records/{}/attachments", written["id"].as_str().expect("an id"));
    let added = upload(doctor, &to, "x.pdf", "application/pdf", PDF).await;
    if route.ends_with("/attachments") {
        return if method == "GET" { doctor.get(&to).await } else { added };
    }
    let path = route.replace("{id}", added.expect_status(201).json()["id"].as_str().expect("an id"));
    if method == "GET" { doctor.get(&path).await } else { doctor.post(&path, &json!({"reason": "Not theirs."})).await }
}
