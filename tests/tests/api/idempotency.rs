//! `Idempotency-Key`: what is sent again is done once.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::add_account;
use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, timing, token_of};

fn with_key(http: &Http, key: &str) -> Http {
    http.clone().with_header("idempotency-key", key)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

const PRESCRIPTIONS: &str = "SELECT count(*) FROM prescriptions";

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_one_is_refused() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = with_key(&api.with(&clinic.token), "first");
    let body = json!({"patient_id": clinic.patient, "medicine": "Examplomycin"});

    let first = http.post("/v1/prescriptions", &body).await.expect_status(201);
    let second = http.post("/v1/prescriptions", &body).await.expect_status(201);
    assert!(!replayed(&first) && replayed(&second));
    assert_eq!(first.body, second.body);
    for name in ["location", "etag", "content-type"] {
        assert!(first.header(name).is_some() && first.header(name) == second.header(name), "{name}");
    }
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(api.count(PRESCRIPTIONS).await, 1);

    let other = json!({"patient_id": clinic.patient, "medicine": "Otheromycin"});
    let refused = http.post("/v1/prescriptions", &other).await.expect_status(422).json();
    assert_eq!(refused["type"], "urn:pulsecal:problem:key_of_another");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let _elsewhere = http.post(&format!("/v1/prescriptions/{id}/stop"), &json!({})).await.expect_status(422);
    assert_eq!(api.count(PRESCRIPTIONS).await, 1);

    // Another person's key of the same name is theirs.
    let (nurse, token) = (new_id(), token_of('n'));
    add_person(&api.pool, clinic.org, nurse, "nurse", "Nurse").await;
    add_token(&api.pool, clinic.org, nurse, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    let theirs = with_key(&api.with(&token), "first").post("/v1/prescriptions", &other).await.expect_status(201);
    assert!(!replayed(&theirs));
    // A key of a request that only reads means nothing.
    let _list = http.get("/v1/prescriptions").await.expect_status(200);

    for odd in ["", "a b", "é", &"x".repeat(256)] {
        let request = api.with(&clinic.token).request(reqwest::Method::POST, "/v1/prescriptions");
        let request = request.header("idempotency-key", odd.as_bytes()).json(&body);
        let answer = api.anonymous().send(request).await.expect("an answer");
        assert_eq!(answer.status, 400, "{odd:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn sixteen_at_once_are_done_once_and_all_get_its_answer_in_the_end() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = with_key(&api.with(&clinic.token), "at-once");
    let body = json!({"patient_id": clinic.patient, "medicine": "Examplomycin"});
    let answers = join_all((0..16).map(|_| http.post("/v1/prescriptions", &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.status == 409), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 201 && !replayed(answer)).count(), 1);
    for busy in answers.iter().filter(|answer| answer.status == 409) {
        assert_eq!(
            (busy.header("retry-after"), &busy.json()["type"]),
            (Some("1"), &json!("urn:pulsecal:problem:key_busy"))
        );
    }
    let last = http.post("/v1/prescriptions", &body).await.expect_status(201);
    assert!(replayed(&last));
    assert_eq!(api.count(PRESCRIPTIONS).await, 1);
}

#[tokio::test]
async fn what_came_to_nothing_leaves_no_key() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = with_key(&api.with(&clinic.token), "again");
    let wrong = json!({"patient_id": new_id(), "medicine": "Examplomycin"});
    let _wrong = http.post("/v1/prescriptions", &wrong).await.expect_status(422);
    assert_eq!(api.count("SELECT count(*) FROM idempotency_keys").await, 0);
    let right = json!({"patient_id": clinic.patient, "medicine": "Examplomycin"});
    let _right = http.post("/v1/prescriptions", &right).await.expect_status(201);

    // A process that died at it: until it must be gone the key is busy, then the same request may take it over.
    let of = "UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL, request_id = gen_random_uuid()";
    sqlx::query(of).execute(&api.pool).await.expect("as a killed process leaves it");
    let _busy = http.post("/v1/prescriptions", &right).await.expect_status(409);
    sqlx::query("UPDATE idempotency_keys SET claimed_at = now() - interval '41 seconds'")
        .execute(&api.pool)
        .await
        .expect("later");
    let _other = http.post("/v1/prescriptions", &wrong).await.expect_status(422);
    let _taken_over = http.post("/v1/prescriptions", &right).await.expect_status(201);

    // A day later a key is as good as new.
    sqlx::query("UPDATE idempotency_keys SET claimed_at = now() - interval '25 hours'")
        .execute(&api.pool)
        .await
        .expect("a day");
    let anew = http.post("/v1/prescriptions", &json!({"patient_id": clinic.patient, "medicine": "Otheromycin"})).await;
    assert!(!replayed(&anew.expect_status(201)));
}

#[tokio::test]
async fn every_write_takes_a_key() {
    let files = tempfile::tempdir().expect("a folder");
    let place = format!("file://{}", files.path().display());
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &[("BLOB_URL", &place)]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (prescription, reminder) = clinic.add_reminder(&api.pool).await;
    // The administrator may all of it.
    let mut keys = (0..).map(|number| with_key(&api.with(&clinic.admin), &format!("key-{number}")));
    let mut twice = async |method: &str, path: String, body: Value| {
        let http = keys.next().expect("endless");
        let ask = async || {
            let request = http.request(method.parse().expect("a method"), &path).json(&body);
            http.send(request).await.expect("an answer")
        };
        let (first, second) = (ask().await, ask().await);
        assert!((200..300).contains(&first.status), "{method} {path}: {}", first.text());
        assert_eq!(
            (first.status, &first.body, replayed(&second)),
            (second.status, &second.body, true),
            "{method} {path}"
        );
        first.json()
    };
    let id = |shown: &Value| shown["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).expect("an id");
    let at =
        |hours: i64| (crate::support::now() + chrono::TimeDelta::hours(hours)).format("%Y-%m-%dT%H:00:00Z").to_string();

    twice("PATCH", "/v1/organization".to_owned(), json!({"address": "Lindenstraße 12"})).await;
    let neighbour = Clinic::add(&api.pool, 'b').await;
    add_account(&api.pool, "both@example.org", &[clinic.administrator]).await;
    let ask = json!({"organization_id": neighbour.org});
    let join = id(&twice("POST", "/v1/join-requests".to_owned(), ask).await);
    twice("POST", format!("/v1/join-requests/{join}/withdraw"), json!({})).await;
    for verb in ["approve", "deny"] {
        let account = add_account(&api.pool, &format!("{verb}@example.org"), &[neighbour.doctor]).await;
        let asked = api.with(&neighbour.token).post("/v1/join-requests", &json!({"organization_id": clinic.org})).await;
        let join = id(&asked.expect_status(201).json());
        twice("POST", format!("/v1/join-requests/{join}/{verb}"), json!({})).await;
        sqlx::query("UPDATE people SET active = false WHERE account_id = $1 AND org_id = $2")
            .bind(account)
            .bind(clinic.org)
            .execute(&api.pool)
            .await
            .expect("left again");
    }
    let new = json!({"role": "nurse", "given_name": "Kim", "family_name": "Amsel", "email": "kim.amsel@example.org", "invite": false});
    let member = format!("/v1/members/{}", id(&twice("POST", "/v1/members".to_owned(), new).await));
    twice("PATCH", member.clone(), json!({"phone": "+49 30 5550100"})).await;
    twice("POST", format!("{member}/role"), json!({"role": "doctor"})).await;
    for verb in ["invite", "leave", "return"] {
        twice("POST", format!("{member}/{verb}"), json!({})).await;
    }
    twice("POST", format!("/v1/patients/{}/invite", clinic.patient), json!({})).await;
    let patient = format!("/v1/patients/{}", clinic.patient);
    twice("PATCH", patient, json!({"privacy_level": 1})).await;
    let new = crate::insurances::policy(clinic.patient, "A-1");
    let policy = format!("/v1/insurances/{}", id(&twice("POST", "/v1/insurances".to_owned(), new).await));
    twice("PATCH", policy.clone(), json!({"copay": 500})).await;
    twice("POST", format!("{policy}/end"), json!({})).await;
    assert_eq!(api.count("SELECT version::bigint FROM insurances").await, 3);
    let new = json!({"patient_id": clinic.patient, "kind": "consultation", "method": "cash", "amount": 4500});
    for verbs in [&["process", "fail", "cancel"][..], &["complete", "refund"]] {
        let payment = format!("/v1/payments/{}", id(&twice("POST", "/v1/payments".to_owned(), new.clone()).await));
        twice("PATCH", payment.clone(), json!({"amount": 5000})).await;
        for verb in verbs {
            let body = if ["fail", "refund"].contains(verb) { json!({"reason": "So it was."}) } else { json!({}) };
            twice("POST", format!("{payment}/{verb}"), body).await;
        }
    }
    assert_eq!(api.count("SELECT count(*) FROM refunds").await, 1);
    let new = json!({"name": "Jonas", "relationship": "spouse", "phone": "+49 30 5550123"});
    let of_patient = format!("/v1/patients/{}/emergency-contacts", clinic.patient);
    let contact = format!("/v1/emergency-contacts/{}", id(&twice("POST", of_patient, new).await));
    twice("PATCH", contact.clone(), json!({"primary": true})).await;
    twice("POST", format!("{contact}/consent"), json!({"given_by": "contact"})).await;
    for verb in ["withdraw-consent", "remove"] {
        twice("POST", format!("{contact}/{verb}"), json!({})).await;
    }
    assert_eq!(api.count("SELECT version::bigint FROM emergency_contacts").await, 5);
    let body = json!({"prescription_id": prescription, "timing": timing("08:00"), "meaning": "wall_clock"});
    twice("POST", "/v1/medication-reminders".to_owned(), body).await;
    twice("PATCH", format!("/v1/medication-reminders/{reminder}"), json!({"active": false})).await;
    twice("POST", "/v1/prescriptions".to_owned(), json!({"patient_id": clinic.patient, "medicine": "Examplomycin"}))
        .await;
    twice("PATCH", format!("/v1/prescriptions/{prescription}"), json!({"refills_allowed": 2})).await;
    twice("POST", format!("/v1/prescriptions/{prescription}/refill"), json!({})).await;
    assert_eq!(api.count("SELECT sum(refills_used) FROM prescriptions").await, 1);
    twice("POST", format!("/v1/prescriptions/{prescription}/stop"), json!({})).await;
    let body =
        json!({"patient_id": clinic.patient, "doctor_id": clinic.doctor, "starts_at": at(200), "ends_at": at(201)});
    let visit = id(&twice("POST", "/v1/appointments".to_owned(), body).await);
    twice("POST", format!("/v1/appointments/{visit}/confirm"), json!({})).await;
    let to = json!({"starts_at": at(300), "ends_at": at(301)});
    twice("POST", format!("/v1/appointments/{visit}/move"), to).await;
    twice("POST", format!("/v1/appointments/{visit}/cancel"), json!({})).await;
    for (status, verbs) in
        [("booked", &["check-in", "start", "complete"][..]), ("pending", &["decline"]), ("booked", &["no-show"])]
    {
        sqlx::query("UPDATE appointments SET status = $2, cancelled_at = NULL, cancel_reason = NULL, starts_at = now() - interval '1 hour', ends_at = now() WHERE appointment_id = $1")
            .bind(visit).bind(status).execute(&api.pool).await.expect("now");
        for verb in verbs {
            twice("POST", format!("/v1/appointments/{visit}/{verb}"), json!({})).await;
        }
    }
    sqlx::query("UPDATE appointments SET doctor_id = $2, mode = 'virtual', meeting_url = 'https://meet.example.org/1', status = 'booked', starts_at = now() - interval '1 minute' WHERE appointment_id = $1")
        .bind(visit).bind(clinic.administrator).execute(&api.pool).await.expect("online, and now");
    twice("POST", format!("/v1/appointments/{visit}/session/join"), json!({})).await;
    let new = json!({"name": "Ward 2", "participants": [clinic.doctor]});
    let room = id(&twice("POST", "/v1/chat-rooms".to_owned(), new).await);
    twice("POST", format!("/v1/chat-rooms/{room}/messages"), json!({"text": "hello"})).await;
    twice("POST", format!("/v1/chat-rooms/{room}/read"), json!({"seq": 1})).await;
    twice("PATCH", format!("/v1/chat-rooms/{room}"), json!({"closed": true})).await;
    assert_eq!(api.count("SELECT count(*) FROM chat_messages").await, 1);
    let export = id(&twice("POST", "/v1/exports".to_owned(), json!({"format": "csv"})).await);
    twice("DELETE", format!("/v1/exports/{export}"), json!({})).await;

    assert_eq!(api.count("SELECT count(*) FROM idempotency_keys WHERE status IS NULL").await, 0);
    assert_eq!(api.count("SELECT count(*) FROM appointments").await, 1);
    assert_eq!(api.count("SELECT sequence::bigint FROM appointments").await, 3, "moved, cancelled and declined once");
    assert_eq!(api.count("SELECT count(*) FROM exports").await, 1);

    // A day later the answers are forgotten.
    sqlx::query("UPDATE idempotency_keys SET claimed_at = now() - interval '25 hours' WHERE key <> 'key-0'")
        .execute(&api.pool)
        .await
        .expect("a day");
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) VALUES (gen_random_uuid(), 'forget_answers', 'maintenance', '{}', now(), 5, now())")
        .execute(&api.pool).await.expect("a job");
    let _scheduler = Process::spawn("pulsecal-scheduler", api.env());
    let _worker = Process::spawn("pulsecal-worker", api.env());
    until(LIMIT, "old answers are gone", async || {
        (api.count("SELECT count(*) FROM idempotency_keys").await == 1).then_some(())
    })
    .await;
}
