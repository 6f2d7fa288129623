//! Visits that another system keeps: the first import tells nobody, a later one tells what changed.

use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_tests::wait::until;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Clinic, LIMIT, from_now, line_of, new_id, parts};

/// What the other system holds.
struct Source {
    people: Vec<Value>,
    visits: Vec<Value>,
}

impl Source {
    /// Two patients and a doctor.
    fn new() -> Self {
        let person = |kind: &str, id: &str, name: &str| {
            json!({"resourceType": kind, "id": id, "name": [{"family": name, "given": ["Ada"]}],
                "telecom": [{"system": "email", "value": format!("{id}@patients.example.org")}]})
        };
        let people = vec![
            person("Patient", "p1", "Okafor"),
            person("Patient", "p2", "Lindqvist"),
            person("Practitioner", "d1", "Sato"),
        ];
        Self { people, visits: Vec::new() }
    }

    /// A visit of half an hour, new or as it is now.
    fn put(&mut self, id: &str, status: &str, start: DateTime<Utc>, patient: &str, doctor: Option<&str>) {
        let actor =
            |kind: &str, id: &str| json!({"actor": {"reference": format!("{kind}/{id}")}, "status": "accepted"});
        let mut with = vec![actor("Patient", patient)];
        with.extend(doctor.map(|id| actor("Practitioner", id)));
        self.visits.retain(|visit| visit["id"] != id);
        self.visits.push(json!({"resourceType": "Appointment", "id": id, "status": status, "start": start,
            "end": start + TimeDelta::minutes(30), "participant": with}));
    }

    /// Imports all of it: exit code and report.
    async fn import(&self, clinic: &Clinic, more: &[&str]) -> (i32, Value) {
        let lines: Vec<String> = self.people.iter().chain(&self.visits).map(Value::to_string).collect();
        let file = std::env::temp_dir().join(format!("pulsecal-visits-{}.ndjson", new_id()));
        std::fs::write(&file, lines.join("\n")).expect("a file of ours");
        let org = clinic.org.to_string();
        let args = ["import", "fhir", file.to_str().expect("a path of ours"), "--json", "--org", &org];
        let done = clinic.pulsecal(&[&args, more].concat()).await;
        std::fs::remove_file(&file).expect("removed");
        let report = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
        (done.status.code().expect("ended"), report)
    }
}

/// The row of a visit.
async fn row(clinic: &Clinic, id: &str) -> Uuid {
    sqlx::query_scalar(
        "SELECT subject_id FROM imported_resources WHERE resource_type = 'Appointment' AND resource_id = $1",
    )
    .bind(id)
    .fetch_one(&clinic.pool)
    .await
    .expect("it was imported")
}

async fn status_and_sequence(clinic: &Clinic, id: &str) -> (String, i32) {
    sqlx::query_as("SELECT status, sequence FROM appointments WHERE appointment_id = $1")
        .bind(row(clinic, id).await)
        .fetch_one(&clinic.pool)
        .await
        .expect("its row")
}

/// What is said of a visit by jobs that wait, with when.
async fn waiting(clinic: &Clinic, id: &str) -> Vec<(String, DateTime<Utc>)> {
    sqlx::query_as("SELECT args->>'says', run_at FROM jobs WHERE args->>'visit' = $1 ORDER BY run_at")
        .bind(row(clinic, id).await.to_string())
        .fetch_all(&clinic.pool)
        .await
        .expect("the ledger reads")
}

async fn audited(clinic: &Clinic, id: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT action FROM audit_entries WHERE subject_id = $1 AND role = 'operator' ORDER BY at, id")
        .bind(row(clinic, id).await)
        .fetch_all(&clinic.pool)
        .await
        .expect("the audit reads")
}

#[tokio::test]
async fn a_first_import_tells_nobody_and_a_later_one_what_was_moved_and_called_off() {
    let clinic = Clinic::open().await;
    let mut source = Source::new();
    let start = from_now(TimeDelta::days(10));
    for i in 0..40_i32 {
        source.put(&format!("v{i}"), "booked", start + TimeDelta::hours(i.into()), "p1", Some("d1"));
    }
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    let told = "SELECT count(*) FROM jobs WHERE kind = 'appointment_mail' AND args->>'says' NOT LIKE '%before'";
    let reminders = "SELECT count(*) FROM jobs WHERE kind = 'appointment_mail' AND args->>'says' LIKE '%before'";
    assert_eq!((clinic.count(told).await, clinic.count(reminders).await), (0, 80));
    // The same again: nothing is new, nothing is planned twice.
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    assert_eq!((clinic.count(told).await, clinic.count(reminders).await), (0, 80));
    assert_eq!(status_and_sequence(&clinic, "v3").await, ("booked".to_owned(), 0));

    // A proven address may get invitations.
    clinic.exec("UPDATE people SET email_verified_at = now(), privacy_level = 2 WHERE org_id = $1 AND family_name = 'Okafor'", clinic.org).await;
    let later = start + TimeDelta::days(5);
    source.put("v3", "booked", later, "p1", Some("d1"));
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    let [hour, day] = [TimeDelta::hours(1), TimeDelta::hours(24)];
    let planned = waiting(&clinic, "v3").await;
    assert_eq!(planned[0].0, "moved");
    assert_eq!(planned[1..], [("day_before".to_owned(), later - day), ("hour_before".to_owned(), later - hour)]);
    assert_eq!(clinic.count(told).await, 1, "only that one");
    let _worker = clinic.start("pulsecal-worker");
    let mails = clinic.smtp.wait_accepted(1, LIMIT).await;
    source.put("v3", "cancelled", later, "p1", Some("d1"));
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    assert_eq!(source.import(&clinic, &[]).await.0, 0, "and once more");
    let mails = [mails[0].clone(), clinic.smtp.wait_accepted(2, LIMIT).await[1].clone()];
    let uid = row(&clinic, "v3").await;
    for (i, (mail, (word, method))) in mails.iter().zip([("moved", "REQUEST"), ("cancelled", "CANCEL")]).enumerate() {
        let parts = parts(mail);
        assert!(parts.subject.contains(word), "{}", parts.subject);
        let (_, calendar) = parts.calendar.expect("a calendar part");
        assert!(calendar.contains(&format!("\r\nMETHOD:{method}\r\n")), "{calendar}");
        assert_eq!(line_of(&calendar, "SEQUENCE"), format!("SEQUENCE:{}", i + 1));
        assert_eq!(line_of(&calendar, "UID"), format!("UID:{uid}"));
    }
    assert_eq!(
        audited(&clinic, "v3").await,
        [
            "appointment.imported",
            "appointment.imported",
            "appointment.moved",
            "appointment.cancelled",
            "appointment.imported",
        ]
    );
    // What was planned for the times that no longer hold has ended, with the reason.
    let ended = "SELECT count(*) FROM job_history WHERE state = 'cancelled' AND last_error IN ('the visit was moved', 'the visit is cancelled')";
    assert_eq!(clinic.count(ended).await, 4);
    until(LIMIT, "nothing else is said", async || (clinic.count(told).await == 0).then_some(())).await;
    assert_eq!(clinic.smtp.accepted().len(), 2);
}

#[tokio::test]
async fn what_was_done_here_stays_until_the_source_says_something_new() {
    let clinic = Clinic::open().await;
    let mut source = Source::new();
    let start = from_now(TimeDelta::days(10));
    source.put("v1", "booked", start, "p1", Some("d1"));
    source.put("v2", "pending", start + TimeDelta::hours(2), "p1", Some("d1"));
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    let visit = json!({"id": row(&clinic, "v1").await});
    clinic.done(&visit, "cancel", &json!({})).await;
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    assert_eq!(
        status_and_sequence(&clinic, "v1").await,
        ("cancelled".to_owned(), 1),
        "nobody is invited anew who called it off"
    );
    // Something new: it holds again, at another time; and what was asked for is agreed.
    source.put("v1", "booked", start + TimeDelta::days(1), "p1", Some("d1"));
    source.put("v2", "booked", start + TimeDelta::hours(2), "p1", Some("d1"));
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    assert_eq!(status_and_sequence(&clinic, "v1").await, ("booked".to_owned(), 2));
    for id in ["v1", "v2"] {
        assert_eq!(waiting(&clinic, id).await[0].0, "booked", "{id}");
    }
    // Who is there, was there or did not come hears nothing of it.
    for status in ["arrived", "fulfilled", "noshow"] {
        source.put("v2", status, start + TimeDelta::hours(2), "p1", Some("d1"));
        assert_eq!(source.import(&clinic, &[]).await.0, 0);
        assert_eq!(waiting(&clinic, "v2").await, [], "{status}");
    }
    // Nor does anybody when the operator says so.
    let told = "SELECT count(*) FROM jobs WHERE args->>'says' IN ('moved', 'cancelled')";
    source.put("v1", "booked", start + TimeDelta::days(2), "p1", Some("d1"));
    assert_eq!(source.import(&clinic, &["--quietly"]).await.0, 0);
    assert_eq!((status_and_sequence(&clinic, "v1").await.1, clinic.count(told).await), (3, 0));
    assert_eq!(waiting(&clinic, "v1").await.len(), 2, "its reminders follow it");
}

#[tokio::test]
async fn what_cannot_go_in_is_listed_and_changes_nothing() {
    let clinic = Clinic::open().await;
    let mut source = Source::new();
    let start = from_now(TimeDelta::days(10));
    source.put("fine", "booked", start, "p1", Some("d1"));
    source.put("nobody", "booked", start + TimeDelta::hours(1), "p9", Some("d1"));
    source.put("alone", "booked", start + TimeDelta::hours(2), "p1", Some("d9"));
    source.put("twice", "booked", start + TimeDelta::minutes(15), "p2", Some("d1"));
    let (code, report) = source.import(&clinic, &[]).await;
    assert_eq!(code, 3, "{report}");
    let listed = |report: &Value, id: &str| -> (String, String) {
        let lines = report["left_out"].as_array().expect("a list");
        let line = lines.iter().find(|line| line["resource"] == format!("Appointment/{id}")).expect("it is listed");
        (line["effect"].as_str().unwrap_or_default().to_owned(), line["reason"].as_str().unwrap_or_default().to_owned())
    };
    for (id, effect, why) in [
        ("nobody", "skipped", "its patient is neither in this file nor imported before"),
        ("alone", "partial", "kept without a doctor: its practitioner is neither"),
        ("twice", "skipped", "its practitioner has another appointment at that time"),
    ] {
        let (found, reason) = listed(&report, id);
        assert!(found == effect && reason.starts_with(why), "{id}: {found} {reason}");
    }
    let count = "SELECT count(*) FROM appointments";
    assert_eq!(clinic.count(count).await, 2);

    // A visit that this clinic booked itself is in the way as well, and stays; so does what was imported before.
    let doctor: Uuid = sqlx::query_scalar("SELECT person_id FROM people WHERE family_name = 'Sato'")
        .fetch_one(&clinic.pool)
        .await
        .expect("the doctor");
    let patient = clinic.patient(2).await;
    let mut booking = clinic.booking(patient, start + TimeDelta::days(1));
    booking["doctor_id"] = json!(doctor);
    let own = clinic.http().post("/v1/appointments", &booking).await.expect_status(201).json();
    source.visits.clear();
    source.put("fine", "booked", start + TimeDelta::days(1), "p1", Some("d1"));
    let (code, report) = source.import(&clinic, &[]).await;
    assert_eq!((code, listed(&report, "fine").0.as_str()), (3, "skipped"));
    let starts: DateTime<Utc> = sqlx::query_scalar("SELECT starts_at FROM appointments WHERE appointment_id = $1")
        .bind(row(&clinic, "fine").await)
        .fetch_one(&clinic.pool)
        .await
        .expect("its row");
    assert_eq!((starts, waiting(&clinic, "fine").await.len()), (start, 2));
    // When the other one goes, it goes in: what was refused is not taken for known.
    clinic.done(&own, "cancel", &json!({})).await;
    assert_eq!(source.import(&clinic, &[]).await.0, 0);
    assert_eq!(waiting(&clinic, "fine").await[0].0, "moved");
    // A visit does not pass from one patient to another.
    source.put("fine", "booked", start + TimeDelta::days(1), "p2", Some("d1"));
    let (code, report) = source.import(&clinic, &[]).await;
    assert!(code == 3 && listed(&report, "fine").1.starts_with("it is another patient's than before"), "{report}");
}
