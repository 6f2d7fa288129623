//! Every page in headless Chromium: on a phone and at a desk, light and dark, with axe, by keyboard, and without scripts.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use pulsecal_api::policy::{RULES, Who};
use pulsecal_core::config::Secret;
use pulsecal_core::ids::{AppointmentId, OrgId};
use pulsecal_core::links::{Links, VisitLink};
use pulsecal_tests::browser::walk;
use pulsecal_tests::http::Http;
use pulsecal_tests::processes::run;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account_links::link_of;
use crate::accounts::{PASSWORD, add_account, enter};
use crate::second_factor::switch_on;
use crate::sign_up::asked_link;
use crate::support::{LIMIT, SECRET_KEY, TestApi, add_person, new_id, now};

/// Pages of the table that are no pages of HTML, or are looked at under another path.
const NO_PAGES: &[&str] = &[
    // What programs read.
    "/health/live",
    "/health/ready",
    "/metrics",
    "/assets/{name}",
    "/openapi.json",
    "/.well-known/smart-configuration",
    // Files.
    "/files/e/{token}",
    "/p/data/file",
    "/p/attachments/{id}",
    "/staff/exports/{id}/events",
    "/dev/inbox/{id}/raw",
    // A mail as it is, within a frame.
    "/dev/inbox/{id}/html",
    // They lead on at once.
    "/",
    "/staff",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
];

/// More than the tests beside this one ask for at once.
const GENEROUS: [(&str, &str); 1] = [("RATE_LIMITS", "address=2000,caller=2000")];

/// A demonstration clinic with something on every page.
struct Demo {
    sign_ins: Vec<Value>,
}

impl Demo {
    async fn load(api: &TestApi) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sign-ins.json");
        let mut env = api.env();
        env.push(("PULSECAL_SIGN_INS", file.display().to_string()));
        let seeded = run("pulsecal", &["seed", "demo", "--patients", "12"], env, LIMIT).await;
        assert!(seeded.status.success(), "{}", seeded.stderr);
        let text = std::fs::read_to_string(&file).expect("sign-ins");
        let demo = Self { sign_ins: serde_json::from_str(&text).expect("JSON") };
        demo.fill(api).await;
        demo
    }

    fn of(&self, role: &str) -> &Value {
        self.sign_ins.iter().find(|one| one["role"] == role).expect("somebody in this role")
    }

    fn id(&self, role: &str, field: &str) -> Uuid {
        self.of(role)[field].as_str().and_then(|id| id.parse().ok()).expect("an id")
    }

    /// Records, files, contacts, policies, payments and an export, of the patient who signs in.
    async fn fill(&self, api: &TestApi) {
        let patient = self.id("patient", "person");
        let by = |role: &str| api.with(self.of(role)["token"].as_str().expect("a token"));
        let (nurse, admin) = (by("nurse"), by("admin"));
        let made = async |http: &Http, path: &str, body: Value| http.post(path, &body).await.expect_status(201).json();
        let allergy = json!({"patient_id": patient, "kind": "allergy", "severity": "high", "title": "Penicillin", "description": "Rash within an hour, all over the arms and the back.", "occurred_on": "2019-05-02"});
        let _allergy = made(&nurse, "/v1/medical-records", allergy).await;
        let image = json!({"patient_id": patient, "kind": "imaging", "title": "Thorax"});
        let record = made(&nurse, "/v1/medical-records", image).await;
        let to = format!("/v1/medical-records/{}/attachments?name=thorax.pdf", record["id"].as_str().expect("an id"));
        let file = nurse.request(Method::POST, &to).header("content-type", "application/pdf").body("%PDF-1.7\n%%EOF\n");
        let _file = nurse.send(file).await.expect("an answer").expect_status(201);
        let contact = json!({"name": "Jonas Castellan", "relationship": "spouse", "phone": "+49 30 5550123"});
        let _contact = made(&admin, &format!("/v1/patients/{patient}/emergency-contacts"), contact).await;
        let _policy = made(&admin, "/v1/insurances", crate::insurances::policy(patient, "A-4711")).await;
        for (amount, verb) in [(4570, Some("complete")), (12_000, None), (900, Some("cancel"))] {
            let new = json!({"patient_id": patient, "kind": "consultation", "method": "card", "amount": amount, "due_on": "2026-12-24"});
            let payment = made(&admin, "/v1/payments", new).await;
            if let Some(verb) = verb {
                let path = format!("/v1/payments/{}/{verb}", payment["id"].as_str().expect("an id"));
                let _done = admin.post(&path, &json!({})).await.expect_status(200);
            }
        }
        sqlx::query("INSERT INTO dev_mailbox (id, message_id, recipient, subject, raw, received_at) VALUES (gen_random_uuid(), '<1@clinic.example.org>', 'patient0@patients.example.org', 'You have an update', convert_to(E'Subject: You have an update\\r\\nContent-Type: text/html\\r\\n\\r\\n<!DOCTYPE html><html lang=\"en\"><title>Update</title><main><h1>Update</h1></main></html>', 'UTF8'), now())")
            .execute(&api.pool).await.expect("a mail");
    }
}

/// The pages of links in mails, of which nothing leads to another.
async fn linked(api: &TestApi, demo: &Demo) -> Vec<String> {
    let (org, patient) = (demo.id("patient", "organization"), demo.id("patient", "person"));
    let visit = async |which: &'static str| {
        sqlx::query_scalar::<_, Uuid>(which).bind(org).fetch_one(&api.pool).await.expect("a visit")
    };
    let ahead = visit("SELECT appointment_id FROM appointments WHERE org_id = $1 AND status = 'booked' AND mode <> 'virtual' ORDER BY starts_at DESC LIMIT 1").await;
    let online = visit(
        "SELECT appointment_id FROM appointments WHERE org_id = $1 AND mode = 'virtual' ORDER BY starts_at LIMIT 1",
    )
    .await;
    let dose = visit("SELECT occurrence_id FROM dose_occurrences WHERE org_id = $1 ORDER BY due_at LIMIT 1").await;
    let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &api.base);
    let until = now() + TimeDelta::days(1);
    let of = |visit| VisitLink { org: OrgId(org), visit: AppointmentId(visit) };
    let dose = api.link(org, dose, until);
    let invited = new_id();
    add_person(&api.pool, org, invited, "nurse", "Invited").await;
    sqlx::query("UPDATE people SET email = 'invited@example.org' WHERE person_id = $1")
        .bind(invited)
        .execute(&api.pool)
        .await
        .expect("an address");
    let invited_account = add_account(&api.pool, "invited@example.org", &[]).await;
    let forgetful = add_account(&api.pool, "forgetful@example.org", &[]).await;
    vec![
        dose.clone(),
        format!("{dose}/done"),
        format!("/p/a/{}", links.visit_token(of(ahead), until)),
        format!("/p/t/{}", links.meeting_token(of(online), until)),
        asked_link(api, "newcomer@example.org", "Ada").await,
        link_of(api, forgetful, "reset", None).await,
        link_of(api, invited_account, "invitation", Some(invited)).await,
        // What is no link any more, and what is nowhere.
        "/p/a/forged".to_owned(),
        format!("/staff/patients/{patient}x"),
        "/nowhere".to_owned(),
    ]
}

/// Whether a path is one that the table has.
fn is_of(route: &str, path: &str) -> bool {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len() && route.iter().zip(&path).all(|(one, other)| one.starts_with('{') || one == other)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_fit_for_everybody() {
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &GENEROUS).await;
    let demo = Demo::load(&api).await;
    let role = |name: &str| {
        let one = demo.of(name);
        json!({"name": name, "email": one["email"], "password": one["password"]})
    };
    add_account(&api.pool, "waiting@example.org", &[]).await;
    let careful = new_id();
    add_person(&api.pool, demo.id("nurse", "organization"), careful, "doctor", "Careful").await;
    add_account(&api.pool, "careful@example.org", &[careful]).await;
    let _on = switch_on(&enter(&api, "careful@example.org").await).await;
    let both = new_id();
    add_person(&api.pool, demo.id("nurse", "organization"), both, "receptionist", "Both").await;
    add_account(&api.pool, "desk@example.org", &[both]).await;
    let mine = |name: &str, email: &str| json!({"name": name, "email": email, "password": PASSWORD});
    let mut ops = role("ops");
    ops["pages"] = json!(["/dev/inbox"]);
    let mut nurse = role("nurse");
    nurse["pages"] = json!(["/account/memberships"]);
    let visit: Uuid = sqlx::query_scalar(
        "SELECT appointment_id FROM appointments WHERE status = 'booked' ORDER BY starts_at DESC LIMIT 1",
    )
    .fetch_one(&api.pool)
    .await
    .expect("a visit");
    let mut plain = role("admin");
    plain["visit"] = json!(format!("/staff/appointments/{visit}"));
    let wanted = json!({
        "base": api.base,
        "roles": [
            {"name": "nobody", "pages": ["/sign-in", "/sign-up", "/forgot", "/docs"], "follow": false},
            {"name": "link", "pages": linked(&api, &demo).await, "follow": false},
            role("admin"), nurse, role("doctor"), role("patient"), ops,
            mine("desk", "desk@example.org"), mine("lobby", "waiting@example.org"), mine("half", "careful@example.org"),
        ],
        "plain": plain,
    });
    let Some(walked) = walk(wanted).await else {
        eprintln!("SKIPPED: neither Chromium nor npm can be had here");
        return;
    };
    let problems: Vec<String> =
        walked.iter().flat_map(|one| one.problems.iter().map(|what| format!("{}: {what}", one.role))).collect();
    let pages: Vec<&str> = walked
        .iter()
        .flat_map(|one| &one.pages)
        .flat_map(|page| [page.path.split('?').next().unwrap_or_default(), &page.ended])
        .collect();
    println!("{} pages were looked at", walked.iter().map(|one| one.pages.len()).sum::<usize>());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    let faulty: Vec<_> = walked.iter().flat_map(|one| &one.pages).filter(|page| page.status >= 500).collect();
    assert!(faulty.is_empty(), "{faulty:?}");
    let missed: BTreeSet<&str> = RULES
        .iter()
        .filter(|rule| {
            rule.method == "GET"
                && !matches!(rule.who, Who::Token(_) | Who::ThisMachine)
                && !NO_PAGES.contains(&rule.path)
        })
        .map(|rule| rule.path)
        .filter(|route| !pages.iter().any(|path| is_of(route, path)))
        .collect();
    assert!(missed.is_empty(), "no walk came to {missed:?}");
}
