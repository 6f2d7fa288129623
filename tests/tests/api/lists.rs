//! Lists in each of their orders: every row once, in that order, however small the pages are. And what is counted while it is given
//! out: refills.

use futures_util::future::join_all;
use pulsecal_tests::http::Http;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Clinic, TestApi, add_person, new_id, timing, wrong_fields};

/// What each row of a list shows in a field, page after page.
async fn walk(http: &Http, path: &str, sort: &str, field: &str) -> Vec<String> {
    let glue = if path.contains('?') { '&' } else { '?' };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..50 {
        let page = http.get(&format!("{path}{glue}sort={sort}&limit=2{cursor}")).await.expect_status(200).json();
        for item in page["items"].as_array().expect("items") {
            seen.push(item[field].as_str().map_or_else(|| item[field].to_string(), str::to_owned));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
    panic!("{path} has no end");
}

#[tokio::test]
async fn each_list_goes_both_ways_through_every_row_once() {
    let blobs = tempfile::tempdir().expect("a folder");
    let place = format!("file://{}", blobs.path().display());
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &[("BLOB_URL", &place)]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (doctor, admin) = (api.with(&clinic.token), api.with(&clinic.admin));
    for (letter, name) in [('b', "Drossel"), ('c', "Amsel"), ('d', "Fink"), ('e', "Amsel")] {
        let _id = letter;
        add_person(&api.pool, clinic.org, new_id(), "patient", name).await;
        let nurse = json!({"role": "nurse", "given_name": "Kim", "family_name": name, "email": format!("{letter}@example.org"), "invite": false});
        let _made = admin.post("/v1/members", &nurse).await.expect_status(201);
    }
    for number in 1..=5 {
        let new = json!({"patient_id": clinic.patient, "medicine": format!("Examplomycin {number}")});
        let written = doctor.post("/v1/prescriptions", &new).await.expect_status(201).json();
        let set = json!({"prescription_id": written["id"], "timing": timing("08:00"), "meaning": "wall_clock"});
        let _set = doctor.post("/v1/medication-reminders", &set).await.expect_status(201);
        let _policy = admin
            .post("/v1/insurances", &crate::insurances::policy(clinic.patient, &number.to_string()))
            .await
            .expect_status(201);
        let at = |minutes: i64| {
            (crate::support::now() + chrono::TimeDelta::days(9 - number) + chrono::TimeDelta::minutes(minutes))
                .format("%Y-%m-%dT%H:%M:00Z")
                .to_string()
        };
        let visit =
            json!({"patient_id": clinic.patient, "doctor_id": clinic.doctor, "starts_at": at(0), "ends_at": at(20)});
        let _booked = doctor.post("/v1/appointments", &visit).await.expect_status(201);
        sqlx::query("INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level, job_id, job_attempt, job_worker, created_at)
            VALUES (gen_random_uuid(), $1, 'medication_reminder', gen_random_uuid(), 'first', $2, 'email', $3, 'planned', 'required', 1, gen_random_uuid(), 1, gen_random_uuid(), now() - make_interval(mins => $4))")
            .bind(clinic.org).bind(clinic.patient).bind(format!("<{number}@clinic.example.org>")).bind(i32::try_from(number).expect("small") / 2)
            .execute(&api.pool).await.expect("a message");
    }
    for number in 1..=5 {
        let room = json!({"name": format!("Room {number}"), "participants": [clinic.doctor]});
        let _opened = admin.post("/v1/chat-rooms", &room).await.expect_status(201);
        // Somebody elsewhere asks to join.
        let account = crate::accounts::add_account(&api.pool, &format!("asks-{number}@example.org"), &[]).await;
        sqlx::query("INSERT INTO join_requests (join_request_id, org_id, account_id, from_person_id, given_name, family_name, email, email_verified, asked_at)
            VALUES (gen_random_uuid(), $1, $2, $3, 'Kim', 'Star', $4, true, now() - make_interval(mins => $5))")
            .bind(clinic.org).bind(account).bind(clinic.doctor).bind(format!("asks-{number}@example.org")).bind(number / 2)
            .execute(&api.pool).await.expect("a request");
    }
    for _ in 0..3 {
        let _asked = admin.post("/v1/exports", &json!({"format": "csv"})).await.expect_status(202);
    }
    let trail = format!("/v1/audit-entries?action=insurance.added&actor={}", clinic.administrator);
    let asked = "/v1/join-requests?state=open".to_owned();
    let of_doctor = format!("/v1/appointments?doctor={}", clinic.doctor);
    for (path, up, down, field, rows, sorted) in [
        ("/v1/patients", "registered", "-registered", "id", 5, true),
        ("/v1/patients", "name", "-name", "family_name", 5, true),
        ("/v1/members", "name", "-name", "family_name", 6, true),
        ("/v1/prescriptions", "created", "-created", "id", 5, true),
        ("/v1/medication-reminders", "created", "-created", "id", 5, true),
        ("/v1/appointments", "starts_at", "-starts_at", "starts_at", 5, true),
        (of_doctor.as_str(), "starts_at", "-starts_at", "starts_at", 5, true),
        ("/v1/messages", "created", "-created", "created_at", 5, true),
        ("/v1/messages", "created", "-created", "message_id", 5, false),
        ("/v1/insurances", "created", "-created", "policy_number", 5, true),
        ("/v1/chat-rooms", "opened", "-opened", "id", 5, true),
        ("/v1/exports", "created", "-created", "created_at", 3, true),
        ("/v1/exports", "created", "-created", "id", 3, false),
        (&asked, "asked", "-asked", "id", 5, false),
        (&asked, "asked", "-asked", "asked_at", 5, true),
        (&trail, "at", "-at", "at", 5, true),
        (&trail, "at", "-at", "id", 5, true),
    ] {
        let (first, mut last) = (walk(&admin, path, up, field).await, walk(&admin, path, down, field).await);
        last.reverse();
        assert_eq!(first, last, "{path} {up}: the other way is the same, turned around");
        assert_eq!(first.len(), rows, "{path} {up}");
        assert!(!sorted || first.is_sorted(), "{path} {up}: {first:?}");
        if field.contains("id") || field.contains("number") {
            let mut each = first.clone();
            each.sort();
            each.dedup();
            assert_eq!(each.len(), rows, "{path} {up}: each once");
        }
        let glue = if path.contains('?') { '&' } else { '?' };
        let odd = admin.get(&format!("{path}{glue}sort=colour")).await.expect_status(422).json();
        assert_eq!(wrong_fields(&odd), ["sort"], "{path}");
    }
    assert_eq!(walk(&admin, "/v1/messages", "-created", "id").await, {
        let page = admin.get("/v1/messages").await.json();
        let ids =
            page["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    });
}

#[tokio::test]
async fn refills_are_counted_for_several_at_once_too_and_the_medicine_itself_never_changes() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let doctor = api.with(&clinic.token);
    let new = json!({"patient_id": clinic.patient, "medicine": "Examplomycin", "instructions": "With a meal.", "quantity": 30, "refills_allowed": 3});
    let made = doctor.post("/v1/prescriptions", &new).await.expect_status(201).json();
    assert_eq!(
        (&made["refills_allowed"], &made["refills_left"], &made["refilled_at"]),
        (&json!(3), &json!(3), &Value::Null)
    );
    let path = format!("/v1/prescriptions/{}", made["id"].as_str().expect("an id"));
    let (refill, none) = (format!("{path}/refill"), json!({}));
    let answers = join_all((0..8).map(|_| doctor.post(&refill, &none))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert!(refused.status == 409 && refused.text().contains("All 3 refills"), "{}", refused.text());
    }
    let shown = doctor.get(&path).await.expect_status(200).json();
    assert_eq!(
        (&shown["refills_left"], shown["refilled_at"].is_string(), &shown["version"]),
        (&json!(0), true, &json!(4))
    );
    // More are allowed, never fewer than were handed out.
    let fewer = doctor.patch(&path, &json!({"refills_allowed": 2})).await.expect_status(422).json();
    assert_eq!(wrong_fields(&fewer), ["refills_allowed"]);
    let at = |version: &str| doctor.clone().with_header("if-match", version);
    let more =
        at("\"4\"").patch(&path, &json!({"refills_allowed": 4, "instructions": null})).await.expect_status(200).json();
    assert_eq!(
        (&more["refills_left"], &more["instructions"], &more["quantity"]),
        (&json!(1), &Value::Null, &json!(30))
    );
    let _stale = at("\"4\"").patch(&path, &json!({"quantity": 1})).await.expect_status(412);
    let _stale = at("\"4\"").post(&refill, &none).await.expect_status(412);
    for fixed in ["medicine", "dosage", "timing", "patient_id"] {
        let refused = doctor.patch(&path, &json!({fixed: "other"})).await.expect_status(422).json();
        assert_eq!(wrong_fields(&refused), [fixed]);
    }
    let wrong = json!({"instructions": " ", "quantity": 0, "refills_allowed": 100});
    assert_eq!(
        wrong_fields(&doctor.patch(&path, &wrong).await.expect_status(422).json()),
        ["instructions", "quantity", "refills_allowed"]
    );
    let _foreign = api.with(&other.token).post(&refill, &none).await.expect_status(404);
    let _stopped = doctor.post(&format!("{path}/stop"), &none).await.expect_status(200);
    for refused in [doctor.post(&refill, &none).await, doctor.patch(&path, &json!({"quantity": 1})).await] {
        assert!(refused.expect_status(409).text().contains("is stopped"));
    }
    assert!(
        sqlx::query("UPDATE prescriptions SET refills_used = 5").execute(&api.pool).await.is_err(),
        "the database holds it"
    );
    let trail: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_entries WHERE subject_id = $1 AND action NOT LIKE '%.read' ORDER BY id",
    )
    .bind(made["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()))
    .fetch_all(&api.pool)
    .await
    .expect("a trail");
    let done =
        ["written", "refilled", "refilled", "refilled", "changed", "stopped"].map(|did| format!("prescription.{did}"));
    assert_eq!(trail, done);
}

#[tokio::test]
async fn administrators_read_their_own_trail_by_time_action_person_and_thing_and_leave_a_line_in_it() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (admin, doctor) = (api.with(&clinic.admin), api.with(&clinic.token));
    let patient = format!("/v1/patients/{}", clinic.patient);
    for _ in 0..3 {
        let _looked = doctor.get(&patient).await.expect_status(200);
    }
    let _changed = doctor.patch(&patient, &json!({"privacy_level": 1})).await.expect_status(200);
    let _refused = doctor.get("/v1/audit-entries").await.expect_status(403);
    let _theirs = api.with(&other.token).get(&format!("/v1/patients/{}", other.patient)).await.expect_status(200);
    let list = async |query: &str| {
        let page = admin.get(&format!("/v1/audit-entries?{query}")).await.expect_status(200).json();
        page["items"].as_array().expect("items").clone()
    };
    let reads = list("action=patient.read").await;
    assert_eq!(reads.len(), 3, "and none of another organization");
    assert!(reads.iter().all(|entry| entry["actor_id"] == json!(clinic.doctor)
        && entry["subject_id"] == json!(clinic.patient)
        && entry["role"] == "doctor"));
    let ids: Vec<&str> = reads.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "newest first: {ids:?}");
    assert_eq!(list(&format!("subject={}&action=patient.changed", clinic.patient)).await.len(), 1);
    assert_eq!(list("outcome=refused").await.len(), 1);
    assert_eq!(
        list(&format!("actor={}", clinic.administrator)).await[0]["action"],
        "trail.list",
        "its readers are in it"
    );
    assert_eq!(list("to=2020-01-08T00:00:00Z").await.len(), 0);
    let page = admin.get("/v1/audit-entries?limit=2&action=patient.read").await.json();
    let rest = admin
        .get(&format!(
            "/v1/audit-entries?limit=2&action=patient.read&cursor={}",
            page["next_cursor"].as_str().expect("more")
        ))
        .await
        .json();
    assert_eq!(rest["items"][0], reads[2]);
    let one = format!("/v1/audit-entries/{}", ids[0]);
    assert_eq!(admin.get(&one).await.expect_status(200).json()["action"], "patient.read");
    let _foreign = api.with(&other.admin).get(&one).await.expect_status(404);
    let wrong =
        admin.get("/v1/audit-entries?from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z&action=DROP%20TABLE").await;
    assert_eq!(wrong_fields(&wrong.expect_status(422).json()), ["action", "from"]);
}
