//! Nobody reaches another's data.

use serde_json::{Value, json};

use crate::support::{Clinic, TestApi, timing, wrong_fields};

#[tokio::test]
async fn another_organizations_rows_are_not_there() {
    let api = TestApi::start().await;
    let (own, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (prescription, reminder) = other.add_reminder(&api.pool).await;
    sqlx::query("INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level, job_id, job_attempt, job_worker, created_at) VALUES ($1, $2, 'medication_reminder', $1, 'x', $3, 'email', '<x@example.org>', 'uncertain', 'critical', 0, $1, 1, $1, now())")
        .bind(reminder).bind(other.org).bind(other.patient).execute(&api.pool).await.expect("a message");
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, org_id, run_at, max_attempts, enqueued_at) VALUES ($1, 'noop', 'maintenance', '{}', $2, now(), 5, now())")
        .bind(reminder).bind(other.org).execute(&api.pool).await.expect("a job");
    let before = api.count("SELECT sum(hashtext(p::text))::bigint FROM people p").await;
    let http = api.with(&own.token);

    for path in [
        format!("/v1/patients/{}", other.patient),
        format!("/v1/prescriptions/{prescription}"),
        format!("/v1/medication-reminders/{reminder}"),
        format!("/v1/medication-reminders/{reminder}/occurrences"),
    ] {
        let foreign = http.get(&path).await.expect_status(404);
        let _own = api.with(&other.token).get(&path).await.expect_status(200);
        assert_eq!(foreign.header("content-type"), Some("application/problem+json"));
    }
    for path in ["/v1/patients", "/v1/prescriptions", "/v1/medication-reminders", "/v1/messages", "/v1/jobs"] {
        let seen = http.get(path).await.expect_status(200).json();
        let theirs = api.with(&other.token).get(path).await.expect_status(200).json();
        let count = |body: &Value| body["items"].as_array().map(Vec::len);
        assert_eq!(count(&seen), Some(usize::from(path == "/v1/patients")), "{path}: {seen}");
        assert_eq!(count(&theirs), Some(1), "{path}: {theirs}");
    }

    let _patch =
        http.patch(&format!("/v1/patients/{}", other.patient), &json!({"active": false})).await.expect_status(404);
    let _patch =
        http.patch(&format!("/v1/medication-reminders/{reminder}"), &json!({"active": false})).await.expect_status(404);
    let _stop = http.post(&format!("/v1/prescriptions/{prescription}/stop"), &json!({})).await.expect_status(404);
    let of_theirs = json!({"patient_id": other.patient, "medicine": "Examplomycin"});
    assert_eq!(
        wrong_fields(&http.post("/v1/prescriptions", &of_theirs).await.expect_status(422).json()),
        ["patient_id"]
    );
    let by_theirs = json!({"patient_id": own.patient, "prescriber_id": other.doctor, "medicine": "Examplomycin"});
    assert_eq!(
        wrong_fields(&http.post("/v1/prescriptions", &by_theirs).await.expect_status(422).json()),
        ["prescriber_id"]
    );
    let on_theirs = json!({"prescription_id": prescription, "timing": timing("08:00"), "meaning": "wall_clock"});
    assert_eq!(
        wrong_fields(&http.post("/v1/medication-reminders", &on_theirs).await.expect_status(422).json()),
        ["prescription_id"]
    );

    assert_eq!(api.count("SELECT sum(hashtext(p::text))::bigint FROM people p").await, before);
    let changes = "SELECT count(*) FROM audit_entries WHERE action !~ '[.](list|read)$'";
    assert_eq!(api.count(changes).await, 0);
    assert_eq!(api.count("SELECT count(*) FROM prescriptions WHERE status = 'active'").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM jobs").await, 1);
}

#[tokio::test]
async fn lists_are_paged_to_their_end_and_filtered() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    for i in 0..6 {
        let id = crate::support::new_id();
        crate::support::add_person(&api.pool, clinic.org, id, "patient", &format!("Miller-{i}")).await;
        sqlx::query("INSERT INTO identifiers (org_id, subject_type, subject_id, system, value) VALUES ($1, 'person', $2, $3, $4)")
            .bind(clinic.org).bind(id).bind(if i == 0 { "" } else { "https://clinic.example.org/mrn" }).bind(format!("M|{i}")).execute(&api.pool).await.expect("an identifier");
    }
    let http = api.with(&clinic.token);
    let (mut seen, mut path) = (Vec::new(), "/v1/patients?limit=3".to_owned());
    for _ in 0..10 {
        let page = http.get(&path).await.expect_status(200).json();
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/patients?limit=3&cursor={next}");
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (7, 7));

    for (query, count) in [
        ("identifier=https%3A%2F%2Fclinic.example.org%2Fmrn%7CM%5C%7C3", 1),
        ("identifier=M%5C%7C3", 1),
        ("identifier=%7CM%5C%7C0", 1),
        ("identifier=%7CM%5C%7C3", 0),
        ("identifier=https%3A%2F%2Fclinic.example.org%2Fmrn%7C", 5),
        ("identifier=https%3A%2F%2Felsewhere.example.org%7CM%5C%7C3", 0),
        ("name=miller-4", 1),
        ("name=%25", 0),
    ] {
        let page = http.get(&format!("/v1/patients?{query}")).await.expect_status(200).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{query}: {page}");
    }
    for query in ["limit=0", "limit=1000", "cursor=x", "identifier=a,b", "colour=red", "name=%00", "name=%ff"] {
        let _refused = http.get(&format!("/v1/patients?{query}")).await.expect_status(422);
    }
}
