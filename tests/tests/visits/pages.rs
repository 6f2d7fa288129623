//! The pages behind the links: looked at by scanners, used by patients.

use chrono::TimeDelta;
use pulsecal_tests::wait::until;
use serde_json::json;

use super::support::{Clinic, LIMIT, from_now, parts};

/// The value of the hidden field of the page.
fn field(page: &str, name: &str) -> String {
    let found = page.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
}

/// The first link of the newest mail, as a path.
async fn link(clinic: &Clinic, mails: usize) -> String {
    let mails = clinic.smtp.wait_accepted(mails, LIMIT).await;
    let text = parts(mails.last().expect("a mail")).text;
    let url = text.lines().find(|line| line.contains("/p/a/")).expect("a link");
    let path = &url[url.find("/p/a/").expect("a path")..];
    path.split('?').next().expect("a path").to_owned()
}

async fn state(clinic: &Clinic) -> (String, i32, i32, bool, bool) {
    sqlx::query_as(
        "SELECT status, version, sequence, confirmed_by_patient_at IS NOT NULL, move_asked_at IS NOT NULL FROM appointments",
    )
    .fetch_one(&clinic.pool)
    .await
    .expect("one visit")
}

#[tokio::test]
async fn looking_changes_nothing_and_the_form_confirms_moves_asks_and_cancels() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(2).await;
    let visit = clinic.book(patient, from_now(TimeDelta::days(3))).await;
    let path = link(&clinic, 1).await;
    until(LIMIT, "the mail is on record", async || (clinic.log_of(&visit).await.first()?.1 == "sent").then_some(()))
        .await;
    let before = state(&clinic).await;
    let http = clinic.anonymous();
    for query in ["", "?choice=yes", "?choice=no", "?choice=other", "?done=no", "?choice=%ff&done=yes"] {
        for _ in 0..3 {
            let page = http.get(&format!("{path}{query}")).await.expect_status(200).text();
            assert!(page.contains("In-person visit") && page.contains("Canarydoctor"), "{page}");
            assert!(!page.contains("role=\"status\""), "nothing was done: {page}");
        }
    }
    assert_eq!(state(&clinic).await, before);
    assert_eq!(
        clinic
            .count(
                "SELECT count(*) FROM audit_entries WHERE actor_kind = 'patient_link' AND action <> 'appointment.read'"
            )
            .await,
        0
    );

    let page = http.get(&path).await.text();
    let (token, version) = (field(&page, "form_token"), field(&page, "version"));
    for (fields, status) in [
        (vec![("choice", "no")], 400),
        (vec![("choice", "no"), ("version", "1"), ("form_token", "guessed")], 400),
        (vec![("choice", "never"), ("version", "1"), ("form_token", token.as_str())], 422),
        (vec![("choice", "at-1"), ("version", "1"), ("form_token", token.as_str())], 409),
        (vec![("choice", "no"), ("version", "9"), ("form_token", token.as_str())], 409),
    ] {
        let answer = http.post_form(&path, &fields).await;
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text());
        assert!(answer.text().contains("role=\"alert\""), "{fields:?}");
    }
    assert_eq!(state(&clinic).await, before);

    let press = async |choice: &str, version: &str| {
        http.post_form(&path, &[("form_token", token.as_str()), ("version", version), ("choice", choice)]).await
    };
    assert!(!page.contains("value=\"at-"), "times are listed for who asks for them");
    let times = http.get(&format!("{path}?choice=other")).await.text();
    let offered = times.split("value=\"at-").nth(1).and_then(|rest| rest.split('"').next()).expect("a time").to_owned();
    // Pressed twice: once done.
    for _ in 0..2 {
        let done = press("yes", &version).await.expect_status(303);
        let page = http.get(done.header("location").expect("where to")).await.text();
        assert!(page.contains("It is confirmed"), "{page}");
    }
    assert_eq!(state(&clinic).await, ("booked".into(), 2, 0, true, false));
    let _done = press("ask", "2").await.expect_status(303);
    assert_eq!(state(&clinic).await, ("booked".into(), 3, 0, true, true));
    let _done = press(&format!("at-{offered}"), "3").await.expect_status(303);
    assert_eq!(state(&clinic).await, ("booked".into(), 4, 1, false, false));
    let starts: i64 = sqlx::query_scalar("SELECT extract(epoch FROM starts_at)::int8 FROM appointments")
        .fetch_one(&clinic.pool)
        .await
        .expect("a start");
    assert_eq!(starts.to_string(), offered);
    let newest = link(&clinic, 2).await;
    // The link of the first mail leads to what holds now, as that of the newest does.
    assert_ne!(newest, path);
    for path in [&path, &newest] {
        assert_eq!(field(&http.get(path).await.text(), "version"), "4");
    }
    // A page that was left open since before the move cannot cancel what it does not show.
    let stale = press("no", "1").await.expect_status(409);
    assert!(stale.text().contains("changed meanwhile"), "{}", stale.text());
    until(LIMIT, "the mail is on record", async || {
        clinic.log_of(&visit).await.iter().all(|row| row.1 == "sent").then_some(())
    })
    .await;
    let done = press("no", "4").await.expect_status(303);
    let page = http.get(done.header("location").expect("where to")).await.text();
    assert!(page.contains("It is called off") && !page.contains("<button"), "{page}");
    assert_eq!(state(&clinic).await.0, "cancelled");
    let audit: Vec<String> =
        sqlx::query_scalar("SELECT action FROM audit_entries WHERE actor_kind = 'patient_link' AND action <> 'appointment.read' ORDER BY at")
            .fetch_all(&clinic.pool)
            .await
            .expect("the audit reads");
    let word = |verb: &str| format!("appointment.{verb}");
    assert_eq!(audit, ["confirmed", "move_asked", "moved", "cancelled"].map(word));
}

#[tokio::test]
async fn a_level_holds_on_the_page_and_forged_links_give_nothing_away() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    let http = clinic.anonymous();
    for level in 0..=2_i16 {
        let patient = clinic.patient(level).await;
        clinic.book(patient, from_now(TimeDelta::days(3) + TimeDelta::hours(level.into()))).await;
        let path = link(&clinic, usize::try_from(level).expect("small") + 1).await;
        let page = http.get(&path).await.expect_status(200).text();
        for (least, word) in
            [(1, "Canaryclinic"), (1, "Room 7"), (1, "Europe/Berlin"), (2, "Canarydoctor"), (2, "Follow-up")]
        {
            assert_eq!(page.contains(word), level >= least, "{word} at level {level}: {page}");
        }
        let mut forged = path.clone().into_bytes();
        let at = forged.len() - 5;
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        let page = http.get(&forged).await.expect_status(404).text();
        assert!(!page.contains("Canary") && !page.contains("Discreet"), "{page}");
        let _refused = http.post_form(&forged, &[("choice", "no")]).await.expect_status(404);
    }
    assert_eq!(clinic.count("SELECT count(*) FROM appointments WHERE version > 1").await, 0);
}

#[tokio::test]
async fn a_visit_is_no_longer_moved_or_cancelled_by_link_just_before_it_begins() {
    let clinic = Clinic::open().await;
    let _worker = clinic.start("pulsecal-worker");
    let patient = clinic.patient(1).await;
    let visit = clinic.book(patient, from_now(TimeDelta::minutes(46))).await;
    let path = link(&clinic, 1).await;
    until(LIMIT, "the mail is on record", async || (clinic.log_of(&visit).await.first()?.1 == "sent").then_some(()))
        .await;
    let http = clinic.anonymous();
    let page = http.get(&format!("{path}?choice=other")).await.text();
    assert!(
        !page.contains("value=\"at-") && !page.contains("value=\"ask\"") && page.contains("value=\"no\""),
        "{page}"
    );
    let token = field(&page, "form_token");
    let press = async |choice: &str| {
        http.post_form(&path, &[("form_token", token.as_str()), ("version", "1"), ("choice", choice)]).await
    };
    assert!(press("ask").await.expect_status(409).text().contains("too late"));
    clinic
        .exec("UPDATE appointments SET starts_at = now() + interval '20 minutes' WHERE patient_id = $1", patient)
        .await;
    assert!(press("no").await.expect_status(409).text().contains("too late"));
    let _done = press("yes").await.expect_status(303);
    assert_eq!(clinic.act(&visit, "cancel", &json!({})).await.status, 200, "the clinic may");
}
