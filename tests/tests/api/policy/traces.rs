//! What each route leaves in the audit trail: one sample of each that leaves something.

use chrono::TimeDelta;
use pulsecal_api::policy::{RULES, Rule, Trace, Who};
use pulsecal_core::config::Secret;
use pulsecal_core::ids::{AppointmentId, OrgId};
use pulsecal_core::links::{Links, VisitLink};
use pulsecal_tests::http::Answer;
use pulsecal_tests::servers::Postgres;
use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts;
use super::fixture::Fixture;
use super::members::member;
use super::records::record;
use crate::account_links::{link_of, send_form};
use crate::accounts::{PASSWORD, add_account, enter};
use crate::attachments::sample;
use crate::clients::Program;
use crate::insurances;
use crate::payments;
use crate::second_factor::{half, send_code, switch_on};
use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, SECRET_KEY, TestApi, new_id, now, timing};

/// The steps of the day of a visit.
const STEPS: [&str; 5] = ["}/check-in", "}/start", "}/complete", "}/decline", "}/no-show"];

impl Fixture {
    /// A request that leaves the trace of its route.
    async fn ask(&self, api: &TestApi, rule: &Rule) -> Answer {
        let (clinic, doctor) = (&self.clinic, &self.doctor);
        let starts = (now() + TimeDelta::days(9)).format("%Y-%m-%dT%H:00:00Z").to_string();
        let ends = (now() + TimeDelta::days(9)).format("%Y-%m-%dT%H:30:00Z").to_string();
        let path = |id: Uuid| rule.path.replace("{id}", &id.to_string());
        match (rule.method, rule.path) {
            ("GET", "/v1/patients/{id}" | "/v1/patients/{id}/accesses") => doctor.get(&path(clinic.patient)).await,
            ("PATCH", "/v1/patients/{id}") => doctor.patch(&path(clinic.patient), &json!({"privacy_level": 1})).await,
            ("POST", "/v1/patients") => {
                let answer = doctor.post(rule.path, &json!({"given_name": "Elena", "family_name": "Sommer"})).await;
                // The lists below are of one patient.
                sqlx::query("DELETE FROM people WHERE family_name = 'Sommer'").execute(&api.pool).await.expect("gone");
                answer
            }
            ("POST", "/v1/patients/{id}/break-glass") => {
                doctor.post(&path(clinic.patient), &json!({"reason": "Emergency, the patient is unconscious."})).await
            }
            (method, files) if files.contains("attachments") && files.starts_with("/v1/") => {
                sample(doctor, clinic.patient, files, method).await
            }
            ("GET", "/p/attachments/{id}") => {
                let to = "/v1/medical-records/{id}/attachments";
                let made = sample(doctor, clinic.patient, to, "POST").await.expect_status(201).json();
                let email = format!("{}@example.org", new_id());
                add_account(&api.pool, &email, &[clinic.patient]).await;
                let id = made["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
                enter(api, &email).await.get(&path(id)).await
            }
            (method, records) if records.starts_with("/v1/medical-records") => {
                record(doctor, clinic.patient, records, method).await
            }
            (method, members) if members.starts_with("/v1/members") => member(&self.admin, members, method).await,
            ("POST", "/v1/patients/{id}/invite") => doctor.post(&path(clinic.patient), &json!({})).await,
            (method, payment) if payment.starts_with("/v1/payments") => {
                payments::sample(&self.admin, clinic.patient, payment, method).await
            }
            (method, policies) if policies.starts_with("/v1/insurances") => {
                insurances::sample(&self.admin, clinic.patient, policies, method).await
            }
            (_, contacts) if contacts.contains("emergency-contacts") => self.contact(contacts, rule.method).await,
            ("POST", "/v1/prescriptions") => {
                doctor.post(rule.path, &json!({"patient_id": clinic.patient, "medicine": "Examplomycin"})).await
            }
            ("GET", "/v1/prescriptions/{id}") => doctor.get(&path(self.prescription)).await,
            ("PATCH", "/v1/prescriptions/{id}") => {
                doctor.patch(&path(self.prescription), &json!({"refills_allowed": 1})).await
            }
            ("POST", "/v1/prescriptions/{id}/refill") => doctor.post(&path(self.prescription), &json!({})).await,
            ("GET", "/v1/audit-entries") => self.admin.get(rule.path).await,
            ("GET", "/v1/audit-entries/{id}") => {
                let entry: Uuid = sqlx::query_scalar("SELECT id FROM audit_entries WHERE org_id = $1 LIMIT 1")
                    .bind(clinic.org)
                    .fetch_one(&api.pool)
                    .await
                    .expect("an entry");
                self.admin.get(&path(entry)).await
            }
            ("POST", "/v1/prescriptions/{id}/stop") => {
                // After whatever needs it in force.
                doctor.post(&path(self.prescription), &json!({})).await
            }
            ("POST", "/v1/medication-reminders") => {
                let (_, again) = clinic.add_reminder(&api.pool).await;
                let of: Uuid =
                    sqlx::query_scalar("SELECT prescription_id FROM medication_reminders WHERE reminder_id = $1")
                        .bind(again)
                        .fetch_one(&api.pool)
                        .await
                        .expect("its prescription");
                let body = json!({"prescription_id": of, "timing": timing("08:00"), "meaning": "wall_clock"});
                doctor.post(rule.path, &body).await
            }
            ("PATCH", "/v1/medication-reminders/{id}") => {
                doctor.patch(&path(self.reminder), &json!({"active": false})).await
            }
            ("GET", "/v1/medication-reminders/{id}" | "/v1/medication-reminders/{id}/occurrences") => {
                doctor.get(&path(self.reminder)).await
            }
            ("POST", "/v1/occurrences/{id}/taken" | "/v1/occurrences/{id}/skipped") => {
                let (_, reminder) = clinic.add_reminder(&api.pool).await;
                let due = now() - TimeDelta::minutes(1);
                let dose = clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", due, "reminded").await;
                doctor.post(&path(dose), &json!({})).await
            }
            ("PATCH", "/v1/organization") => self.admin.patch(rule.path, &json!({"address": "Lindenstraße 12"})).await,
            (method, online) if online.contains("/session") && online.contains("{id}") => {
                let visit = self.online_visit(api).await;
                if method == "GET" {
                    doctor.get(&path(visit)).await
                } else {
                    doctor.post(&path(visit), &json!({})).await
                }
            }
            (method, "/p/t/{token}") => {
                let of = VisitLink { org: OrgId(clinic.org), visit: AppointmentId(self.online_visit(api).await) };
                let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &api.base);
                let page = format!("/p/t/{}", links.meeting_token(of, now() + TimeDelta::days(1)));
                if method == "GET" {
                    return api.anonymous().get(&page).await;
                }
                let form = form_token(&api.anonymous(), &page).await;
                api.anonymous().post_form(&page, &[("form_token", &form)]).await
            }
            (_, talk) if talk.starts_with("/v1/chat-rooms") => {
                let new = json!({"name": "Ward 2", "participants": [clinic.administrator]});
                let opened = doctor.post("/v1/chat-rooms", &new).await;
                if talk == "/v1/chat-rooms" {
                    return opened;
                }
                let id: Uuid = opened.json()["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
                let say = format!("/v1/chat-rooms/{id}/messages");
                let said = doctor.post(&say, &json!({"text": "hello"})).await;
                match talk.rsplit('/').next() {
                    Some("messages") => said,
                    Some("read") => self.admin.post(&path(id), &json!({"seq": 1})).await,
                    _ => doctor.patch(&path(id), &json!({"closed": true})).await,
                }
            }
            ("POST", step) if STEPS.iter().any(|verb| step.ends_with(verb)) => {
                let (id, asked) = (new_id(), step.ends_with("decline"));
                sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, starts_at, ends_at, status, zone, checked_in_at, started_at, created_at, updated_at)
                    VALUES ($1, $2, $3, now() - interval '1 hour', now(), $4, 'UTC', CASE WHEN $4 = 'checked-in' THEN now() END, CASE WHEN $5 THEN now() END, now(), now())")
                    .bind(id).bind(clinic.org).bind(clinic.patient)
                    .bind(match step { _ if asked => "pending", _ if step.ends_with("start") || step.ends_with("complete") => "checked-in", _ => "booked" })
                    .bind(step.ends_with("complete"))
                    .execute(&api.pool).await.expect("a visit");
                doctor.post(&path(id), &json!({})).await
            }
            ("POST", join) if join.starts_with("/v1/join-requests") => {
                let neighbour =
                    Clinic::add(&api.pool, char::from(b'e' + u8::try_from(join.len() % 15).expect("small"))).await;
                let account = add_account(&api.pool, &format!("{}@example.org", new_id()), &[neighbour.doctor]).await;
                sqlx::query("UPDATE people SET email = (SELECT email FROM accounts WHERE account_id = $1) WHERE account_id = $1")
                    .bind(account).execute(&api.pool).await.expect("an address");
                let asking = api.with(&neighbour.token);
                let asked = asking.post("/v1/join-requests", &json!({"organization_id": clinic.org})).await;
                if join == "/v1/join-requests" {
                    return asked;
                }
                let id = asked.expect_status(201).json()["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
                let by = if join.ends_with("withdraw") { &asking } else { &self.admin };
                by.post(&path(id), &json!({})).await
            }
            ("POST", "/v1/appointments") => {
                let body = json!({"patient_id": clinic.patient, "doctor_id": clinic.doctor, "starts_at": starts, "ends_at": ends});
                doctor.post(rule.path, &body).await
            }
            ("GET", "/v1/appointments/{id}") => doctor.get(&path(self.visit)).await,
            ("POST", "/v1/appointments/{id}/move") => {
                let starts = (now() + TimeDelta::days(8)).format("%Y-%m-%dT%H:00:00Z").to_string();
                let ends = (now() + TimeDelta::days(8)).format("%Y-%m-%dT%H:30:00Z").to_string();
                doctor.post(&path(self.visit), &json!({"starts_at": starts, "ends_at": ends})).await
            }
            ("POST", "/v1/appointments/{id}/confirm") => doctor.post(&path(self.visit), &json!({})).await,
            ("POST", "/v1/appointments/{id}/cancel") => {
                let booked: Uuid = sqlx::query_scalar(
                    "SELECT appointment_id FROM appointments WHERE appointment_id <> $1 AND status = 'booked' LIMIT 1",
                )
                .bind(self.visit)
                .fetch_one(&api.pool)
                .await
                .expect("the other visit");
                doctor.post(&path(booked), &json!({})).await
            }
            ("POST", "/v1/exports") => doctor.post(rule.path, &json!({"format": "csv"})).await,
            ("DELETE", "/v1/exports/{id}") => doctor.delete(&path(self.queued_export(api).await)).await,
            ("GET", "/staff/patients/{id}" | "/staff/patients/{id}/accesses") => {
                self.staff.get(&path(clinic.patient)).await
            }
            ("GET", "/staff/appointments/{id}") => self.staff.get(&path(self.visit)).await,
            ("POST", "/staff/patients/{id}/appointments") => {
                let (doctor, form) = (clinic.doctor.to_string(), self.staff_form.as_str());
                let day = (now() + TimeDelta::days(20)).format("%Y-%m-%d").to_string();
                let fields =
                    [("form_token", form), ("doctor", &doctor), ("day", &day), ("time", "10:00"), ("minutes", "20")];
                self.staff.post_form(&path(clinic.patient), &fields).await
            }
            ("POST", staff) if staff.starts_with("/staff/appointments/{id}/") => {
                let day = (now() + TimeDelta::days(30)).format("%Y-%m-%d").to_string();
                let id = self.another_visit(api).await;
                let fields = [
                    ("form_token", self.staff_form.as_str()),
                    ("version", "1"),
                    ("day", &day),
                    ("time", "11:00"),
                    ("minutes", "20"),
                    ("reason", "clinic"),
                ];
                self.staff.post_form(&path(id), &fields).await
            }
            ("GET", staff) if staff.starts_with("/staff/") => self.staff.get(staff).await,
            ("GET", own) if rule.who == Who::Patient => {
                let email = format!("{}@example.org", new_id());
                add_account(&api.pool, &email, &[clinic.patient]).await;
                enter(api, &email).await.get(own).await
            }
            ("POST", "/staff/exports") => {
                let fields = [("form_token", self.staff_form.as_str()), ("format", "csv"), ("column", "status")];
                self.staff.post_form(rule.path, &fields).await
            }
            ("POST", "/staff/exports/{id}/cancel") => {
                let to = path(self.queued_export(api).await);
                self.staff.post_form(&to, &[("form_token", &self.staff_form)]).await
            }
            ("POST", "/sign-in") => {
                api.anonymous().post_form(rule.path, &[("token", &clinic.token), ("next", "")]).await
            }
            ("POST", "/sign-out") => {
                let leaving = browser(api, &clinic.token).await;
                let form = form_token(&leaving, "/staff/agenda").await;
                leaving.post_form(rule.path, &[("form_token", &form)]).await
            }
            ("POST", path) if path.starts_with("/sign-up") || path == "/lobby/leave" => {
                accounts::come_anew(api, path).await
            }
            ("POST", "/forgot") => api.anonymous().post_form(rule.path, &[("email", "doctor@example.org")]).await,
            ("POST", "/reset/{token}") => {
                let account = add_account(&api.pool, "reset@example.org", &[]).await;
                let link = link_of(api, account, "reset", None).await;
                send_form(api, &link, "nine ships under a green moon").await
            }
            ("POST", "/welcome/{token}") => {
                let account = add_account(&api.pool, "patient-a@example.org", &[]).await;
                let link = link_of(api, account, "invitation", Some(clinic.patient)).await;
                send_form(api, &link, "").await
            }
            ("POST", "/oauth/token") => {
                let program = Program::register(api, clinic.doctor, "ES384", &["system/Patient.rs"]).await;
                program.ask(api, "system/Patient.rs").await
            }
            ("POST", "/sign-in/code") => {
                let email = format!("{}@example.org", new_id());
                add_account(&api.pool, &email, &[clinic.doctor]).await;
                let (_, codes) = switch_on(&enter(api, &email).await).await;
                send_code(&half(api, &email).await, &codes[0]).await
            }
            ("POST", factor) if factor.starts_with("/account/second-factor") => {
                accounts::change_factor(api, clinic, factor).await
            }
            ("POST", tokens) if tokens.starts_with("/account/tokens") => accounts::token(api, clinic, tokens).await,
            ("POST", account) if account.starts_with("/account/") => {
                let email = format!("{}@example.org", new_id());
                add_account(&api.pool, &email, &[clinic.doctor]).await;
                let owner = enter(api, &email).await;
                let form = form_token(&owner, "/account").await;
                let _another = enter(api, &email).await;
                let (person, new) = (clinic.doctor.to_string(), "nine ships under a green moon");
                let fields = [
                    ("form_token", form.as_str()),
                    ("old", PASSWORD),
                    ("password", new),
                    ("again", new),
                    ("session", "others"),
                    ("person", &person),
                ];
                owner.post_form(rule.path, &fields).await
            }
            ("GET", "/p/d/{token}") => api.anonymous().get(&self.dose_path).await,
            ("GET", "/p/d/{token}/done") => api.anonymous().get(&format!("{}/done", self.dose_path)).await,
            ("POST", "/p/d/{token}") => {
                let form = form_token(&api.anonymous(), &self.dose_path).await;
                api.anonymous().post_form(&self.dose_path, &[("form_token", &form), ("choice", "done")]).await
            }
            ("GET", "/p/a/{token}") => api.anonymous().get(&self.visit_path).await,
            ("POST", "/p/a/{token}") => {
                let page = api.anonymous().get(&self.visit_path).await.text();
                let field = |name: &str| {
                    let value =
                        page.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
                    value.unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
                };
                let (form, version) = (field("form_token"), field("version"));
                let fields = [("form_token", form.as_str()), ("version", version.as_str()), ("choice", "ask")];
                api.anonymous().post_form(&self.visit_path, &fields).await
            }
            ("POST", "/ops/jobs/{id}/{verb}") => {
                let to = path(self.dead_job).replace("{verb}", "retry");
                self.ops.post_form(&to, &[("form_token", &self.ops_form)]).await
            }
            ("POST", "/ops/queues/{queue}/{verb}") => {
                self.ops.post_form("/ops/queues/mail/pause", &[("form_token", &self.ops_form)]).await
            }
            ("POST", "/ops/schedules/{name}/{verb}") => {
                sqlx::query("INSERT INTO schedules (name, cron, zone, job_kind, args, decided_until, created_at, updated_at) VALUES ('sample', '0 0 3 * * *', 'UTC', 'noop', '{\"i\": 1}', now(), now(), now())")
                    .execute(&api.pool).await.expect("a schedule");
                self.ops.post_form("/ops/schedules/sample/pause", &[("form_token", &self.ops_form)]).await
            }
            ("GET", list) if !list.contains('{') => doctor.get(list).await,
            other => panic!("no sample of {other:?}, which says that it leaves a trace"),
        }
    }
}

#[tokio::test]
async fn what_is_changed_and_what_is_seen_of_patients_is_on_record() {
    let files = tempfile::tempdir().expect("a folder");
    let place = format!("file://{}", files.path().display());
    let api = TestApi::start_with(Postgres::shared().await, &[("BLOB_URL", &place)]).await;
    let fixture = Fixture::new(&api).await;
    // What others need comes before what ends it.
    let last = ["/v1/prescriptions/{id}/stop", "/v1/appointments/{id}/cancel"];
    let (early, late): (Vec<Rule>, Vec<Rule>) = RULES.iter().copied().partition(|rule| !last.contains(&rule.path));
    for rule in early.into_iter().chain(late) {
        // A file is fetched in the tests of exports, which also ask for this entry.
        if rule.trace == Trace::Read("export.download") {
            continue;
        }
        // Needs another server: the tests of `oidc` ask for its entries.
        if rule.path == "/sign-in/oidc/callback" {
            continue;
        }
        let actions: &[&str] = match &rule.trace {
            Trace::Nothing => continue,
            Trace::Read(action) => &[*action],
            Trace::Write(actions) => actions,
        };
        let answer = fixture.ask(&api, &rule).await;
        let about = format!("{} {}: {} {}", rule.method, rule.path, answer.status, answer.text());
        assert!((200..400).contains(&answer.status), "{about}");
        let id: Uuid = answer.header("x-request-id").and_then(|id| id.parse().ok()).expect("a request has an id");
        let noted: Vec<(String, Option<Value>)> =
            sqlx::query_as("SELECT action, detail FROM audit_entries WHERE request_id = $1")
                .bind(id)
                .fetch_all(&api.pool)
                .await
                .expect("entries");
        assert!(noted.iter().any(|(action, _)| actions.contains(&action.as_str())), "{noted:?} of {about}");
        if let Trace::Read(_) = rule.trace {
            let [(_, Some(detail))] = noted.as_slice() else { panic!("one entry, not {noted:?}: {about}") };
            assert!(detail["patients"].as_array().is_some_and(|all| all.len() <= 1), "{detail} of {about}");
        }
    }
}
