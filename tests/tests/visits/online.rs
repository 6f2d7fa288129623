//! Online visits: who gets to the meeting, and when.

use chrono::TimeDelta;
use pulsecal_tests::http::Http;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Clinic, LIMIT, from_now, new_id, parts};

const TEMPLATE: &str = "https://meet.example.org/canary/{room}?lang=en";

impl Clinic {
    async fn online(&self, patient: Uuid, ahead: TimeDelta) -> Value {
        let mut body = self.booking(patient, from_now(ahead));
        body["mode"] = json!("virtual");
        self.http().post("/v1/appointments", &body).await.expect_status(201).json()
    }

    async fn session(&self, visit: &Value) -> Value {
        self.http().get(&format!("/v1/appointments/{}/session", id(visit))).await.expect_status(200).json()
    }

    async fn room(&self, visit: &Value) -> String {
        sqlx::query_scalar("SELECT meeting_room FROM appointments WHERE appointment_id = $1::uuid")
            .bind(id(visit))
            .fetch_one(&self.pool)
            .await
            .expect("a room")
    }

    async fn begins(&self, visit: &Value, ahead: TimeDelta) {
        sqlx::query("UPDATE appointments SET starts_at = $2, ends_at = $2 + interval '30 minutes' WHERE appointment_id = $1::uuid")
            .bind(id(visit))
            .bind(from_now(ahead))
            .execute(&self.pool)
            .await
            .expect("another time");
    }
}

fn id(visit: &Value) -> &str {
    visit["id"].as_str().expect("an id")
}

fn path_in(text: &str, head: &str) -> String {
    let at = text.find(head).unwrap_or_else(|| panic!("no {head} in {text}"));
    text[at..].split(|c: char| c.is_whitespace() || c == '"').next().expect("a path").to_owned()
}

async fn press(http: &Http, path: &str) -> (u16, String) {
    let page = http.get(path).await.text();
    let token = page.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
    let answer = http.post_form(path, &[("form_token", token)]).await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn patient_and_doctor_join_in_its_time_only_and_when_both_are_there_it_begins() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    sqlx::query("UPDATE organizations SET meeting_url_template = $1")
        .bind(TEMPLATE)
        .execute(&clinic.pool)
        .await
        .expect("set");
    let patient = clinic.patient(2).await;
    let visit = clinic.online(patient, TimeDelta::minutes(50)).await;
    let room = clinic.room(&visit).await;
    let meeting = TEMPLATE.replace("{room}", &room);
    assert_eq!(visit["meeting_url"], Value::Null);

    // The mail leads to our page, and does not name the meeting.
    let raw = clinic.smtp.wait_accepted(1, LIMIT).await[0].clone();
    let mail = parts(&raw);
    until(LIMIT, "the mail is on record", async || (clinic.log_of(&visit).await.first()?.1 == "sent").then_some(()))
        .await;
    let path = path_in(&mail.text, "/p/t/");
    for part in [&mail.text, &mail.html, &mail.calendar.expect("an invitation").1] {
        assert!(!part.contains(&room) && !part.contains("meet.example.org"), "{part}");
    }
    let own = path_in(&mail.text, "/p/a/");
    let anonymous = clinic.anonymous();
    let page = anonymous.get(own.split('?').next().expect("a path")).await.expect_status(200).text();
    assert!(page.contains("/p/t/") && !page.contains(&room), "{page}");

    // 50 minutes before it: words that say when, to both.
    let page = anonymous.get(&path).await.expect_status(200).text();
    assert!(page.contains("cannot be joined yet") && page.contains("Europe/Berlin") && !page.contains(&room), "{page}");
    let (status, page) = press(&anonymous, &path).await;
    assert!(status == 400 && !page.contains(&room), "{status} {page}");
    let join = format!("/v1/appointments/{}/session/join", id(&visit));
    let refused = clinic.http().post(&join, &json!({})).await.expect_status(403).json();
    assert_eq!(refused["type"], "urn:pulsecal:problem:not_now");
    let session = clinic.session(&visit).await;
    assert!(
        refused["detail"].as_str().is_some_and(|words| words.contains(session["opens_at"].as_str().expect("when"))),
        "{refused}"
    );
    assert_eq!((&session["state"], &session["is_open"]), (&json!("scheduled"), &json!(false)));
    assert_eq!(session["opens_at"], json!(from_now(TimeDelta::minutes(35))));

    // The clinic opens earlier: at once.
    clinic.exec("UPDATE organizations SET join_before_minutes = 120 WHERE org_id = $1", clinic.org).await;
    assert_eq!(clinic.session(&visit).await["is_open"], true);
    let page = anonymous.get(&path).await.text();
    assert!(page.contains("Join now") && !page.contains(&room), "a look does not name the meeting: {page}");
    let stranger = anonymous.post_form(&path, &[("form_token", "guessed")]).await;
    assert!(stranger.status == 400 && !stranger.text().contains(&room));
    assert_eq!(clinic.session(&visit).await["patient_joined_at"], Value::Null, "nobody has joined");
    // The doctor is there first, and waits; then the patient; then it has begun.
    let joined = clinic.http().post(&join, &json!({})).await.expect_status(200).json();
    assert_eq!((&joined["url"], &joined["state"]), (&json!(meeting), &json!("scheduled")));
    for _ in 0..2 {
        let (status, page) = press(&anonymous, &path).await;
        let shown = meeting.replace('&', "&amp;");
        assert!(status == 200 && page.contains(&shown), "{status} {page}");
    }
    let session = clinic.session(&visit).await;
    assert_eq!(session["state"], "in_progress");
    assert!(session["started_at"].is_string() && session["patient_joined_at"].is_string(), "{session}");
    let done = clinic.done(&visit, "complete", &json!({})).await;
    assert_eq!(done["state"], "completed");
    let session = clinic.session(&visit).await;
    assert_eq!((&session["state"], &session["ended_at"]), (&json!("completed"), &done["completed_at"]));
    let _over = clinic.http().post(&join, &json!({})).await.expect_status(409);
    let (_, page) = press(&anonymous, &path).await;
    assert!(!page.contains(&room), "{page}");
    let joins = "SELECT count(*) FROM audit_entries WHERE action = 'session.joined'";
    assert_eq!(clinic.count(joins).await, 3);
    assert_eq!(clinic.count("SELECT count(*) FROM audit_entries WHERE detail::text LIKE '%meet.example%'").await, 0);
}

#[tokio::test]
async fn only_its_own_doctor_joins_and_only_an_online_visit_that_holds() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(1).await;
    let join = async |visit: &Value| {
        clinic.http().post(&format!("/v1/appointments/{}/session/join", id(visit)), &json!({})).await
    };
    let in_person = clinic.book(patient, from_now(TimeDelta::minutes(5))).await;
    assert!(join(&in_person).await.expect_status(409).text().contains("in person"));
    let visit = clinic.online(patient, TimeDelta::hours(2)).await;
    clinic.done(&in_person, "cancel", &json!({})).await;
    clinic.begins(&visit, TimeDelta::minutes(5)).await;
    // Nobody said where.
    assert!(join(&visit).await.expect_status(409).text().contains("meeting_url_template"));
    sqlx::query("UPDATE organizations SET meeting_url_template = $1")
        .bind(TEMPLATE)
        .execute(&clinic.pool)
        .await
        .expect("set");
    // The edges of its time, as the clinic has it: 15 minutes before its begin, 30 after its end.
    for (ahead, status) in [(17, 403), (14, 200), (-58, 200), (-61, 403)] {
        clinic.begins(&visit, TimeDelta::minutes(ahead)).await;
        assert_eq!(join(&visit).await.status, status, "{ahead}");
    }
    clinic.begins(&visit, TimeDelta::minutes(5)).await;
    let colleague = new_id();
    clinic.add_person(colleague, "doctor", "Colleague", 0).await;
    sqlx::query("UPDATE appointments SET doctor_id = $2 WHERE appointment_id = $1::uuid")
        .bind(id(&visit))
        .bind(colleague)
        .execute(&clinic.pool)
        .await
        .expect("another doctor");
    assert!(join(&visit).await.expect_status(403).text().contains("another doctor"));
    sqlx::query("UPDATE appointments SET doctor_id = $2 WHERE appointment_id = $1::uuid")
        .bind(id(&visit))
        .bind(clinic.doctor)
        .execute(&clinic.pool)
        .await
        .expect("back");
    // An address that staff gave goes before the template; in person there is no room any more.
    let body = json!({"meeting_url": "https://other.example.org/1", "starts_at": from_now(TimeDelta::minutes(10))});
    clinic.done(&visit, "move", &body).await;
    assert_eq!(join(&visit).await.expect_status(200).json()["url"], "https://other.example.org/1");
    let moved = clinic.done(&visit, "move", &json!({"mode": "in_person"})).await;
    assert_eq!(moved["meeting_url"], Value::Null);
    let rooms = "SELECT count(*) FROM appointments WHERE meeting_room IS NOT NULL";
    assert_eq!(clinic.count(rooms).await, 0);
    let _none = clinic.http().get(&format!("/v1/appointments/{}/session", id(&visit))).await.expect_status(409);
    let called_off = clinic.online(patient, TimeDelta::minutes(45)).await;
    clinic.done(&called_off, "cancel", &json!({})).await;
    assert_eq!(clinic.session(&called_off).await["state"], "cancelled");
    clinic.begins(&called_off, TimeDelta::minutes(5)).await;
    let _off = join(&called_off).await.expect_status(409);
    // The database has the form of a template too: https, one fixed host, the room in its path.
    for wrong in [
        "http://meet.example.org/{room}",
        "https://{room}.example.org/",
        "https://meet.example.org/",
        "https://a@meet.example.org/{room}",
    ] {
        let set = sqlx::query("UPDATE organizations SET meeting_url_template = $1").bind(wrong).execute(&clinic.pool);
        let _refused = set.await.expect_err(wrong);
    }
}
