//! Payments: asked for, paid once, given back never more than was paid, and told to the patient by mail.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::insurances::policy;
use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

const PAYMENTS: &str = "/v1/payments";

fn new(patient: Uuid, amount: i64) -> Value {
    json!({"patient_id": patient, "kind": "consultation", "method": "card", "amount": amount})
}

fn path_of(made: &Value) -> String {
    format!("{PAYMENTS}/{}", made["id"].as_str().expect("an id"))
}

async fn ask(http: &Http, patient: Uuid, amount: i64) -> String {
    path_of(&http.post(PAYMENTS, &new(patient, amount)).await.expect_status(201).json())
}

async fn step(http: &Http, path: &str, verb: &str, body: Value) -> Answer {
    http.post(&format!("{path}/{verb}"), &body).await
}

fn amounts(page: &Value) -> Vec<i64> {
    page["items"].as_array().expect("items").iter().filter_map(|item| item["amount"].as_i64()).collect()
}

/// A sample for the test of traces.
pub async fn sample(admin: &Http, patient: Uuid, route: &str, method: &str) -> Answer {
    let asked = admin.post(PAYMENTS, &new(patient, 4500)).await;
    if route == PAYMENTS {
        return if method == "GET" { admin.get(&format!("{PAYMENTS}?patient={patient}")).await } else { asked };
    }
    let made = asked.expect_status(201).json();
    let path = route.replace("{id}", made["id"].as_str().expect("an id"));
    match (method, route.rsplit('/').next().unwrap_or_default()) {
        ("GET", _) => admin.get(&path).await,
        ("PATCH", _) => admin.patch(&path, &json!({"amount": 5000})).await,
        (_, "fail") => admin.post(&path, &json!({"reason": "Refused."})).await,
        (_, "refund") => {
            let _paid = step(admin, &path_of(&made), "complete", json!({})).await.expect_status(200);
            admin.post(&path, &json!({"reason": "Too much."})).await
        }
        _ => admin.post(&path, &json!({})).await,
    }
}

#[tokio::test]
async fn a_payment_takes_the_steps_of_its_life_and_no_others() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let state = async |path: &str| {
        admin.get(path).await.expect_status(200).json()["state"].as_str().expect("a state").to_owned()
    };
    // From each state each verb: what it leads to, or that it is refused.
    type Way = (&'static [&'static str], &'static str, [Option<&'static str>; 5]);
    let ways: [Way; 6] = [
        (&[], "pending", [Some("processing"), Some("completed"), Some("failed"), Some("cancelled"), None]),
        (&["process"], "processing", [Some("processing"), Some("completed"), Some("failed"), None, None]),
        (&["fail"], "failed", [Some("processing"), None, Some("failed"), Some("cancelled"), None]),
        (&["cancel"], "cancelled", [None, None, None, Some("cancelled"), None]),
        (&["complete"], "completed", [None, Some("completed"), None, None, Some("partly_refunded")]),
        (&["complete", "refund"], "partly_refunded", [None, None, None, None, Some("partly_refunded")]),
    ];
    let body = |verb: &str| match verb {
        "fail" => json!({"reason": "The card was refused."}),
        "refund" => json!({"reason": "Too much.", "amount": 100}),
        _ => json!({}),
    };
    for (before, from, ends) in ways {
        for (verb, end) in ["process", "complete", "fail", "cancel", "refund"].into_iter().zip(ends) {
            let path = ask(&admin, clinic.patient, 1000).await;
            for earlier in before {
                let done = step(&admin, &path, earlier, body(earlier)).await;
                assert!(done.status < 300, "{earlier}: {}", done.text());
            }
            let answer = step(&admin, &path, verb, body(verb)).await;
            match end {
                Some(to) => {
                    assert!(answer.status < 300, "{verb} of {from}: {}", answer.text());
                    assert_eq!(state(&path).await, to, "{verb} of {from}");
                }
                None => {
                    assert!(answer.expect_status(409).text().contains("The payment is"), "{verb} of {from}");
                    assert_eq!(state(&path).await, from, "{verb} of {from}");
                }
            }
        }
    }
    // Only what is pending is changed.
    let path = ask(&admin, clinic.patient, 1000).await;
    let at = |version: &str| admin.clone().with_header("if-match", version);
    let changed =
        at("\"1\"").patch(&path, &json!({"amount": 2000, "due_on": "2026-12-24"})).await.expect_status(200).json();
    assert_eq!(
        (&changed["amount"], &changed["due_on"], &changed["version"]),
        (&json!(2000), &json!("2026-12-24"), &json!(2))
    );
    let _stale = at("\"1\"").patch(&path, &json!({"amount": 1})).await.expect_status(412);
    let _paid = step(&admin, &path, "complete", json!({"reference": "TX-1"})).await.expect_status(200);
    let _closed = admin.patch(&path, &json!({"amount": 1})).await.expect_status(409);
    let shown = admin.get(&path).await.expect_status(200).json();
    assert_eq!((&shown["reference"], shown["completed_at"].is_string()), (&json!("TX-1"), true));
}

#[tokio::test]
async fn of_steps_at_once_one_is_taken_and_refunds_are_never_more_than_what_was_paid() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    for round in 0..5 {
        let path = ask(&admin, clinic.patient, 1000).await;
        let (complete, cancel) = (format!("{path}/complete"), format!("{path}/cancel"));
        let none = json!({});
        let answers = join_all((0..4).flat_map(|_| [admin.post(&complete, &none), admin.post(&cancel, &none)])).await;
        let states: Vec<Value> =
            answers.iter().filter(|answer| answer.status == 200).map(|answer| answer.json()["state"].clone()).collect();
        assert!(states.len() == 4 && states.iter().all(|state| *state == states[0]), "in round {round}: {states:?}");
        assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status)), "{answers:?}");

        let path = ask(&admin, clinic.patient, 1000).await;
        let _paid = step(&admin, &path, "complete", json!({})).await.expect_status(200);
        let (refund, third) = (format!("{path}/refund"), json!({"amount": 300, "reason": "Too much."}));
        let answers = join_all((0..8).map(|_| admin.post(&refund, &third))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3, "{answers:?}");
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            let problem = refused.json();
            assert_eq!((refused.status, wrong_fields(&problem)), (422, vec!["amount"]));
            assert!(refused.text().contains("1 to 100"), "{}", refused.text());
        }
        let rest = step(&admin, &path, "refund", json!({"reason": "All of it."})).await.expect_status(201).json();
        assert_eq!(rest["amount"], 100);
        let shown = admin.get(&path).await.expect_status(200).json();
        assert_eq!((&shown["state"], &shown["refunded"]), (&json!("refunded"), &json!(1000)));
        let given = admin.get(&format!("{path}/refunds")).await.expect_status(200).json();
        assert_eq!(amounts(&given), [300, 300, 300, 100]);
        let _over = step(&admin, &path, "refund", json!({"reason": "More."})).await.expect_status(409);
    }
    // The database holds it, whatever the program does.
    for wrong in [
        "UPDATE payments SET refunded = amount + 1 WHERE state = 'refunded'",
        "UPDATE payments SET state = 'completed' WHERE refunded > 0",
    ] {
        assert!(sqlx::query(wrong).execute(&api.pool).await.is_err(), "{wrong}");
    }
    let receipts: i64 = api.count("SELECT count(*) FROM jobs WHERE kind = 'payment_mail'").await;
    let due = api
        .count("SELECT (SELECT count(*) FROM payments WHERE completed_at IS NOT NULL) + (SELECT count(*) FROM refunds)")
        .await;
    assert_eq!(receipts, due, "one mail for each payment and each refund");
}

#[tokio::test]
async fn payments_are_listed_in_four_orders_by_the_desk_and_nobody_else() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (desk, token) = (new_id(), token_of('r'));
    add_person(&api.pool, clinic.org, desk, "receptionist", "Desk").await;
    add_token(&api.pool, clinic.org, desk, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    let desk = api.with(&token);
    let neighbour = new_id();
    add_person(&api.pool, clinic.org, neighbour, "patient", "Neighbour").await;
    for (patient, amount, due) in [
        (clinic.patient, 1, Some("2026-12-03")),
        (clinic.patient, 2, None),
        (neighbour, 3, Some("2026-12-01")),
        (neighbour, 4, Some("2026-12-02")),
    ] {
        let mut body = new(patient, amount);
        body["due_on"] = json!(due);
        let _made = desk.post(PAYMENTS, &body).await.expect_status(201);
    }
    let list = async |query: &str| desk.get(&format!("{PAYMENTS}?{query}")).await.expect_status(200).json();
    for (sort, expected) in
        [("created", [1, 2, 3, 4]), ("-created", [4, 3, 2, 1]), ("due", [3, 4, 1, 2]), ("-due", [2, 1, 4, 3])]
    {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..4 {
            let page = list(&format!("sort={sort}&limit=1{cursor}")).await;
            seen.extend(amounts(&page));
            cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
        }
        assert_eq!((seen, cursor), (expected.to_vec(), String::new()), "{sort}");
    }
    assert_eq!(amounts(&list(&format!("patient={neighbour}&sort=created")).await), [3, 4]);
    assert_eq!(amounts(&list("state=completed").await), [0_i64; 0]);
    assert_eq!(amounts(&list("from=2999-01-01T00:00:00Z").await), [0_i64; 0]);
    assert_eq!(amounts(&list("to=2999-01-01T00:00:00Z&limit=100").await).len(), 4);
    let one = path_of(&list("limit=1").await["items"][0]);
    let _doctor = api.with(&clinic.token).get(PAYMENTS).await.expect_status(403);
    for read in [one.clone(), format!("{one}/refunds")] {
        let _foreign = api.with(&other.admin).get(&read).await.expect_status(404);
    }
    for verb in ["complete", "cancel"] {
        let _foreign = step(&api.with(&other.admin), &one, verb, json!({})).await.expect_status(404);
    }

    // What does not fit the patient or itself.
    let wrong = json!({"patient_id": "x", "kind": "gift", "method": "shells", "amount": 0, "covered": -1, "due_on": "0001-01-01", "tip": 1});
    let refused = desk.post(PAYMENTS, &wrong).await.expect_status(422).json();
    assert_eq!(wrong_fields(&refused), ["patient_id", "kind", "method", "amount", "covered", "due_on", "tip"]);
    let mine = desk.post("/v1/insurances", &policy(clinic.patient, "A")).await.expect_status(201).json();
    for (field, value) in [
        ("patient_id", json!(other.patient)),
        ("appointment_id", json!(new_id())),
        ("insurance_id", json!(new_id())),
        ("covered", json!(100)),
    ] {
        let mut body = new(neighbour, 1000);
        body[field] = value;
        let refused = desk.post(PAYMENTS, &body).await.expect_status(422).json();
        assert_eq!(wrong_fields(&refused), [field]);
    }
    let mut shared = new(neighbour, 1000);
    (shared["insurance_id"], shared["covered"]) = (mine["id"].clone(), json!(800));
    assert_eq!(
        wrong_fields(&desk.post(PAYMENTS, &shared).await.expect_status(422).json()),
        ["insurance_id"],
        "another's policy"
    );
    shared["patient_id"] = json!(clinic.patient);
    let _made = desk.post(PAYMENTS, &shared).await.expect_status(201);
    shared["covered"] = json!(1001);
    assert_eq!(wrong_fields(&desk.post(PAYMENTS, &shared).await.expect_status(422).json()), ["covered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_patient_is_told_once_of_each_by_mail_within_their_privacy_level_and_sees_it_at_their_page() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let discreet = new_id();
    add_person(&api.pool, clinic.org, discreet, "patient", "Discreet").await;
    sqlx::query("UPDATE people SET email = 'told@example.org', email_verified_at = now(), privacy_level = 2 WHERE person_id = $1")
        .bind(clinic.patient).execute(&api.pool).await.expect("told");
    sqlx::query("UPDATE people SET email = 'discreet@example.org', email_verified_at = now(), privacy_level = 0 WHERE person_id = $1")
        .bind(discreet).execute(&api.pool).await.expect("discreet");
    let smtp = RecordingSmtp::start();
    let mut env = api.env();
    env.extend([("SMTP_URL", smtp.url()), ("PUBLIC_URL", api.base.clone())]);
    let _worker = Process::spawn("pulsecal-worker", env.clone());
    let _scheduler = Process::spawn("pulsecal-scheduler", env);
    for patient in [clinic.patient, discreet] {
        let path = ask(&admin, patient, 4570).await;
        let _paid = step(&admin, &path, "complete", json!({})).await.expect_status(200);
        let _again = step(&admin, &path, "complete", json!({})).await.expect_status(200);
        let _back =
            step(&admin, &path, "refund", json!({"amount": 1234, "reason": "Too much."})).await.expect_status(201);
    }
    let sent = "SELECT count(*) FROM messages WHERE kind = 'payment_mail' AND state = 'sent'";
    until(LIMIT, "four are sent", async || (api.count(sent).await == 4).then_some(())).await;
    // The jobs run again, and nobody is told twice.
    let ran = "SELECT count(*) FROM job_history WHERE kind = 'payment_mail'";
    until(LIMIT, "four ran", async || (api.count(ran).await == 4).then_some(())).await;
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, org_id, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), kind, queue, args, org_id, now(), 5, now() FROM job_history WHERE kind = 'payment_mail'")
        .execute(&api.pool).await.expect("again");
    until(LIMIT, "they ran again", async || (api.count(ran).await == 8).then_some(())).await;
    let mails = smtp.accepted();
    assert_eq!(mails.len(), 4, "one for each");
    for mail in &mails {
        let text = mail.raw_text().replace("=\r\n", "");
        if mail.to == ["told@example.org"] {
            assert!(
                text.contains("45.70 EUR") && text.contains("Consultation") && text.contains("/p/payments"),
                "{text}"
            );
        } else {
            assert_eq!(mail.to, ["discreet@example.org"]);
            for word in ["45.70", "12.34", "EUR", "Consultation", "payment", "paid", "Heart clinic", "Receipt"] {
                let of_headers = text.to_lowercase().contains(&word.to_lowercase());
                assert!(!of_headers, "{word} in {text}");
            }
        }
    }
    assert_eq!(mails.iter().filter(|mail| mail.raw_text().contains("12.34 EUR")).count(), 1);

    add_account(&api.pool, "told@example.org", &[clinic.patient]).await;
    let own = enter(&api, "told@example.org").await;
    let page = own.get("/p/payments").await.expect_status(200).text();
    assert!(
        page.contains("45.70 EUR") && page.contains("12.34 EUR were given back") && !page.contains("Too much"),
        "{page}"
    );
    let data = own.get("/p/data/file").await.expect_status(200).json();
    assert_eq!((&data["payments"][0]["amount"], &data["payments"][0]["refunded"]), (&json!(4570), &json!(1234)));
    // Nothing of it is in Redis or in the trail but ids and numbers.
    let told = "SELECT count(*) FROM audit_entries WHERE detail::text LIKE '%Too much%' OR detail::text LIKE '%Heart%'";
    assert_eq!(api.count(told).await, 0);
}
