//! Doctors ask to join another organization, and its administrators decide.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, token_of};

const REQUESTS: &str = "/v1/join-requests";

/// A doctor of one clinic, whose account asks another one.
struct Between {
    api: TestApi,
    home: Clinic,
    asked: Clinic,
    doctor: Http,
    admin: Http,
    account: Uuid,
}

impl Between {
    async fn new() -> Self {
        let api = TestApi::start().await;
        let (home, asked) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
        let account = add_account(&api.pool, "doctor-a@example.org", &[home.doctor]).await;
        let (doctor, admin) = (api.with(&home.token), api.with(&asked.admin));
        Self { api, home, asked, doctor, admin, account }
    }

    async fn ask(&self) -> Answer {
        let body = json!({"organization_id": self.asked.org, "message": "Mondays"});
        self.doctor.post(REQUESTS, &body).await
    }

    async fn asked(&self) -> String {
        let request = self.ask().await.expect_status(201).json();
        request["id"].as_str().expect("an id").to_owned()
    }

    async fn decide(&self, id: &str, verb: &str, note: &str) -> Answer {
        self.admin.post(&format!("{REQUESTS}/{id}/{verb}"), &json!({"note": note})).await
    }

    async fn members(&self) -> i64 {
        let of = "SELECT count(*) FROM people WHERE account_id = $1 AND org_id = $2";
        sqlx::query_scalar(of).bind(self.account).bind(self.asked.org).fetch_one(&self.api.pool).await.expect("counted")
    }
}

fn states(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().filter_map(|item| item["state"].as_str()).collect()
}

#[tokio::test]
async fn a_denied_doctor_asks_again_is_let_in_is_told_and_works_in_both() {
    let between = Between::new().await;
    let first = between.asked().await;
    assert!(between.ask().await.expect_status(409).text().contains("asked already"));
    let list = between.admin.get(&format!("{REQUESTS}?state=open")).await.expect_status(200).json();
    assert_eq!(list["items"][0]["id"], first.as_str());
    assert_eq!(list["items"][0]["email"], "doctor-a@example.org");
    assert_eq!(list["items"][0]["message"], "Mondays");

    let denied = between.decide(&first, "deny", "Come back in spring.").await.expect_status(200).json();
    assert_eq!((&denied["state"], &denied["person_id"]), (&json!("denied"), &Value::Null));
    assert!(between.decide(&first, "approve", "Oh.").await.expect_status(409).text().contains("denied already"));
    assert_eq!(between.members().await, 0);

    let second = between.asked().await;
    let approved = between.decide(&second, "approve", "Welcome.").await.expect_status(200);
    assert_eq!(approved.header("etag"), Some("\"2\""));
    let person: Uuid = approved.json()["person_id"].as_str().and_then(|id| id.parse().ok()).expect("a person");
    assert_eq!(between.members().await, 1);
    assert!(between.ask().await.expect_status(409).text().contains("work there already"));
    // The history stays, on both sides.
    for (http, path) in [(&between.admin, REQUESTS), (&between.doctor, "/v1/join-requests/mine")] {
        let page = http.get(path).await.expect_status(200).json();
        assert_eq!(states(&page), ["approved", "denied"]);
        let first = http.get(&format!("{path}?limit=1")).await.json();
        let rest = http.get(&format!("{path}?cursor={}", first["next_cursor"].as_str().expect("more"))).await.json();
        assert_eq!((states(&first), states(&rest)), (vec!["approved"], vec!["denied"]));
    }

    // The same account is a doctor of both.
    let browser = enter(&between.api, "doctor-a@example.org").await;
    let choose = browser.get("/account/memberships").await.expect_status(200).text();
    assert!(choose.contains("Heart clinic a") && choose.contains("Heart clinic b"), "{choose}");
    assert!(choose.contains(&person.to_string()));

    // Each decision is mailed once, with its note.
    let _worker = Process::spawn("pulsecal-worker", between.api.env());
    let _scheduler = Process::spawn("pulsecal-scheduler", between.api.env());
    let sent = "SELECT count(*) FROM messages WHERE kind = 'join_decision' AND state = 'sent'";
    until(LIMIT, "both are told", async || (between.api.count(sent).await == 2).then_some(())).await;
    let mails: Vec<(String, String)> = sqlx::query_as(
        "SELECT subject, convert_from(raw, 'UTF8') FROM dev_mailbox WHERE recipient = 'doctor-a@example.org' ORDER BY subject",
    )
    .fetch_all(&between.api.pool)
    .await
    .expect("mails");
    let subjects: Vec<&str> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["Heart clinic b has let you in", "Heart clinic b has not let you in"]);
    assert!(mails[0].1.contains("Welcome.") && mails[1].1.contains("Come back in spring."));
    // A second run of the job sends nothing more.
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, org_id, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), kind, queue, args, org_id, now(), 5, now() FROM job_history WHERE kind = 'join_decision'")
        .execute(&between.api.pool).await.expect("again");
    let over = "SELECT count(*) FROM job_history WHERE kind = 'join_decision'";
    until(LIMIT, "they ran again", async || (between.api.count(over).await == 4).then_some(())).await;
    assert_eq!(between.api.count("SELECT count(*) FROM dev_mailbox WHERE subject LIKE '%let you in'").await, 2);
}

#[tokio::test]
async fn of_administrators_who_decide_at_once_one_does_and_of_requests_at_once_one_is_made() {
    let between = Between::new().await;
    let (second, token) = (new_id(), token_of('z'));
    add_person(&between.api.pool, between.asked.org, second, "admin", "Second").await;
    add_token(&between.api.pool, between.asked.org, second, &token, &ALL_SCOPES, "now() + interval '1 hour'", false)
        .await;
    let other = between.api.with(&token);
    for round in 0..6 {
        let asked = join_all((0..8).map(|_| between.ask())).await;
        assert_eq!(asked.iter().filter(|answer| answer.status == 201).count(), 1, "{asked:?}");
        assert!(asked.iter().all(|answer| [201, 409].contains(&answer.status)), "{asked:?}");
        let made = asked.iter().find(|answer| answer.status == 201).expect("one").json();
        let path = |verb: &str| format!("{REQUESTS}/{}/{verb}", made["id"].as_str().expect("an id"));
        let (approve, deny, none) = (path("approve"), path("deny"), json!({}));
        let decided =
            join_all((0..4).flat_map(|_| [between.admin.post(&approve, &none), other.post(&deny, &none)])).await;
        let states: Vec<String> = decided
            .iter()
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json()["state"].as_str().expect("a state").to_owned())
            .collect();
        assert!(decided.iter().all(|answer| [200, 409].contains(&answer.status)), "{decided:?}");
        assert!(states.len() == 4 && states.iter().all(|state| *state == states[0]), "{states:?}");
        let members = i64::from(states[0] == "approved");
        assert_eq!(between.members().await, members);
        let noted = between
            .api
            .count("SELECT count(*) FROM audit_entries WHERE action IN ('join.approved', 'join.denied')")
            .await;
        assert_eq!(noted, 1, "in round {round}");
        assert_eq!(between.api.count("SELECT count(*) FROM jobs WHERE kind = 'join_decision'").await, 1);
        // As it was, for the next round.
        for undo in [
            "TRUNCATE join_requests",
            "DELETE FROM people WHERE account_id IS NOT NULL AND family_name = 'Doctor-a' AND org_id <> (SELECT min(org_id::text)::uuid FROM organizations)",
            "DELETE FROM jobs",
            "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
            "DELETE FROM audit_entries",
            "ALTER TABLE audit_entries ENABLE TRIGGER ALL",
        ] {
            sqlx::query(undo).execute(&between.api.pool).await.expect(undo);
        }
    }
}

#[tokio::test]
async fn nobody_asks_for_others_sees_others_requests_or_decides_elsewhere() {
    let between = Between::new().await;
    let id = between.asked().await;
    // The administrators of one's own organization neither see nor decide it; nor does a third one take it back.
    let own = between.api.with(&between.home.admin);
    let _unknown = own.get(&format!("{REQUESTS}/{id}")).await.expect_status(404);
    for verb in ["approve", "deny", "withdraw"] {
        let _unknown = own.post(&format!("{REQUESTS}/{id}/{verb}"), &json!({})).await.expect_status(404);
    }
    assert_eq!(states(&own.get(REQUESTS).await.json()), Vec::<&str>::new());
    assert_eq!(states(&own.get("/v1/join-requests/mine").await.json()), Vec::<&str>::new());
    // Who has no account, and who names nothing that is there.
    let stranger = between.api.with(&between.asked.token);
    assert!(
        stranger
            .post(REQUESTS, &json!({"organization_id": between.home.org}))
            .await
            .expect_status(409)
            .text()
            .contains("no account")
    );
    let wrong = between.doctor.post(REQUESTS, &json!({"organization_id": new_id()})).await.expect_status(422).json();
    assert_eq!(wrong["errors"][0]["field"], "organization_id");
    // Past the API, too: the function reaches accounts of the transaction's own people only.
    let mut tx = between.api.pool.begin().await.expect("begins");
    let set = format!("SET LOCAL ROLE pulsecal_app; SET LOCAL app.orgs = '{}'", between.asked.org);
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut *tx).await.expect("sets");
    let said: String = sqlx::query_scalar("SELECT ask_to_join(gen_random_uuid(), $1, $2, NULL, now())")
        .bind(between.asked.org)
        .bind(between.home.doctor)
        .fetch_one(&mut *tx)
        .await
        .expect("asked");
    assert_eq!(said, "no_account");
    drop(tx);

    // Taken back, and asked again until it is too often.
    for turn in 0..4 {
        let newest = between.doctor.get("/v1/join-requests/mine").await.json()["items"][0]["id"].clone();
        let path = format!("{REQUESTS}/{}/withdraw", newest.as_str().expect("an id"));
        assert_eq!(between.doctor.post(&path, &json!({})).await.expect_status(200).json()["state"], "withdrawn");
        let _over = between.doctor.post(&path, &json!({})).await.expect_status(404);
        assert_eq!(between.ask().await.status, 201, "{turn}");
    }
    let newest = between.doctor.get("/v1/join-requests/mine").await.json()["items"][0]["id"].clone();
    let denied = between.decide(newest.as_str().expect("an id"), "deny", "No.").await;
    assert_eq!(denied.status, 200);
    assert!(between.ask().await.expect_status(409).text().contains("too often"));

    // Somebody of the staff who has the address is not doubled.
    sqlx::query("UPDATE join_requests SET state = 'open', decided_at = NULL, decided_by = NULL, note = NULL WHERE join_request_id = $1::uuid")
        .bind(newest.as_str()).execute(&between.api.pool).await.expect("open again");
    sqlx::query("UPDATE people SET email = 'Doctor-A@example.org' WHERE person_id = $1")
        .bind(between.asked.doctor)
        .execute(&between.api.pool)
        .await
        .expect("an address");
    let taken = between.decide(newest.as_str().expect("an id"), "approve", "Hm.").await.expect_status(409);
    assert!(taken.text().contains("has this address already"), "{}", taken.text());
    assert_eq!(between.members().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_ends_after_two_weeks_and_the_doctor_is_told_once() {
    let between = Between::new().await;
    let (third, pool) = (Clinic::add(&between.api.pool, 'c').await, &between.api.pool);
    let old = between.asked().await;
    let young = between.doctor.post(REQUESTS, &json!({"organization_id": third.org})).await.expect_status(201).json();
    sqlx::query("UPDATE join_requests SET asked_at = now() - CASE WHEN org_id = $1 THEN interval '14 days' ELSE interval '13 days 23 hours' END")
        .bind(between.asked.org)
        .execute(pool)
        .await
        .expect("older");
    // Twice, as any job may run.
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), 'forget_answers', 'maintenance', '{}', now(), 5, now() FROM generate_series(1, 2)")
        .execute(pool).await.expect("jobs");
    let _scheduler = Process::spawn("pulsecal-scheduler", between.api.env());
    let _worker = Process::spawn("pulsecal-worker", between.api.env());
    until(LIMIT, "both ran, and the doctor is told", async || {
        let done =
            "SELECT count(*) FROM job_history WHERE state = 'done' AND kind IN ('forget_answers', 'join_decision')";
        (between.api.count(done).await >= 3).then_some(())
    })
    .await;
    let mine = between.doctor.get("/v1/join-requests/mine").await.expect_status(200).json();
    let state_of = |id: &Value| {
        mine["items"].as_array().expect("items").iter().find(|it| it["id"] == *id).expect("it")["state"].clone()
    };
    assert_eq!((state_of(&json!(old)), state_of(&young["id"])), (json!("expired"), json!("open")));
    let mails: Vec<String> =
        sqlx::query_scalar("SELECT subject FROM dev_mailbox WHERE recipient = 'doctor-a@example.org'")
            .fetch_all(pool)
            .await
            .expect("mails");
    assert_eq!(mails, ["Heart clinic b has not answered your request"]);
    let noted = "SELECT count(*) FROM audit_entries WHERE action = 'join.expired' AND actor_kind = 'job'";
    assert_eq!(between.api.count(noted).await, 1);

    // It is decided no more, is found by its state, and may be asked again.
    assert!(between.decide(&old, "approve", "Late.").await.expect_status(409).text().contains("expired already"));
    assert_eq!(between.members().await, 0);
    let list = between.admin.get(&format!("{REQUESTS}?state=expired")).await.expect_status(200);
    assert_eq!((list.json()["items"][0]["id"].clone(), states(&list.json())), (json!(old), vec!["expired"]));
    let again = between.asked().await;
    let _welcome = between.decide(&again, "approve", "Welcome.").await.expect_status(200);
    assert_eq!(between.members().await, 1);
}
