//! What an organization decides for itself holds for its visits, from the next request on, and for nobody else's.

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use pulsecal_core::config::Secret;
use pulsecal_core::ids::{AppointmentId, OrgId};
use pulsecal_core::links::{Links, VisitLink};
use pulsecal_tests::http::Http;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Clinic, from_now, new_id};

/// A clinic beside another one on the same system, with an administrator.
struct House {
    org: Uuid,
    doctor: Uuid,
    patient: Uuid,
    admin: Http,
}

impl House {
    async fn add(clinic: &Clinic, letter: char) -> Self {
        let [org, doctor, patient, admin] = [new_id(), new_id(), new_id(), new_id()];
        clinic
            .exec("INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES ($1, 'House', 'Europe/Berlin', now(), now())", org)
            .await;
        for (id, role) in [(doctor, "doctor"), (patient, "patient"), (admin, "admin")] {
            sqlx::query(
                "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, privacy_level, created_at, updated_at)
                 VALUES ($1, $2, $3, 'Ann', 'House', $4, now(), 1, now(), now())",
            )
            .bind(id)
            .bind(org)
            .bind(role)
            .bind(format!("p{}@example.org", id.simple()))
            .execute(&clinic.pool)
            .await
            .expect("a person");
        }
        let token = format!("pc_live_{}", letter.to_string().repeat(43));
        sqlx::query(
            "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, created_at, expires_at)
             VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), '{appointments:read,appointments:write,organization:write}', now(), now() + interval '1 hour')",
        )
        .bind(new_id())
        .bind(org)
        .bind(admin)
        .bind(&token)
        .execute(&clinic.pool)
        .await
        .expect("a token");
        Self { org, doctor, patient, admin: Http::new(&clinic.base).with_bearer(&token) }
    }

    async fn decide(&self, change: Value) {
        let _done = self.admin.patch("/v1/organization", &change).await.expect_status(200);
    }

    async fn book(&self, starts_at: DateTime<Utc>) -> (Value, String) {
        let body = json!({
            "patient_id": self.patient, "doctor_id": self.doctor, "starts_at": starts_at, "ends_at": starts_at + TimeDelta::minutes(30),
        });
        let visit = self.admin.post("/v1/appointments", &body).await.expect_status(201).json();
        let id = visit["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        let links = Links::new(Secret::new(b"0123456789abcdef0123456789abcdef".to_vec()), "http://127.0.0.1");
        let link = VisitLink { org: OrgId(self.org), visit: AppointmentId(id) };
        (visit, format!("/p/a/{}", links.visit_token(link, starts_at + TimeDelta::days(9))))
    }
}

fn field(page: &str, name: &str) -> String {
    let found = page.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
}

/// The instants that the page offers.
async fn offered(http: &Http, path: &str) -> Vec<DateTime<Utc>> {
    let page = http.get(&format!("{path}?choice=other")).await.expect_status(200).text();
    let all = page.split("value=\"at-").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
    all.filter_map(|seconds| DateTime::from_timestamp(seconds, 0)).collect()
}

async fn press(http: &Http, path: &str, choice: &str) -> u16 {
    let page = http.get(path).await.expect_status(200).text();
    let (token, version) = (field(&page, "form_token"), field(&page, "version"));
    let fields = [("form_token", token.as_str()), ("version", version.as_str()), ("choice", choice)];
    http.post_form(path, &fields).await.status
}

fn berlin(at: DateTime<Utc>) -> chrono::DateTime<chrono_tz::Tz> {
    at.with_timezone(&chrono_tz::Europe::Berlin)
}

#[tokio::test]
async fn two_organizations_have_rules_of_their_own_and_a_change_holds_at_once() {
    let clinic = Clinic::open().await;
    let (strict, usual) = (House::add(&clinic, 's').await, House::add(&clinic, 'u').await);
    let patient = clinic.anonymous();
    strict.decide(json!({"visit_rules": {"patient_move_minutes": 2880, "patient_cancel_minutes": 1440}})).await;
    // In 26 hours: the strict one's patients may cancel, and no longer move; the usual one's may both.
    let at = from_now(TimeDelta::hours(26));
    let ((_, strictly), (_, usually)) = (strict.book(at).await, usual.book(at).await);
    assert!(offered(&patient, &strictly).await.is_empty());
    assert_eq!(press(&patient, &strictly, "ask").await, 409);
    let times = offered(&patient, &usually).await;
    assert!(!times.is_empty());
    assert_eq!(press(&patient, &usually, "ask").await, 303);

    // The strict one changes its mind: both at once the other way round.
    strict.decide(json!({"visit_rules": {"patient_move_minutes": 0, "patient_cancel_minutes": 2880}})).await;
    assert_eq!(press(&patient, &strictly, "no").await, 409, "too late to cancel");
    assert!(!offered(&patient, &strictly).await.is_empty());
    assert_eq!(press(&patient, &strictly, "ask").await, 303);
    assert_eq!(press(&patient, &usually, "no").await, 303, "the other one's rules are as they were");

    // How long, and how far ahead.
    strict.decide(json!({"visit_rules": {"longest_visit_minutes": 20, "book_ahead_days": 10}})).await;
    for (ahead, minutes, wrong) in [(5, 21, Some("ends_at")), (11, 20, Some("starts_at")), (5, 20, None)] {
        let starts_at = from_now(TimeDelta::days(ahead));
        let body = json!({
            "patient_id": strict.patient, "doctor_id": strict.doctor, "starts_at": starts_at, "ends_at": starts_at + TimeDelta::minutes(minutes),
        });
        let answer = strict.admin.post("/v1/appointments", &body).await;
        match wrong {
            Some(field) => assert_eq!(answer.expect_status(422).json()["errors"][0]["field"], field),
            None => assert_eq!(answer.status, 201, "{}", answer.text()),
        }
    }

    // When reminders are sent.
    usual.decide(json!({"visit_rules": {"first_reminder_minutes": 4320, "last_reminder_minutes": 120}})).await;
    let at = from_now(TimeDelta::days(6));
    let (visit, _) = usual.book(at).await;
    let id: Uuid = visit["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let due: Vec<(String, DateTime<Utc>)> =
        sqlx::query_as("SELECT args->>'says', run_at FROM jobs WHERE args->>'visit' = $1 AND args->>'says' <> 'booked' ORDER BY run_at")
            .bind(id.to_string())
            .fetch_all(&clinic.pool)
            .await
            .expect("jobs");
    assert_eq!(
        due,
        [("day_before".to_owned(), at - TimeDelta::days(3)), ("hour_before".to_owned(), at - TimeDelta::hours(2))]
    );
}

#[tokio::test]
async fn patients_move_to_opening_hours_only_and_staff_are_told_when_the_clinic_is_closed() {
    let clinic = Clinic::open().await;
    let house = House::add(&clinic, 'h').await;
    let patient = clinic.anonymous();
    let every = |spans: Value| json!({"mon": spans, "tue": spans, "wed": spans, "thu": spans, "fri": spans, "sat": spans, "sun": spans});
    let spans = json!([{"opens": "09:00", "closes": "10:00"}, {"opens": "20:00", "closes": "21:00"}]);
    let first: NaiveDate = berlin(from_now(TimeDelta::days(3))).date_naive();
    let holiday = json!([{"day": first, "name": "Founder's day"}]);
    let rules = json!({"offers": 50, "offers_a_day": 50});
    house.decide(json!({"opening_hours": every(spans), "holidays": holiday, "visit_rules": rules})).await;

    let (visit, path) = house.book(from_now(TimeDelta::days(2))).await;
    let times = offered(&patient, &path).await;
    assert!(times.len() > 30, "{}", times.len());
    for at in &times {
        let local = berlin(*at);
        let time = local.format("%H:%M").to_string();
        assert!(["09:00", "09:30", "20:00", "20:30"].contains(&time.as_str()), "{local}");
        assert_ne!(local.date_naive(), first, "a holiday");
    }
    // Outside of them a patient is refused, whatever the form says.
    let closed = times.last().expect("a time").to_owned() + TimeDelta::hours(2);
    assert_eq!(press(&patient, &path, &format!("at-{}", closed.timestamp())).await, 409);
    let open = times[times.len() - 1];

    // Staff may, and see that the clinic is closed then.
    let id = visit["id"].as_str().expect("an id");
    let to = async |starts_at: DateTime<Utc>| {
        let body = json!({"starts_at": starts_at});
        house.admin.post(&format!("/v1/appointments/{id}/move"), &body).await.expect_status(200).json()
    };
    assert_eq!(to(closed).await["outside_hours"], true);
    assert_eq!(to(open).await["outside_hours"], false);
    // A span that is a holiday's is closed, too.
    let nine = first.and_hms_opt(9, 0, 0).expect("a time");
    let on_holiday = chrono_tz::Europe::Berlin.from_local_datetime(&nine).single().expect("it is once").to_utc();
    assert_eq!(to(on_holiday).await["outside_hours"], true);
    house.decide(json!({"holidays": []})).await;
    assert!(offered(&patient, &path).await.iter().any(|at| berlin(*at).date_naive() == first), "open again");
    assert_eq!(to(on_holiday + TimeDelta::minutes(30)).await["outside_hours"], false);

    // Who offers no times has patients ask.
    house.decide(json!({"visit_rules": {"offers": 0}})).await;
    assert!(offered(&patient, &path).await.is_empty());
    assert_eq!(press(&patient, &path, "ask").await, 303);
}
