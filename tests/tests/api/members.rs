//! Who works for an organization: added, invited by mail, given another role, gone and back; and patients who are invited.

use futures_util::future::join_all;
use pulsecal_tests::http::Http;
use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account_links::{path_in, send_form};
use crate::accounts::{PASSWORD, add_account, enter, try_password};
use crate::support::{ALL_SCOPES, Clinic, LIMIT, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

const MEMBERS: &str = "/v1/members";

fn nurse(email: &str) -> Value {
    json!({"role": "nurse", "given_name": "Jonas", "family_name": "Weber", "email": email})
}

fn path_of(member: &Value) -> String {
    format!("{MEMBERS}/{}", member["id"].as_str().expect("an id"))
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().filter_map(|item| item["family_name"].as_str()).collect()
}

/// Another administrator, by a token with every scope.
async fn second_admin(api: &TestApi, clinic: &Clinic) -> (Uuid, Http) {
    let (person, token) = (new_id(), token_of('z'));
    add_person(&api.pool, clinic.org, person, "admin", "Second").await;
    add_token(&api.pool, clinic.org, person, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    (person, api.with(&token))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_gets_one_invitation_signs_in_changes_roles_and_is_out_the_moment_they_leave() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let smtp = RecordingSmtp::start();
    let mut env = api.env();
    env.extend([("SMTP_URL", smtp.url()), ("PUBLIC_URL", api.base.clone())]);
    let _worker = Process::spawn("pulsecal-worker", env.clone());
    let _scheduler = Process::spawn("pulsecal-scheduler", env);

    let added = admin.post(MEMBERS, &nurse("jonas.weber@example.org")).await.expect_status(201);
    let member = added.json();
    assert_eq!(added.header("location").map(|to| to.ends_with(&path_of(&member))), Some(true));
    assert_eq!((&member["active"], &member["has_account"]), (&json!(true), &json!(false)));
    assert!(member["invited_at"].is_string());
    let path = path_of(&member);
    assert!(admin.post(&format!("{path}/invite"), &json!({})).await.expect_status(409).text().contains("a moment ago"));
    let mail = smtp.wait_accepted(1, LIMIT).await[0].clone();
    assert_eq!(mail.to, ["jonas.weber@example.org"]);
    let welcome = path_in(&mail.raw_text(), "/welcome/");

    // The job runs again: nobody gets a second mail.
    let ran = "SELECT count(*) FROM job_history WHERE kind = 'invite_person' AND state = 'done'";
    until(LIMIT, "it ran", async || (api.count(ran).await == 1).then_some(())).await;
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, org_id, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), kind, queue, args, org_id, now(), 5, now() FROM job_history WHERE kind = 'invite_person'")
        .execute(&api.pool).await.expect("again");
    until(LIMIT, "it ran again", async || (api.count(ran).await == 2).then_some(())).await;
    assert_eq!(api.count("SELECT count(*) FROM account_mails").await, 1);

    let _joined = send_form(&api, &welcome, PASSWORD).await.expect_status(200);
    let browser = enter(&api, "jonas.weber@example.org").await;
    let _may = browser.get("/staff/agenda").await.expect_status(200);
    let known = admin.get(&path).await.expect_status(200).json();
    assert_eq!(known["has_account"], true);
    assert!(
        admin
            .post(&format!("{path}/invite"), &json!({}))
            .await
            .expect_status(409)
            .text()
            .contains("an account already")
    );
    assert!(
        admin
            .patch(&path, &json!({"email": "other@example.org"}))
            .await
            .expect_status(409)
            .text()
            .contains("sign in with")
    );

    // Another role: whoever is signed in signs in anew.
    let moved = admin.post(&format!("{path}/role"), &json!({"role": "receptionist"})).await.expect_status(200).json();
    assert_eq!(moved["role"], "receptionist");
    let _out = browser.get("/staff/agenda").await.expect_status(303);
    let browser = enter(&api, "jonas.weber@example.org").await;
    let _may = browser.get("/staff/agenda").await.expect_status(200);
    let _no_longer = browser.get("/staff/exports").await.expect_status(403);
    let (id, token) = (member["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"), token_of('j'));
    add_token(&api.pool, clinic.org, id, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    let _may = api.with(&token).get("/v1/patients").await.expect_status(200);

    let left = admin.post(&format!("{path}/leave"), &json!({})).await.expect_status(200).json();
    assert_eq!(left["active"], false);
    let _out = browser.get("/staff/agenda").await.expect_status(303);
    let _out = api.with(&token).get("/v1/patients").await.expect_status(401);
    let lobby = try_password(&api, "jonas.weber@example.org", PASSWORD).await.expect_status(303);
    assert_eq!(lobby.header("location"), Some("/lobby"), "the account stays, and leads nowhere");
    let twice = admin.post(&format!("{path}/leave"), &json!({})).await.expect_status(200).json();
    assert_eq!(twice["version"], left["version"]);
    assert!(
        admin.post(&format!("{path}/invite"), &json!({})).await.expect_status(409).text().contains("not take part")
    );
    assert!(
        admin
            .post(&format!("{path}/role"), &json!({"role": "nurse"}))
            .await
            .expect_status(409)
            .text()
            .contains("no longer work")
    );
    let again = admin.post(MEMBERS, &nurse("Jonas.Weber@example.org")).await.expect_status(409).text();
    assert!(again.contains("have them return") && again.contains(&id.to_string()), "{again}");

    let back = admin.post(&format!("{path}/return"), &json!({})).await.expect_status(200).json();
    assert_eq!((&back["active"], &back["role"]), (&json!(true), &json!("receptionist")));
    let browser = enter(&api, "jonas.weber@example.org").await;
    let _may = browser.get("/staff/agenda").await.expect_status(200);
    let _stays_out = api.with(&token).get("/v1/patients").await.expect_status(401);
    let trail: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_entries WHERE subject_id = $1 AND action LIKE 'member.%' ORDER BY at, id",
    )
    .bind(id)
    .fetch_all(&api.pool)
    .await
    .expect("a trail");
    assert_eq!(trail, ["member.added", "member.role_changed", "member.left", "member.returned"]);
    assert_eq!(smtp.accepted().iter().filter(|mail| mail.raw_text().contains("/welcome/")).count(), 1);
}

#[tokio::test]
async fn members_are_listed_by_name_filtered_and_changed_at_the_version_that_was_seen() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let (admin, doctor) = (api.with(&clinic.admin), api.with(&clinic.token));
    for (family, role) in [("Amsel", "nurse"), ("Drossel", "receptionist"), ("Elster", "nurse"), ("Fink", "nurse")] {
        let new = json!({"role": role, "given_name": "Kim", "family_name": family, "email": format!("{family}@example.org"), "invite": false,
            "specialty": "Wound care", "languages": ["de", "pt-BR"]});
        let made = admin.post(MEMBERS, &new).await.expect_status(201).json();
        assert_eq!((&made["specialty"], &made["invited_at"]), (&json!("Wound care"), &Value::Null));
        assert_eq!(made["languages"], json!(["de", "pt-BR"]));
    }
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'invite_person'").await, 0);
    // Whoever cares may see colleagues; patients, operators and other organizations are not among them.
    let (operator, _) = (new_id(), ());
    add_person(&api.pool, clinic.org, operator, "ops", "Operator").await;
    let all = doctor.get(MEMBERS).await.expect_status(200).json();
    assert_eq!(names(&all), ["Admin-a", "Amsel", "Doctor-a", "Drossel", "Elster", "Fink"]);
    let mut seen = Vec::new();
    let mut next = format!("{MEMBERS}?limit=2");
    for _ in 0..3 {
        let page = doctor.get(&next).await.expect_status(200).json();
        seen.extend(names(&page).into_iter().map(str::to_owned));
        next = format!("{MEMBERS}?limit=2&cursor={}", page["next_cursor"].as_str().unwrap_or("over"));
    }
    assert!(next.ends_with("over") && seen == names(&all), "{seen:?}");
    let nurses = doctor.get(&format!("{MEMBERS}?role=nurse&name=ELST")).await.expect_status(200).json();
    assert_eq!(names(&nurses), ["Elster"]);
    let found = |name: &str| {
        let items = all["items"].as_array().expect("items").iter();
        path_of(items.clone().find(|item| item["family_name"] == name).expect("there"))
    };
    let _foreign = api.with(&other.admin).get(&found("Fink")).await.expect_status(404);
    let _foreign =
        api.with(&other.admin).post(&format!("{}/leave", found("Fink")), &json!({})).await.expect_status(404);
    let _patient = admin.get(&format!("{MEMBERS}/{}", clinic.patient)).await.expect_status(404);
    let _operator = admin.post(&format!("{MEMBERS}/{operator}/leave"), &json!({})).await.expect_status(404);
    let _doctors_do_not = doctor.post(MEMBERS, &nurse("x@example.org")).await.expect_status(403);
    let _doctors_do_not = doctor.post(&format!("{}/leave", found("Fink")), &json!({})).await.expect_status(403);

    let fink = found("Fink");
    let ask = |version: &str, body: Value| {
        let request = admin.request("PATCH".parse().expect("a method"), &fink).json(&body).header("if-match", version);
        admin.send(request)
    };
    let shown = admin.get(&fink).await.expect_status(200);
    let version = shown.header("etag").expect("a version").to_owned();
    let changed = ask(&version, json!({"family_name": " Finke ", "phone": "+49 30 5550100", "specialty": null})).await;
    let changed = changed.expect("an answer").expect_status(200).json();
    assert_eq!((&changed["family_name"], &changed["specialty"]), (&json!("Finke"), &Value::Null));
    let _stale = ask(&version, json!({"phone": "1"})).await.expect("an answer").expect_status(412);
    let taken = admin.patch(&fink, &json!({"email": "AMSEL@example.org"})).await.expect_status(409).text();
    assert!(taken.contains("has that address"), "{taken}");

    let wrong = json!({"role": "surgeon", "given_name": " ", "family_name": "A\nB", "email": "nobody", "phone": "", "languages": ["de", "de", "deutsch!"], "more": 1});
    let refused = admin.post(MEMBERS, &wrong).await.expect_status(422).json();
    let mut fields = wrong_fields(&refused);
    fields.dedup();
    assert_eq!(fields, ["role", "given_name", "family_name", "email", "phone", "languages", "more"]);
}

#[tokio::test]
async fn the_last_administrator_stays_and_nobody_leaves_visits_behind() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let own = format!("{MEMBERS}/{}", clinic.administrator);
    assert!(
        admin
            .post(&format!("{own}/leave"), &json!({}))
            .await
            .expect_status(409)
            .text()
            .contains("Nobody else administers")
    );
    let role = admin.post(&format!("{own}/role"), &json!({"role": "nurse"})).await.expect_status(409).text();
    assert!(role.contains("their own role"), "{role}");

    // Two administrators who take each other out at once: one stays, every time.
    let (second, by_second) = second_admin(&api, &clinic).await;
    let other = format!("{MEMBERS}/{second}");
    for round in 0..5 {
        let (leave_other, leave_own) = (format!("{other}/leave"), format!("{own}/leave"));
        let none = json!({});
        let answers = join_all([admin.post(&leave_other, &none), by_second.post(&leave_own, &none)]).await;
        // Whoever was put out before their own request came is nobody any more.
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(
            statuses.contains(&200) && statuses.iter().all(|status| [200, 401, 409].contains(status)),
            "{statuses:?}"
        );
        let left = "SELECT count(*) FROM people WHERE role = 'admin' AND active";
        assert_eq!(api.count(left).await, 1, "in round {round}");
        for undo in ["UPDATE people SET active = true", "UPDATE api_tokens SET revoked_at = NULL"] {
            sqlx::query(undo).execute(&api.pool).await.expect("as before");
        }
    }

    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, zone, created_at, updated_at)
        VALUES (gen_random_uuid(), $1, $2, $3, now() + interval '3 days', now() + interval '3 days 30 minutes', 'booked', 'UTC', now(), now())")
        .bind(clinic.org).bind(clinic.patient).bind(clinic.doctor).execute(&api.pool).await.expect("a visit");
    let doctor = format!("{MEMBERS}/{}", clinic.doctor);
    for (verb, body) in [("leave", json!({})), ("role", json!({"role": "nurse"}))] {
        let refused = admin.post(&format!("{doctor}/{verb}"), &body).await.expect_status(409).text();
        assert!(refused.contains("to come (1)"), "{refused}");
    }
    sqlx::query("UPDATE appointments SET status = 'cancelled', cancelled_at = now(), cancel_reason = 'clinic'")
        .execute(&api.pool)
        .await
        .expect("off");
    let _may = admin.post(&format!("{doctor}/leave"), &json!({})).await.expect_status(200);
    let _out = api.with(&clinic.token).get(MEMBERS).await.expect_status(401);
}

#[tokio::test]
async fn of_several_at_once_one_is_added_and_one_invitation_is_made() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let body = nurse("jonas.weber@example.org");
    let answers = join_all((0..8).map(|_| admin.post(MEMBERS, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)), "{answers:?}");
    assert_eq!(api.count("SELECT count(*) FROM people WHERE family_name = 'Weber'").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'invite_person'").await, 1);

    // A patient: at the desk, by hand.
    let invite = format!("/v1/patients/{}/invite", clinic.patient);
    let none = json!({});
    let answers = join_all((0..8).map(|_| admin.post(&invite, &none))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'invite_person'").await, 2);
    let _no_member = admin.post(&format!("/v1/patients/{}/invite", clinic.doctor), &none).await.expect_status(404);
    let _no_patient = admin.post(&format!("{MEMBERS}/{}/invite", clinic.patient), &none).await.expect_status(404);
    sqlx::query("UPDATE people SET email = NULL, invited_at = NULL WHERE role = 'patient'")
        .execute(&api.pool)
        .await
        .expect("none");
    assert!(admin.post(&invite, &none).await.expect_status(409).text().contains("no e-mail address"));
    add_account(&api.pool, "patient-a@example.org", &[clinic.patient]).await;
    assert!(admin.post(&invite, &none).await.expect_status(409).text().contains("an account already"));
}
