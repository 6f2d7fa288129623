//! The pages of staff: the agenda, patients, visits and what is done about them, messages.

use chrono::{DateTime, Utc};
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::servers::Postgres;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, TestApi, add_person, add_token, new_id, now, token_of};

/// A visit of the clinic's patient, from then on for half an hour.
async fn add_visit(api: &TestApi, clinic: &Clinic, starts_at: &str) -> Uuid {
    let id = new_id();
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5::timestamptz, $5::timestamptz + interval '30 minutes', 'booked', now(), now())")
        .bind(id)
        .bind(clinic.org)
        .bind(clinic.patient)
        .bind(clinic.doctor)
        .bind(starts_at.parse::<DateTime<Utc>>().expect("an instant"))
        .execute(&api.pool)
        .await
        .expect("a visit");
    id
}

async fn send(browser: &Http, page: &str, to: &str, fields: &[(&str, &str)]) -> Answer {
    let form = form_token(browser, page).await;
    let mut all = vec![("form_token", form.as_str())];
    all.extend_from_slice(fields);
    browser.post_form(to, &all).await
}

async fn status_of(api: &TestApi, visit: Uuid) -> (String, String, i32) {
    sqlx::query_as("SELECT status, to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), version FROM appointments WHERE appointment_id = $1")
        .bind(visit)
        .fetch_one(&api.pool)
        .await
        .expect("the visit")
}

async fn mails(api: &TestApi) -> i64 {
    api.count("SELECT count(*) FROM jobs WHERE kind = 'appointment_mail'").await
}

#[tokio::test]
async fn the_agenda_shows_the_clinics_day_and_a_doctor_begins_with_their_own() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    // Berlin's 26 November runs from 23:00 to 23:00 UTC.
    for starts in ["2031-11-25T22:30:00Z", "2031-11-25T23:00:00Z", "2031-11-26T22:30:00Z", "2031-11-26T23:00:00Z"] {
        add_visit(&api, &clinic, starts).await;
    }
    let colleague = new_id();
    add_person(&api.pool, clinic.org, colleague, "doctor", "Colleague").await;
    sqlx::query("INSERT INTO appointments (appointment_id, org_id, patient_id, doctor_id, starts_at, ends_at, status, created_at, updated_at)
        VALUES ($1, $2, $3, $4, '2031-11-26 10:00Z', '2031-11-26 10:30Z', 'booked', now(), now())")
        .bind(new_id()).bind(clinic.org).bind(clinic.patient).bind(colleague).execute(&api.pool).await.expect("a visit");
    let doctor = browser(&api, &clinic.token).await;
    let first = doctor.get("/staff").await.expect_status(303);
    assert_eq!(first.header("location"), Some("/staff/agenda"));
    let page = doctor.get("/staff/agenda?day=2031-11-26").await.expect_status(200).text();
    assert!(page.contains("Wednesday, 26 November 2031"), "{page}");
    assert_eq!(page.matches("/staff/appointments/").count(), 2, "{page}");
    assert!(page.contains("<strong>00:00</strong>–00:30") && page.contains("<strong>23:30</strong>–00:00"), "{page}");
    let all = doctor.get("/staff/agenda?day=2031-11-26&doctor=all").await.expect_status(200).text();
    assert_eq!(all.matches("/staff/appointments/").count(), 3, "{all}");
    for wrong in ["day=tomorrow", "doctor=me", "day=99999-01-01", "day=1200-01-01"] {
        let _refused = doctor.get(&format!("/staff/agenda?{wrong}")).await.expect_status(422);
    }
    let other = Clinic::add(&api.pool, 'b').await;
    let stranger = browser(&api, &other.token).await;
    let none = stranger.get("/staff/agenda?day=2031-11-26&doctor=all").await.expect_status(200).text();
    assert!(!none.contains("Patient-a"), "{none}");
}

#[tokio::test]
async fn patients_are_found_by_parts_of_their_names_and_pages_follow_each_other() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    for i in 0..120 {
        add_person(&api.pool, clinic.org, new_id(), "patient", &format!("Row-{i:03}")).await;
    }
    let doctor = browser(&api, &clinic.token).await;
    let mut seen = Vec::new();
    let mut next = Some("/staff/patients?name=row".to_owned());
    while let Some(address) = next {
        let page = doctor.get(&address).await.expect_status(200).text();
        let names = page.split("/staff/patients/").skip(1).filter_map(|rest| rest.split_once('>')?.1.split('<').next());
        seen.extend(names.map(str::to_owned));
        let before = page.split_once("\">Next page</a>").map(|(before, _)| before);
        next = before.and_then(|before| Some(before.rsplit_once("href=\"")?.1.replace("&amp;", "&")));
    }
    assert_eq!(seen.len(), 120, "{seen:?}");
    assert!(seen.is_sorted() && seen[0].starts_with("Row-000"), "{seen:?}");
    let one = doctor.get("/staff/patients?name=077+row").await.expect_status(200).text();
    assert_eq!(one.matches("/staff/patients/").count(), 1 + one.matches("action=\"/staff/patients\"").count() - 1);
    assert!(one.contains("Row-077") && !one.contains("Row-078"));
    let markup = doctor.get("/staff/patients?name=%3Cscript%3E").await.expect_status(200).text();
    assert!(markup.contains("No patient has such a name.") && !markup.contains("<script>"), "{markup}");
}

#[tokio::test]
async fn staff_book_move_confirm_and_call_off_and_the_patient_hears_of_each_once() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let doctor = browser(&api, &clinic.token).await;
    let patient = format!("/staff/patients/{}", clinic.patient);
    let with = clinic.doctor.to_string();
    let booking =
        [("doctor", with.as_str()), ("day", "2031-07-01"), ("time", "09:30"), ("minutes", "20"), ("kind", "check_up")];
    let to = format!("{patient}/appointments");
    let booked = send(&doctor, &patient, &to, &booking).await.expect_status(303);
    let place = booked.header("location").expect("where to").to_owned();
    let visit: Uuid = place
        .trim_start_matches("/staff/appointments/")
        .split('?')
        .next()
        .and_then(|id| id.parse().ok())
        .expect("an id");
    assert_eq!(
        status_of(&api, visit).await,
        ("booked".into(), "2031-07-01 07:30".into(), 1),
        "09:30 in Berlin's summer"
    );
    assert!(doctor.get(&place).await.expect_status(200).text().contains("It is booked."));
    let first = mails(&api).await;
    assert!(first >= 1);
    let again = send(&doctor, &patient, &to, &booking).await.expect_status(409).text();
    assert!(again.contains("already booked at that time"), "a form that is sent twice books once: {again}");
    assert_eq!(mails(&api).await, first);

    let page = format!("/staff/appointments/{visit}");
    let move_to = format!("{page}/move");
    let moving = |version, time| {
        [("version", version), ("day", "2031-07-02"), ("time", time), ("minutes", "40"), ("doctor", with.as_str())]
    };
    let moved = send(&doctor, &page, &move_to, &moving("1", "14:00")).await.expect_status(303);
    assert!(moved.header("location").is_some_and(|to| to.ends_with("done=moved")));
    assert_eq!(status_of(&api, visit).await, ("booked".into(), "2031-07-02 12:00".into(), 2));
    let late = send(&doctor, &page, &move_to, &moving("1", "15:00")).await.expect_status(409).text();
    assert!(late.contains("It was changed meanwhile."), "{late}");
    // On that night clocks leap from 2 to 3.
    let gap = [("version", "2"), ("day", "2031-03-30"), ("time", "02:30"), ("minutes", "40")];
    let leapt = send(&doctor, &page, &move_to, &gap).await.expect_status(422).text();
    assert!(leapt.contains("leap over"), "{leapt}");
    for (name, value) in
        [("day", "soon"), ("time", "25:00"), ("minutes", "0"), ("minutes", "1441"), ("day", "99999-01-01")]
    {
        let mut fields = moving("2", "16:00").to_vec();
        fields.retain(|(field, _)| *field != name);
        fields.push((name, value));
        let _refused = send(&doctor, &page, &move_to, &fields).await.expect_status(422);
    }
    assert_eq!(status_of(&api, visit).await.2, 2);

    let confirmed = send(&doctor, &page, &format!("{page}/confirm"), &[("version", "2")]).await.expect_status(303);
    assert!(confirmed.header("location").is_some_and(|to| to.ends_with("done=confirmed")));
    let why = [("version", "3"), ("reason", "doctor_away")];
    let _off = send(&doctor, &page, &format!("{page}/cancel"), &why).await.expect_status(303);
    assert_eq!(status_of(&api, visit).await.0, "cancelled");
    let shown = doctor.get(&page).await.expect_status(200).text();
    assert!(shown.contains("doctor away") && !shown.contains("Move it"), "{shown}");
    let form = form_token(&doctor, &page).await;
    let gone =
        [("form_token", form.as_str()), ("version", "4"), ("day", "2031-07-03"), ("time", "10:00"), ("minutes", "20")];
    let over = doctor.post_form(&move_to, &gone).await.expect_status(409).text();
    assert!(over.contains("In this state that cannot be done."), "{over}");

    // Another clinic sees none of it, and cannot touch it.
    let other = Clinic::add(&api.pool, 'b').await;
    let stranger = browser(&api, &other.token).await;
    let _none = stranger.get(&page).await.expect_status(404);
    let _none = stranger.get(&patient).await.expect_status(404);
    let form = form_token(&stranger, "/staff/agenda").await;
    let _none = stranger
        .post_form(&format!("{page}/confirm"), &[("form_token", &form), ("version", "4")])
        .await
        .expect_status(404);
}

#[tokio::test]
async fn what_of_a_patient_is_shown_depends_on_the_role() {
    let api = TestApi::start_with(Postgres::shared().await, &[]).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    clinic.add_reminder(&api.pool).await;
    add_visit(&api, &clinic, "2031-11-26T10:00:00Z").await;
    let page = format!("/staff/patients/{}", clinic.patient);
    let doctor = browser(&api, &clinic.token).await.get(&page).await.expect_status(200).text();
    for part in ["Examplomycin", "every day at 02:30", "Visits", "Messages", "Book a visit"] {
        assert!(doctor.contains(part), "{part}: {doctor}");
    }
    let (desk, token) = (new_id(), token_of('r'));
    add_person(&api.pool, clinic.org, desk, "receptionist", "Reception").await;
    let scopes = [
        "patients:read",
        "appointments:read",
        "appointments:write",
        "messages:read",
        "prescriptions:read",
        "reminders:read",
    ];
    add_token(&api.pool, clinic.org, desk, &token, &scopes, "now() + interval '1 hour'", false).await;
    let reception = browser(&api, &token).await.get(&page).await.expect_status(200).text();
    assert!(reception.contains("Book a visit") && !reception.contains("Examplomycin"), "{reception}");
}

#[tokio::test]
async fn patients_see_what_is_theirs_and_nothing_of_others() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let due = now() - chrono::TimeDelta::minutes(1);
    clinic.add_dose(&api.pool, reminder, "2026-11-20T08:00:00", due, "reminded").await;
    let visit = add_visit(&api, &clinic, "2031-11-26T10:00:00Z").await;
    let other = new_id();
    add_person(&api.pool, clinic.org, other, "patient", "Neighbour").await;
    add_account(&api.pool, "mine@example.org", &[clinic.patient]).await;
    add_account(&api.pool, "neighbour@example.org", &[other]).await;
    let mine = enter(&api, "mine@example.org").await;
    let visits = mine.get("/p").await.expect_status(200).text();
    assert!(visits.contains("Wed 26 Nov 2031") && visits.contains("11:00–11:30"), "{visits}");
    let link = visits.split("href=\"").find(|rest| rest.starts_with("/p/a/")).and_then(|rest| rest.split('"').next());
    let answer = api.anonymous().get(link.expect("a link to the visit's own page")).await.expect_status(200).text();
    assert!(answer.contains("name=\"choice\""), "{answer}");
    let medicines = mine.get("/p/medicines").await.expect_status(200).text();
    assert!(
        medicines.contains("Examplomycin") && medicines.contains("/p/d/") && medicines.contains("not answered"),
        "{medicines}"
    );
    for (title, state) in [("Allergic to penicillin", "active"), ("Leg of another patient", "entered_in_error")] {
        sqlx::query("INSERT INTO medical_records (record_id, org_id, patient_id, author_id, kind, title, recorded_at, updated_at, state, withdrawn_at, withdrawn_by, withdrawn_reason)
            VALUES ($1, $2, $3, $4, 'allergy', $5, now(), now(), $6, CASE WHEN $6 <> 'active' THEN now() END, CASE WHEN $6 <> 'active' THEN $4 END, CASE WHEN $6 <> 'active' THEN 'mixed up' END)")
            .bind(new_id()).bind(clinic.org).bind(clinic.patient).bind(clinic.doctor).bind(title).bind(state).execute(&api.pool).await.expect("a record");
    }
    let contact = json!({"name": "Jonas", "relationship": "spouse", "phone": "+49 30 5550123"});
    let contacts = format!("/v1/patients/{}/emergency-contacts", clinic.patient);
    let added = api.with(&clinic.admin).post(&contacts, &contact).await.expect_status(201).json();
    let remove = format!("/v1/emergency-contacts/{}/remove", added["id"].as_str().expect("an id"));
    let _removed = api.with(&clinic.admin).post(&remove, &json!({})).await.expect_status(200);
    let records = mine.get("/p/records").await.expect_status(200).text();
    assert!(records.contains("Allergic to penicillin") && !records.contains("Leg of another"), "{records}");
    let data = mine.get("/p/data").await.expect_status(200).text();
    assert!(data.contains("Patient-a"), "{data}");
    let file = mine.get("/p/data/file").await.expect_status(200);
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"my-data.json\""));
    let file = file.json();
    assert_eq!(
        (&file["complete"], &file["medicines"][0]["medicine"]),
        (&true.into(), &"Examplomycin".into()),
        "{file}"
    );
    assert_eq!(file["appointments"].as_array().map(Vec::len), Some(1));
    let states: Vec<&Value> =
        file["medical_records"].as_array().expect("records").iter().map(|row| &row["state"]).collect();
    assert!(states.len() == 2 && states.contains(&&json!("entered_in_error")), "what is held is in the file: {file}");
    let contact = &file["emergency_contacts"][0];
    assert_eq!((&contact["name"], &contact["may_contact"]), (&json!("Jonas"), &json!(false)), "{file}");

    let neighbour = enter(&api, "neighbour@example.org").await;
    for page in ["/p", "/p/medicines", "/p/records", "/p/data", "/p/data/file"] {
        let shown = neighbour.get(page).await.expect_status(200).text();
        assert!(
            !shown.contains("Examplomycin")
                && !shown.contains("penicillin")
                && !shown.contains("2031")
                && !shown.contains("Jonas")
                && !shown.contains("Patient-a"),
            "{page}: {shown}"
        );
    }
    for page in ["/staff/agenda".to_owned(), format!("/staff/appointments/{visit}")] {
        let _not = mine.get(&page).await.expect_status(403);
    }
}
