//! What a patient gets when a visit is booked, moved, cancelled, and before it.

use std::time::Duration;

use chrono::TimeDelta;
use pulsecal_tests::wait::until;
use serde_json::json;

use super::support::{Clinic, LIMIT, from_now, line_of, parts};

#[tokio::test]
async fn booking_moving_and_cancelling_each_send_one_invitation() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(2).await;
    let start = from_now(TimeDelta::days(10));
    let visit = clinic.book(patient, start).await;
    clinic.smtp.wait_accepted(1, LIMIT).await;
    let moved = clinic.act(&visit, "move", &json!({"starts_at": start + TimeDelta::hours(26), "version": 1})).await;
    let moved = moved.expect_status(200).json();
    assert_eq!((&moved["version"], &moved["sequence"]), (&json!(2), &json!(1)));
    assert_eq!(moved["ends_at"], json!(start + TimeDelta::minutes(26 * 60 + 30)), "it keeps its length");
    clinic.smtp.wait_accepted(2, LIMIT).await;
    clinic.done(&visit, "cancel", &json!({"version": 2, "reason": "doctor_away"})).await;
    let mails = clinic.smtp.wait_accepted(3, LIMIT).await;

    let mut uids = Vec::new();
    for (i, (mail, word)) in mails.iter().zip(["booked", "moved", "cancelled"]).enumerate() {
        let method = if word == "cancelled" { "CANCEL" } else { "REQUEST" };
        let parts = parts(mail);
        assert_eq!(
            parts.kinds,
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "application/ics"]
        );
        let (kind, calendar) = parts.calendar.expect("a calendar part");
        assert_eq!(kind, format!("method={method} charset=UTF-8 component=VEVENT"));
        assert_eq!(parts.file, Some(("invite.ics".into(), calendar.clone())), "the file is the part");
        assert!(calendar.contains(&format!("\r\nMETHOD:{method}\r\n")), "{calendar}");
        assert_eq!(line_of(&calendar, "SEQUENCE"), format!("SEQUENCE:{i}"));
        assert_eq!(line_of(&calendar, "ORGANIZER"), "ORGANIZER;CN=\"Canaryclinic\":mailto:visits@clinic.example.org");
        assert!(line_of(&calendar, "ATTENDEE").contains(&format!("mailto:{}", mail.to[0])), "{calendar}");
        assert_eq!(line_of(&calendar, "LOCATION"), "LOCATION:Room 7\\; first floor\\, left");
        assert!(parts.subject.starts_with("In-person visit") && parts.subject.contains(word), "{}", parts.subject);
        assert!(parts.text.starts_with("In-person visit:"), "whether to travel is said first: {}", parts.text);
        // One formatter: what the subject says stands in both parts, and is what the calendar says.
        let local = line_of(&calendar, "DTSTART;TZID=Europe/Berlin");
        let at = if i == 0 { start } else { start + TimeDelta::hours(26) };
        let there = at.with_timezone(&chrono_tz::Europe::Berlin);
        assert_eq!(local, format!("DTSTART;TZID=Europe/Berlin:{}", there.format("%Y%m%dT%H%M%S")));
        let shown = there.format("%A %-d %B %Y, %H:%M (Europe/Berlin, UTC%:z)").to_string();
        for text in [&parts.subject, &parts.text, &parts.html] {
            assert!(text.contains(&shown), "{shown} is not in {text}");
        }
        uids.push(line_of(&calendar, "UID"));
    }
    uids.dedup();
    assert_eq!(uids.len(), 1, "the UID is the visit's for its life");
    // The reminders of the first state ended as cancelled with the reason, those of the second as well.
    let ended: Vec<(String, String)> = sqlx::query_as(
        "SELECT state, last_error FROM job_history WHERE kind = 'appointment_mail' AND args->>'says' LIKE '%before' ORDER BY ended_at, id",
    )
    .fetch_all(&clinic.pool)
    .await
    .expect("the history reads");
    let cancelled = |why: &str| ("cancelled".to_owned(), why.to_owned());
    assert_eq!(
        ended,
        [
            cancelled("the visit was moved"),
            cancelled("the visit was moved"),
            cancelled("the visit is cancelled"),
            cancelled("the visit is cancelled")
        ]
    );
    until(LIMIT, "nothing waits", async || (clinic.count("SELECT count(*) FROM jobs").await == 0).then_some(())).await;
    let audit: Vec<String> =
        sqlx::query_scalar("SELECT action FROM audit_entries WHERE subject_type = 'appointment' AND action <> 'appointment.read' ORDER BY at")
            .fetch_all(&clinic.pool)
            .await
            .expect("the audit reads");
    assert_eq!(audit, ["appointment.booked", "appointment.moved", "appointment.cancelled"]);
}

#[tokio::test]
async fn reminders_follow_the_visit_and_none_is_sent_that_was_booked_too_late() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient(1).await;
    let planned = async || -> Vec<(String, chrono::DateTime<chrono::Utc>)> {
        sqlx::query_as("SELECT args->>'says', run_at FROM jobs WHERE args->>'says' LIKE '%before' ORDER BY run_at")
            .fetch_all(&clinic.pool)
            .await
            .expect("the ledger reads")
    };
    let start = from_now(TimeDelta::hours(30));
    let visit = clinic.book(patient, start).await;
    let hour = |at| ("hour_before".to_owned(), at - TimeDelta::hours(1));
    let day = |at| ("day_before".to_owned(), at - TimeDelta::hours(24));
    assert_eq!(planned().await, [day(start), hour(start)]);
    // To tomorrow at the same time, then to within the day: the day's reminder goes.
    let later = start + TimeDelta::hours(24);
    clinic.done(&visit, "move", &json!({"starts_at": later})).await;
    assert_eq!(planned().await, [day(later), hour(later)]);
    let sooner = from_now(TimeDelta::hours(3));
    clinic.done(&visit, "move", &json!({"starts_at": sooner})).await;
    assert_eq!(planned().await, [hour(sooner)]);
    let soon = from_now(TimeDelta::minutes(40));
    let other = clinic.book(patient, soon).await;
    assert_eq!(planned().await, [hour(sooner)], "booked forty minutes ahead: no reminder");
    clinic.done(&other, "cancel", &json!({})).await;

    // The time of the reminder comes, as far as the ledger knows.
    clinic.exec("UPDATE jobs SET run_at = now() WHERE args->>'says' = 'hour_before' AND org_id = $1", clinic.org).await;
    let (_worker, _scheduler) = (clinic.start("pulsecal-worker"), clinic.start("pulsecal-scheduler"));
    until(LIMIT, "the reminder is sent", async || {
        let sent = clinic.log_of(&visit).await;
        sent.iter().any(|(occurrence, state, _)| occurrence == "2/hour_before" && state == "sent").then_some(())
    })
    .await;
    let mails = clinic.smtp.accepted();
    let reminder = mails.iter().map(parts).find(|parts| parts.subject.contains(" soon")).expect("the reminder");
    assert!(reminder.subject.starts_with("In-person visit"));
    assert!(reminder.calendar.is_none(), "nothing has changed since the invitation");
}

#[tokio::test]
async fn a_level_hides_what_is_above_it_and_an_unproven_address_gets_the_lowest() {
    let clinic = Clinic::open().await;
    let mut visits = Vec::new();
    for level in 0..=3_i16 {
        let patient = clinic.patient(level).await;
        let visit = clinic.book(patient, from_now(TimeDelta::days(3) + TimeDelta::hours(level.into()))).await;
        visits.push((level, patient, visit));
    }
    let unproven = clinic.patient(2).await;
    clinic.exec("UPDATE people SET email_verified_at = NULL WHERE person_id = $1", unproven).await;
    visits.push((0, unproven, clinic.book(unproven, from_now(TimeDelta::days(4))).await));
    let _worker = clinic.start("pulsecal-worker");
    let mails = clinic.smtp.wait_accepted(visits.len(), LIMIT).await;
    for (level, patient, visit) in &visits {
        let address = format!("p{}@patients.example.org", patient.simple());
        let mail = mails.iter().find(|mail| mail.to == [address.clone()]).expect("a mail");
        let parts = parts(mail);
        let calendar = parts.calendar.map(|(_, text)| text.replace("\r\n ", "")).unwrap_or_default();
        let file = parts.file.map(|(name, text)| name + &text.replace("\r\n ", "")).unwrap_or_default();
        let head = mail.raw_text().split("\r\n\r\n").next().unwrap_or_default().to_owned();
        let all = [parts.subject, parts.text, parts.html, calendar.clone(), file, head].join("\n");
        let year = &visit["starts_at"].as_str().expect("a time")[..4];
        for (least, word) in [
            (1, "Canaryclinic"),
            (1, "5550100"),
            (1, "Room 7"),
            (1, "Europe/Berlin"),
            (2, "Canarydoctor"),
            (2, "Follow-up"),
        ] {
            assert_eq!(all.contains(word), *level >= least, "{word} at level {level}:\n{all}");
        }
        assert_eq!(calendar.is_empty(), *level == 0, "an event says when and where");
        assert_eq!(all.contains("Discreetname"), *level == 0);
        if *level == 0 {
            let said = all.lines().filter(|line| !line.starts_with("Date:")).collect::<String>();
            assert!(!said.contains(&format!(" {year}")) && !said.to_lowercase().contains("visit booked"), "{said}");
        }
        if *level < 2 {
            let lower = all.to_lowercase();
            for word in ["doctor", "follow", "health", "treatment", "medic"] {
                assert!(!lower.contains(word), "{word} at level {level}:\n{all}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_who_cannot_or_should_not_get_it() {
    let clinic = Clinic::open().await;
    let mut expected = Vec::new();
    for (change, why) in [
        ("UPDATE people SET deceased = true WHERE person_id = $1", "the patient is inactive or deceased"),
        ("UPDATE people SET active = false WHERE person_id = $1", "the patient is inactive or deceased"),
        ("UPDATE people SET email = NULL WHERE person_id = $1", "there is no address to send it to"),
        (
            "UPDATE appointments SET starts_at = now() - interval '1 minute', ends_at = now() + interval '1 hour' WHERE patient_id = $1",
            "the visit's time has come",
        ),
        ("UPDATE appointments SET status = 'fulfilled' WHERE patient_id = $1", "the visit is in another status"),
    ] {
        let patient = clinic.patient(2).await;
        let hours = TimeDelta::hours(48 + i64::try_from(expected.len()).expect("few"));
        let visit = clinic.book(patient, from_now(hours)).await;
        clinic.exec(change, patient).await;
        expected.push((visit, why));
    }
    let _worker = clinic.start("pulsecal-worker");
    for (visit, why) in expected {
        until(LIMIT, why, async || {
            let log = clinic.log_of(&visit).await;
            (log == [("0/booked".to_owned(), "suppressed".to_owned(), Some(why.to_owned()))]).then_some(())
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(clinic.smtp.accepted().is_empty());
}
