//! Links in mails to owners of accounts: an invitation, and another password. Each works once.

use pulsecal_core::config::Secret;
use pulsecal_core::ids::AccountMailId;
use pulsecal_core::links::Links;
use pulsecal_tests::http::Answer;
use pulsecal_tests::processes::{Finished, Process, run};
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use uuid::Uuid;

use crate::accounts::{PASSWORD, add_account, enter, try_password};
use crate::sign_in::form_token;
use crate::support::{Clinic, LIMIT, SECRET_KEY, TestApi, new_id};

const NEW: &str = "nine ships under a green moon";

/// The path of a link that is good for an hour.
pub async fn link_of(api: &TestApi, account: Uuid, kind: &str, person: Option<Uuid>) -> String {
    let (mail, seed) = (new_id(), [7_u8; 32]);
    sqlx::query("INSERT INTO account_mails (account_mail_id, account_id, kind, person_id, seed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, now(), now() + interval '1 hour')")
        .bind(mail)
        .bind(account)
        .bind(kind)
        .bind(person)
        .bind(&seed[..])
        .execute(&api.pool)
        .await
        .expect("a mail");
    let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &api.base);
    let head = if kind == "invitation" { "/welcome" } else { "/reset" };
    format!("{head}/{}", links.account_token(AccountMailId(mail), &seed))
}

/// Sends the form of a link's page with this password.
pub async fn send_form(api: &TestApi, link: &str, password: &str) -> Answer {
    let form = form_token(&api.anonymous(), link).await;
    let fields = [("form_token", form.as_str()), ("password", password), ("again", password)];
    api.anonymous().post_form(link, &fields).await
}

/// As an operator types it where Redis can be reached, so that no sweep has to find the job.
async fn invite(api: &TestApi, person: &str) -> Finished {
    run("pulsecal", &["user", "invite", "--person", person], api.env(), LIMIT).await
}

/// The path of the only link to such a page in a mail's text.
pub fn path_in(mail: &str, head: &str) -> String {
    // Long lines are broken with `=` at their ends.
    let text = mail.replace("=\r\n", "").replace("=\n", "");
    let rest = text.split(head).nth(1).unwrap_or_else(|| panic!("no link to {head} in {text}"));
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    format!("{head}{token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_invited_by_mail_signs_in_forgets_the_password_and_gets_in_again() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let smtp = RecordingSmtp::start();
    let mut env = api.env();
    env.extend([("SMTP_URL", smtp.url()), ("PUBLIC_URL", api.base.clone())]);
    let _worker = Process::spawn("pulsecal-worker", env);
    let doctor = clinic.doctor.to_string();
    let invited = invite(&api, &doctor).await;
    assert!(invited.status.success(), "{}", invited.stderr);
    let mail = smtp.wait_accepted(1, LIMIT).await[0].raw_text();
    assert!(mail.contains("Heart clinic a") && mail.contains("multipart/alternative"), "{mail}");
    let welcome = path_in(&mail, "/welcome/");
    // A second invitation makes the first one worthless.
    let again = invite(&api, &doctor).await;
    assert!(again.status.success(), "{}", again.stderr);
    let second = path_in(&smtp.wait_accepted(2, LIMIT).await[1].raw_text(), "/welcome/");
    let _lapsed = api.anonymous().get(&welcome).await.expect_status(410);

    let page = api.anonymous().get(&second).await.expect_status(200).text();
    assert!(page.contains("Heart clinic a") && page.contains("doctor-a@example.org"), "{page}");
    assert_eq!(
        api.count("SELECT count(*) FROM people WHERE account_id IS NOT NULL").await,
        0,
        "looking changes nothing"
    );
    for (password, why) in
        [("short", "too short"), ("iloveyou2", "tried first"), ("heartclinic doctor-a", "made of your name")]
    {
        let refused = send_form(&api, &second, password).await.expect_status(422);
        assert!(refused.text().contains(why), "{why}: {}", refused.text());
    }
    let _joined = send_form(&api, &second, PASSWORD).await.expect_status(200);
    let _used = api.anonymous().get(&second).await.expect_status(410);
    let before = enter(&api, "doctor-a@example.org").await;
    let refused = invite(&api, &doctor).await;
    assert!(!refused.status.success() && refused.stderr.contains("account already"), "{}", refused.stderr);

    let _asked = api.anonymous().post_form("/forgot", &[("email", "Doctor-A@example.org")]).await.expect_status(200);
    let reset = path_in(&smtp.wait_accepted(3, LIMIT).await[2].raw_text(), "/reset/");
    let _done = send_form(&api, &reset, NEW).await.expect_status(200);
    let notice = smtp.wait_accepted(4, LIMIT).await[3].raw_text();
    assert!(notice.contains("password was changed") && !notice.contains("/reset/"), "{notice}");
    let _ended = before.get("/staff/agenda").await.expect_status(303);
    let _old = try_password(&api, "doctor-a@example.org", PASSWORD).await.expect_status(401);
    let _new = try_password(&api, "doctor-a@example.org", NEW).await.expect_status(303);
    until(LIMIT, "all mails are on record as sent", async || {
        let sent = api
            .count("SELECT count(*) FROM messages WHERE kind = 'account_mail' AND state = 'sent' AND org_id IS NULL")
            .await;
        (sent == 4).then_some(())
    })
    .await;
    for secret in [&second["/welcome/".len()..], &reset["/reset/".len()..]] {
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE args::text LIKE '%' || $1 || '%'")
            .bind(secret)
            .fetch_one(&api.pool)
            .await
            .expect("counted");
        assert_eq!(kept, 0, "args hold ids only");
    }
    let actions: Vec<String> =
        sqlx::query_scalar("SELECT action FROM audit_entries WHERE actor_kind = 'account' ORDER BY at, id")
            .fetch_all(&api.pool)
            .await
            .expect("entries");
    assert_eq!(actions, ["password.set", "account.joined", "session.ended", "password.reset"]);
}

#[tokio::test]
async fn a_link_works_once_for_its_own_page_and_its_own_account() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let account = add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let other = add_account(&api.pool, "other@example.org", &[]).await;
    let reset = link_of(&api, account, "reset", None).await;
    let token = &reset["/reset/".len()..];
    let _elsewhere = api.anonymous().get(&format!("/welcome/{token}")).await.expect_status(404);
    let mut changed = token.to_owned();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.insert(0, last);
    for forged in ["x", "ÄÖ", &token[1..], changed.as_str()] {
        let _none = api.anonymous().get(&format!("/reset/{forged}")).await.expect_status(404);
    }
    // With the form's own token only, and only from here.
    for form in ["", "wrong"] {
        let fields = [("form_token", form), ("password", NEW), ("again", NEW)];
        let refused = api.anonymous().post_form(&reset, &fields).await.expect_status(422);
        assert!(refused.text().contains("Nothing was changed"));
    }
    let form = form_token(&api.anonymous(), &reset).await;
    let fields = [("form_token", form.as_str()), ("password", NEW), ("again", NEW)];
    for (header, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let _foreign = api.anonymous().with_header(header, value).post_form(&reset, &fields).await.expect_status(403);
    }
    let differ = [("form_token", form.as_str()), ("password", NEW), ("again", PASSWORD)];
    assert!(api.anonymous().post_form(&reset, &differ).await.expect_status(422).text().contains("differ"));
    let _unchanged = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(303);

    // Two at once: one of them sets it. Whatever else was asked for lapses with it.
    let spare = link_of(&api, account, "reset", None).await;
    let of_other = link_of(&api, other, "reset", None).await;
    sqlx::query("UPDATE accounts SET failed = 9, locked_until = now() + interval '10 minutes' WHERE account_id = $1")
        .bind(account)
        .execute(&api.pool)
        .await
        .expect("locked");
    let (one, two) = tokio::join!(send_form_at(&api, &reset, &form), send_form_at(&api, &reset, &form));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
    let _lapsed = api.anonymous().get(&spare).await.expect_status(410);
    let _others = api.anonymous().get(&of_other).await.expect_status(200);
    let _way_in = try_password(&api, "doctor@example.org", NEW).await.expect_status(303);

    sqlx::query("UPDATE account_mails SET expires_at = now() WHERE account_id = $1")
        .bind(other)
        .execute(&api.pool)
        .await
        .expect("later");
    let late = api.anonymous().get(&of_other).await.expect_status(410);
    assert!(late.text().contains("/forgot"), "{}", late.text());
}

async fn send_form_at(api: &TestApi, link: &str, form: &str) -> Answer {
    api.anonymous().post_form(link, &[("form_token", form), ("password", NEW), ("again", NEW)]).await
}

#[tokio::test]
async fn who_has_an_account_joins_another_clinic_and_keeps_the_password() {
    let api = TestApi::start().await;
    let (one, two) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    sqlx::query("UPDATE people SET email = 'doctor@example.org' WHERE role = 'doctor'")
        .execute(&api.pool)
        .await
        .expect("set");
    let account = add_account(&api.pool, "doctor@example.org", &[one.doctor]).await;
    let invited = api.operator(&["user", "invite", "--person", &two.doctor.to_string()]).await;
    assert!(invited.status.success(), "{}", invited.stderr);
    assert_eq!(api.count("SELECT count(*) FROM accounts").await, 1);
    let link = link_of(&api, account, "invitation", Some(two.doctor)).await;
    let stale = link_of(&api, account, "invitation", Some(two.patient)).await;
    let _not_their_address = api.anonymous().get(&stale).await.expect_status(410);
    let page = api.anonymous().get(&link).await.expect_status(200).text();
    assert!(page.contains("Your password stays as it is") && !page.contains("name=\"password\""), "{page}");
    // What is sent along does not set one.
    let _joined = send_form(&api, &link, NEW).await.expect_status(200);
    let _not = try_password(&api, "doctor@example.org", NEW).await.expect_status(401);
    let owner = enter(&api, "doctor@example.org").await;
    let page = owner.get("/account/memberships").await.expect_status(200).text();
    assert!(page.contains("Heart clinic a") && page.contains("Heart clinic b"), "{page}");
}
