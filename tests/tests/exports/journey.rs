//! From asking to the file: what is said on the way, what is on record, and who gets nothing.

use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Clinic, LIMIT, ask, fetch, ids_only, new_id, records, token_of};

#[tokio::test]
async fn a_nurse_asks_watches_gets_a_mail_and_fetches_the_file() {
    let clinic = Clinic::open().await;
    clinic.add_visits(2_000).await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let id = ask(&nurse, ids_only()).await;
    assert_eq!(nurse.get(&format!("/v1/exports/{id}")).await.json()["state"], "queued");
    assert_eq!(nurse.get(&format!("/v1/exports/{id}/download")).await.status, 409, "not ready yet");
    let watched = {
        let (nurse, path) = (nurse.clone(), format!("/v1/exports/{id}/events"));
        tokio::spawn(async move {
            let request = nurse.request(reqwest::Method::GET, &path).timeout(LIMIT);
            nurse.send(request).await.expect("the events end by themselves").expect_status(200)
        })
    };
    let _worker = clinic.start("pulsecal-worker");
    let _scheduler = clinic.start("pulsecal-scheduler");
    clinic.becomes(&id, "succeeded").await;

    let events = watched.await.expect("watched");
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let names: Vec<String> =
        events.text().lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect();
    assert!(names.len() >= 2 && names[..names.len() - 1].iter().all(|name| name == "progress"), "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("end"));
    let events = events.text();
    let last = events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("data");
    assert_eq!(serde_json::from_str::<Value>(last).expect("JSON")["state"], "succeeded");

    let shown = nurse.get(&format!("/v1/exports/{id}")).await.expect_status(200).json();
    let file = fetch(&nurse, &id).await;
    let sha256: String = Sha256::digest(&file.body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((shown["rows"].as_i64(), shown["sha256"].as_str()), (Some(2_000), Some(sha256.as_str())));
    assert_eq!(shown["size"].as_u64(), Some(file.body.len() as u64));
    assert_eq!(shown["progress"]["percent"], 100);
    assert_eq!(records(&file.body).len(), 2_001);
    let header = |name: &str| file.header(name).unwrap_or_default().to_owned();
    assert_eq!(header("etag"), format!("\"{sha256}\""));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("cache-control").contains("no-store") && header("repr-digest").starts_with("sha-256=:"));
    let name = header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"appointments-") && name.contains("filename*=UTF-8''"), "{name}");
    assert!(!name.contains("Canary") && !name.contains(&id), "{name}");

    let path = format!("/v1/exports/{id}/download");
    let part = nurse.request(reqwest::Method::GET, &path).header("range", "bytes=100-199");
    let part = nurse.send(part).await.expect("a part").expect_status(206);
    assert_eq!(part.body, &file.body[100..200]);

    // At rest it is sealed: nothing of it can be read in the store.
    let stored = clinic.in_store();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let sealed = std::fs::read(&stored[0]).expect("read");
    assert!(sealed.starts_with(b"age-encryption.org/v1") && !sealed.windows(6).any(|part| part == b"Canary"));

    // The mail says that there is something, and nothing of what.
    let mail = until(LIMIT, "the mail is there", async || clinic.smtp.accepted().pop()).await;
    let text = mail.raw_text();
    assert!(text.contains("nurse-n@example.org") && text.contains("127.0.0.1:4567/staff/exports"), "{text}");
    for private in ["Canary", "ppointment", id.as_str(), "csv", "/files/"] {
        assert!(!text.contains(private), "{private} in {text}");
    }

    let noted: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT action, role FROM audit_entries WHERE subject_id = $1::uuid ORDER BY at, id")
            .bind(&id)
            .fetch_all(&clinic.pool)
            .await
            .expect("entries");
    let actions: Vec<&str> = noted.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(&actions[..2], ["export.request", "export.finish"]);
    assert_eq!(actions.iter().filter(|action| **action == "export.download").count(), 2, "{actions:?}");
    assert_eq!(noted[0].1.as_deref(), Some("nurse"));
}

#[tokio::test]
async fn a_link_is_worth_nothing_in_other_hands() {
    let clinic = Clinic::open().await;
    clinic.add_visits(10).await;
    let other = new_id();
    clinic.add_person(other, "nurse", "Other", 'o').await;
    let (_api, http) = clinic.api().await;
    let _worker = clinic.start("pulsecal-worker");
    let nurse = http.clone().with_bearer(&token_of('n'));
    let id = ask(&nurse, ids_only()).await;
    clinic.becomes(&id, "succeeded").await;
    let shown = nurse.get(&format!("/v1/exports/{id}")).await.json();
    let link = shown["download"]["url"].as_str().expect("a link");
    let link = link.strip_prefix("http://127.0.0.1:4567").expect("ours").to_owned();
    let stranger = http.clone().with_bearer(&token_of('o'));
    for path in [
        link.clone(),
        format!("/v1/exports/{id}"),
        format!("/v1/exports/{id}/download"),
        format!("/v1/exports/{id}/events"),
    ] {
        assert_eq!(stranger.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(stranger.delete(&format!("/v1/exports/{id}")).await.status, 404);
    assert!(stranger.get("/v1/exports").await.json()["items"].as_array().is_some_and(Vec::is_empty));
    let away = http.get(&link).await;
    assert_eq!(away.status, 303, "who is not signed in is asked to");
    let mut changed = link.clone().into_bytes();
    let at = changed.len() - 5;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(nurse.get(&String::from_utf8(changed).expect("ASCII")).await.status, 404);
    // Rights are asked at each request: without the scope the same link is closed.
    sqlx::query("UPDATE api_tokens SET scopes = '{exports:write}' WHERE person_id = $1")
        .bind(clinic.nurse)
        .execute(&clinic.pool)
        .await
        .expect("changed");
    assert_eq!(nurse.get(&link).await.status, 403);
    let downloads: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_entries WHERE action = 'export.download'")
        .fetch_one(&clinic.pool)
        .await
        .expect("counted");
    assert_eq!(downloads, 0, "nobody got a byte");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_no_more_than_three_wait() {
    let clinic = Clinic::open().await;
    let (_api, http) = clinic.api().await;
    let nurse = http.clone().with_bearer(&token_of('n'));
    let wrong = json!({"format": "doc", "columns": ["starts_at", "starts_at", "ssn"], "zone": "Mars/Base",
        "filters": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z", "status": ["lost"], "x": 1}, "csv": {"delimiter": "pipe"}, "y": 2});
    let answer = nurse.post("/v1/exports", &wrong).await.expect_status(422).json();
    let fields: Vec<&str> =
        answer["errors"].as_array().expect("a list").iter().filter_map(|error| error["field"].as_str()).collect();
    for field in ["format", "columns", "zone", "filters.status", "filters.to", "filters.x", "csv.delimiter", "y"] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    for _ in 0..3 {
        ask(&nurse, json!({"format": "pdf"})).await;
    }
    let answer = nurse.post("/v1/exports", &json!({"format": "csv"})).await.expect_status(429);
    assert!(answer.header("retry-after").is_some() && answer.text().contains("cancel one"), "{}", answer.text());
    let first = nurse.get("/v1/exports?limit=1").await.json();
    let id = first["items"][0]["id"].as_str().expect("an id").to_owned();
    assert!(first["next_cursor"].is_string());
    let cancelled = nurse.delete(&format!("/v1/exports/{id}")).await.expect_status(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    ask(&nurse, json!({"format": "csv"})).await;
    // A job that comes for an export that is over does nothing, as often as it comes.
    let _worker = clinic.start("pulsecal-worker");
    clinic.jobs_end().await;
    assert_eq!(clinic.state(&id).await.0, "cancelled");
}
