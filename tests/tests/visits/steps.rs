//! The steps of the day of a visit: in their order, in their time, each once.

use chrono::TimeDelta;
use futures_util::future::join_all;
use pulsecal_tests::wait::until;
use serde_json::{Value, json};

use super::support::{Clinic, LIMIT, from_now, parts};

const MINUTE: TimeDelta = TimeDelta::minutes(1);

async fn refused(clinic: &Clinic, visit: &Value, verb: &str) -> String {
    clinic.act(visit, verb, &json!({})).await.expect_status(409).text()
}

#[tokio::test]
async fn a_visit_is_checked_in_begun_and_completed_in_this_order() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(1).await;
    let early = clinic.book(patient, from_now(TimeDelta::hours(6))).await;
    assert!(refused(&clinic, &early, "check-in").await.contains("too early"));
    let visit = clinic.book(patient, from_now(TimeDelta::minutes(90))).await;
    assert_eq!(visit["state"], "confirmed");
    assert!(refused(&clinic, &visit, "start").await.contains("check the patient in first"));
    assert!(refused(&clinic, &visit, "complete").await.contains("check the patient in"));
    assert!(refused(&clinic, &visit, "decline").await.contains("is cancelled"));
    assert!(refused(&clinic, &visit, "no-show").await.contains("has not begun"));

    let waiting = "SELECT count(*) FROM jobs WHERE kind = 'appointment_mail' AND args->>'says' = 'hour_before' AND args->>'visit' = ";
    let waiting = format!("{waiting}'{}'", visit["id"].as_str().expect("an id"));
    let waits: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(waiting.clone())).fetch_one(&clinic.pool).await.expect("counted");
    assert_eq!(waits, 1);
    for (verb, state) in [("check-in", "checked_in"), ("start", "in_consultation"), ("complete", "completed")] {
        let done = clinic.done(&visit, verb, &json!({})).await;
        assert_eq!(done["state"], state, "{done}");
        let again = clinic.done(&visit, verb, &json!({})).await;
        assert_eq!(again, done, "twice changes nothing");
        if state != "completed" {
            assert_eq!(done["status"], "checked-in", "as FHIR names it");
        }
    }
    // Whoever is here needs no reminder.
    let waits: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(waiting)).fetch_one(&clinic.pool).await.expect("counted");
    assert_eq!(waits, 0);
    for verb in ["check-in", "start", "no-show", "cancel", "move", "confirm"] {
        assert_eq!(clinic.act(&visit, verb, &json!({})).await.status, 409, "{verb}");
    }
    let noted: Vec<String> = sqlx::query_scalar("SELECT action FROM audit_entries WHERE action IN ('appointment.checked_in', 'appointment.started', 'appointment.completed') ORDER BY at")
        .fetch_all(&clinic.pool).await.expect("entries");
    assert_eq!(noted, ["appointment.checked_in", "appointment.started", "appointment.completed"]);
    // Past the API the order holds too.
    for wrong in [
        "started_at = checked_in_at - interval '1 second'",
        "checked_in_at = NULL",
        "completed_at = started_at - interval '1 second'",
    ] {
        let sql = format!("UPDATE appointments SET {wrong} WHERE completed_at IS NOT NULL");
        let _refused = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&clinic.pool).await.expect_err(wrong);
    }
    // An old version is refused.
    let other = clinic.book(patient, from_now(TimeDelta::minutes(30))).await;
    assert_eq!(clinic.act(&other, "check-in", &json!({"version": 7})).await.status, 409);
}

#[tokio::test]
async fn what_is_asked_for_is_confirmed_or_declined_and_the_patient_is_told() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(1).await;
    let start = from_now(TimeDelta::days(3));
    let ask = async |at| {
        let mut body = clinic.booking(patient, at);
        body["requested"] = json!(true);
        clinic.http().post("/v1/appointments", &body).await.expect_status(201).json()
    };
    let visit = ask(start).await;
    assert_eq!((&visit["status"], &visit["state"]), (&json!("pending"), &json!("requested")));
    // Its time is kept for it, and nobody is told.
    assert_eq!(clinic.http().post("/v1/appointments", &clinic.booking(patient, start)).await.status, 409);
    assert_eq!(clinic.count("SELECT count(*) FROM jobs WHERE kind = 'appointment_mail'").await, 0);
    let declined = clinic.done(&visit, "decline", &json!({})).await;
    assert_eq!((&declined["status"], &declined["state"]), (&json!("cancelled"), &json!("declined")));
    assert_eq!(clinic.done(&visit, "decline", &json!({})).await, declined);
    let mail = parts(&clinic.smtp.wait_accepted(1, LIMIT).await[0]);
    assert!(mail.subject.starts_with("In-person visit declined"), "{}", mail.subject);
    assert!(mail.text.contains("could not grant") && mail.text.contains("please do not come"), "{}", mail.text);
    assert!(!mail.text.contains("I will come"), "{}", mail.text);
    // The time is free again.
    let visit = ask(start).await;
    let confirmed = clinic.done(&visit, "confirm", &json!({})).await;
    assert_eq!(confirmed["state"], "confirmed");
    let mail = parts(&clinic.smtp.wait_accepted(2, LIMIT).await[1]);
    assert!(mail.subject.contains("booked"), "{}", mail.subject);
}

#[tokio::test]
async fn nobody_came_is_said_by_staff_or_by_itself_where_the_clinic_wants_it() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(1).await;
    let mut visits = Vec::new();
    for hours in 1..=5 {
        visits.push(clinic.book(patient, from_now(TimeDelta::hours(hours))).await);
    }
    // They were: a while ago, three days ago, and one that is still going on.
    let at = |visit: &Value, ago: TimeDelta| {
        let id = visit["id"].as_str().expect("an id").to_owned();
        let (starts_at, pool) = (from_now(-ago), clinic.pool.clone());
        async move {
            sqlx::query("UPDATE appointments SET starts_at = $2, ends_at = $2 + interval '30 minutes' WHERE appointment_id = $1::uuid")
                .bind(id).bind(starts_at).execute(&pool).await.expect("moved back");
        }
    };
    let [said, swept, old, here, now] = &visits[..] else { panic!("five") };
    for (visit, ago) in [(said, 120), (swept, 180), (old, 3 * 24 * 60), (here, 240), (now, 20)] {
        at(visit, MINUTE * ago).await;
    }
    let no_show = clinic.done(said, "no-show", &json!({})).await;
    assert_eq!((&no_show["status"], &no_show["state"]), (&json!("noshow"), &json!("no_show")));
    clinic.done(here, "check-in", &json!({})).await;

    let sweep = "INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) VALUES (gen_random_uuid(), 'sweep_no_shows', 'maintenance', '{}', now(), 5, now())";
    let (_scheduler, _worker) = (clinic.start("pulsecal-scheduler"), clinic.start("pulsecal-worker"));
    let ran = async |times: i64| {
        sqlx::query(sweep).execute(&clinic.pool).await.expect("a job");
        until(LIMIT, "it swept", async || {
            (clinic.count("SELECT count(*) FROM job_history WHERE kind = 'sweep_no_shows'").await >= times)
                .then_some(())
        })
        .await;
    };
    let count = "SELECT count(*) FROM appointments WHERE status = 'noshow'";
    ran(1).await;
    assert_eq!(clinic.count(count).await, 1, "nobody asked for it");
    clinic.exec("UPDATE organizations SET no_show_after_minutes = 15 WHERE org_id = $1", clinic.org).await;
    // It runs twice, to the same effect.
    ran(2).await;
    ran(3).await;
    let by_itself: Vec<String> = sqlx::query_scalar(
        "SELECT subject_id::text FROM audit_entries WHERE action = 'appointment.no_show' AND actor_kind = 'job'",
    )
    .fetch_all(&clinic.pool)
    .await
    .expect("entries");
    assert_eq!(
        by_itself,
        [swept["id"].as_str().expect("an id")],
        "neither the old ones, nor who is here, nor what is going on"
    );
    assert_eq!(clinic.count(count).await, 2);

    // Of many who say different things at once, one is heard.
    clinic.exec("UPDATE organizations SET no_show_after_minutes = NULL WHERE org_id = $1", clinic.org).await;
    let version =
        clinic.http().get(&format!("/v1/appointments/{}", now["id"].as_str().expect("an id"))).await.json()["version"]
            .clone();
    let body = json!({"version": version});
    let answers =
        join_all((0..12).map(|i| clinic.act(now, if i % 2 == 0 { "check-in" } else { "no-show" }, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    // Who comes after all is checked in.
    if clinic.http().get(&format!("/v1/appointments/{}", now["id"].as_str().expect("an id"))).await.json()["state"]
        == "no_show"
    {
        assert_eq!(clinic.done(now, "check-in", &json!({})).await["state"], "checked_in");
    }
    assert_eq!(clinic.done(swept, "check-in", &json!({})).await["state"], "checked_in");
}
