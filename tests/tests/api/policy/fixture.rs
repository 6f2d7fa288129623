//! What the samples of the test of traces are about.

use chrono::TimeDelta;
use pulsecal_core::config::Secret;
use pulsecal_core::ids::{AppointmentId, OrgId};
use pulsecal_core::links::{Links, VisitLink};
use pulsecal_tests::http::{Answer, Http};
use serde_json::json;
use uuid::Uuid;

use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, SECRET_KEY, TestApi, add_person, add_token, new_id, now, token_of};
/// What the samples below are about.
pub(super) struct Fixture {
    pub(super) clinic: Clinic,
    pub(super) prescription: Uuid,
    pub(super) reminder: Uuid,
    pub(super) visit: Uuid,
    pub(super) dose_path: String,
    pub(super) visit_path: String,
    pub(super) dead_job: Uuid,
    pub(super) ops: Http,
    pub(super) ops_form: String,
    pub(super) staff: Http,
    pub(super) staff_form: String,
    pub(super) doctor: Http,
    pub(super) admin: Http,
}

impl Fixture {
    pub(super) async fn new(api: &TestApi) -> Self {
        let clinic = Clinic::add(&api.pool, 'a').await;
        let (prescription, reminder) = clinic.add_reminder(&api.pool).await;
        let due = now() - TimeDelta::minutes(1);
        let dose = clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", due, "reminded").await;
        let until = now() + TimeDelta::days(1);
        let visit = new_id();
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, zone, created_at, updated_at)
            VALUES ($1, $2, $3, $4, now() + interval '3 days', now() + interval '3 days 30 minutes', 'booked', 'Europe/Berlin', now(), now())")
            .bind(visit).bind(clinic.org).bind(clinic.patient).bind(clinic.doctor).execute(&api.pool).await.expect("a visit");
        let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &api.base);
        let of = VisitLink { org: OrgId(clinic.org), visit: AppointmentId(visit) };
        let dead_job = new_id();
        sqlx::query("INSERT INTO job_history (id, kind, queue, priority, args, org_id, run_at, attempt, max_attempts, crashes, worker, started_at, enqueued_at, last_error, state, ended_at)
            VALUES ($1, 'noop', 'maintenance', 1, '{\"i\": 1}', $2, now(), 3, 3, 0, $1, now(), now(), 'broke', 'dead', now())")
            .bind(dead_job).bind(clinic.org).execute(&api.pool).await.expect("a dead job");
        let (operator, token) = (new_id(), token_of('o'));
        add_person(&api.pool, clinic.org, operator, "ops", "Operator").await;
        let scopes = ["jobs:read", "ops:write"];
        add_token(&api.pool, clinic.org, operator, &token, &scopes, "now() + interval '1 hour'", false).await;
        let ops = browser(api, &token).await;
        let staff = browser(api, &clinic.token).await;
        Self {
            prescription,
            reminder,
            visit,
            dose_path: api.link(clinic.org, dose, until),
            visit_path: format!("/p/a/{}", links.visit_token(of, until)),
            dead_job,
            ops_form: form_token(&ops, "/staff").await,
            staff_form: form_token(&staff, "/staff/agenda").await,
            ops,
            staff,
            doctor: api.with(&clinic.token),
            admin: api.with(&clinic.admin),
            clinic,
        }
    }

    /// Something about a contact of the patient's.
    pub(super) async fn contact(&self, route: &str, method: &str) -> Answer {
        let of_patient = format!("/v1/patients/{}/emergency-contacts", self.clinic.patient);
        if method == "GET" && route.contains("patients") {
            return self.doctor.get(&of_patient).await;
        }
        let mut new = json!({"name": "Jonas", "relationship": "spouse", "phone": "+49 30 5550123"});
        if route.ends_with("withdraw-consent") {
            new["consent_given_by"] = json!("contact");
        }
        let added = self.admin.post(&of_patient, &new).await.expect_status(201);
        if route.contains("patients") {
            return added;
        }
        let id = added.json()["id"].as_str().expect("an id").to_owned();
        let path = route.replace("{id}", &id);
        let body = if route.ends_with("/consent") { json!({"given_by": "patient"}) } else { json!({}) };
        match method {
            "GET" => self.doctor.get(&path).await,
            "PATCH" => self.admin.patch(&path, &json!({"primary": true})).await,
            _ => self.admin.post(&path, &body).await,
        }
    }

    /// A visit of the patient's that nothing was done to.
    pub(super) async fn another_visit(&self, api: &TestApi) -> Uuid {
        let id = new_id();
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
            SELECT $1, org_id, patient_id, doctor_id, max(starts_at) + interval '1 day', max(starts_at) + interval '1 day 20 minutes', 'booked', now(), now()
            FROM appointments WHERE patient_id = $2 AND doctor_id IS NOT NULL GROUP BY org_id, patient_id, doctor_id")
            .bind(id).bind(self.clinic.patient).execute(&api.pool).await.expect("a visit");
        id
    }

    /// An online visit that may be joined now.
    pub(super) async fn online_visit(&self, api: &TestApi) -> Uuid {
        let id = new_id();
        sqlx::query("UPDATE appointments SET mode = 'in_person', status = 'cancelled', meeting_room = NULL WHERE meeting_room IS NOT NULL")
            .execute(&api.pool).await.expect("the one before");
        sqlx::query("UPDATE organizations SET meeting_url_template = 'https://meet.example.org/{room}'")
            .execute(&api.pool)
            .await
            .expect("meetings");
        sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, mode, meeting_room, zone, created_at, updated_at)
            VALUES ($1, $2, $3, $4, now() - interval '5 minutes', now() + interval '20 minutes', 'booked', 'virtual', replace($1::text, '-', ''), 'UTC', now(), now())")
            .bind(id).bind(self.clinic.org).bind(self.clinic.patient).bind(self.clinic.doctor).execute(&api.pool).await.expect("a visit");
        id
    }

    /// An export of the doctor's that waits.
    pub(super) async fn queued_export(&self, api: &TestApi) -> Uuid {
        let id = new_id();
        sqlx::query("INSERT INTO exports (export_id, org_id, asked_by, report, format, spec, job_id, created_at) SELECT $1, org_id, asked_by, report, format, spec, $1, now() FROM exports WHERE state = 'queued' LIMIT 1")
            .bind(id).execute(&api.pool).await.expect("an export like the first one");
        id
    }
}
