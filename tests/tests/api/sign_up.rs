//! Signing up: nobody is told who has an account, and nobody gets one without the address being theirs.

use pulsecal_core::config::Secret;
use pulsecal_core::ids::AccountMailId;
use pulsecal_core::links::Links;
use pulsecal_tests::http::{Answer, Http};
use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;
use uuid::Uuid;

use crate::account_links::{link_of, path_in, send_form};
use crate::accounts::{PASSWORD, add_account, enter, noted, try_password};
use crate::sign_in::{cookie_of, form_token};
use crate::support::{Clinic, LIMIT, SECRET_KEY, TestApi};

const NEW: &str = "new@example.org";

/// Sends the form of `/sign-up`, with [`PASSWORD`].
pub async fn ask_for(api: &TestApi, email: &str, given: &str) -> Answer {
    ask_with(api, email, given, PASSWORD).await
}

async fn ask_with(api: &TestApi, email: &str, given: &str, password: &str) -> Answer {
    let fields = [
        ("given_name", given),
        ("family_name", "Okafor"),
        ("email", email),
        ("password", password),
        ("again", password),
    ];
    api.anonymous().post_form("/sign-up", &fields).await
}

/// Signs up, and gives the path of the link that is mailed.
pub async fn asked_link(api: &TestApi, email: &str, given: &str) -> String {
    let _asked = ask_for(api, email, given).await.expect_status(200);
    newest_link(api, email).await
}

async fn newest_link(api: &TestApi, email: &str) -> String {
    let of = "SELECT account_mail_id, seed FROM account_mails JOIN accounts USING (account_id) WHERE email = $1 AND kind = 'verify' ORDER BY account_mail_id DESC LIMIT 1";
    let (mail, seed): (Uuid, Vec<u8>) =
        sqlx::query_as(of).bind(email).fetch_one(&api.pool).await.expect("a mail to confirm");
    let links = Links::new(Secret::new(SECRET_KEY.as_bytes().to_vec()), &api.base);
    format!("/sign-up/{}", links.account_token(AccountMailId(mail), &seed))
}

/// Sends the form of a link's page, with [`PASSWORD`].
pub async fn confirm(api: &TestApi, link: &str) -> Answer {
    confirm_with(api, link, PASSWORD).await
}

async fn confirm_with(api: &TestApi, link: &str, password: &str) -> Answer {
    let form = form_token(&api.anonymous(), link).await;
    api.anonymous().post_form(link, &[("form_token", &form), ("password", password)]).await
}

/// Signs out of the lobby.
pub async fn leave_lobby(waiting: &Http) -> Answer {
    let form = form_token(waiting, "/lobby").await;
    waiting.post_form("/lobby/leave", &[("form_token", &form)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_up_by_mail_and_waits_in_the_lobby_until_a_clinic_invites_them() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let smtp = RecordingSmtp::start();
    let mut env = api.env();
    env.extend([("SMTP_URL", smtp.url()), ("PUBLIC_URL", api.base.clone())]);
    let _worker = Process::spawn("pulsecal-worker", env);
    let asked = ask_for(&api, " New@Example.org ", "Ada").await.expect_status(200).text();
    assert!(asked.contains("Look into your inbox") && !asked.contains("example.org"));
    let _not_yet = try_password(&api, NEW, PASSWORD).await.expect_status(401);
    let link = path_in(&smtp.wait_accepted(1, LIMIT).await[0].raw_text(), "/sign-up/");
    let page = api.anonymous().get(&link).await.expect_status(200).text();
    assert!(page.contains("Ada Okafor signed up with new@example.org"), "{page}");
    let _looking_changes_nothing = try_password(&api, NEW, PASSWORD).await.expect_status(401);
    for wrong in ["", "wrong"] {
        let refused = api.anonymous().post_form(&link, &[("form_token", wrong)]).await.expect_status(422);
        assert!(refused.text().contains("Nothing was changed"));
    }
    let form = form_token(&api.anonymous(), &link).await;
    let fields = [("form_token", form.as_str()), ("password", PASSWORD)];
    let http = api.anonymous();
    let (one, two) = tokio::join!(http.post_form(&link, &fields), http.post_form(&link, &fields));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410], "once");
    assert_eq!(noted(&api, "account.signed_up", "success").await, 1);

    let entered = try_password(&api, NEW, PASSWORD).await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/lobby"));
    let waiting = api.anonymous().with_header("cookie", &cookie_of(&entered));
    assert!(waiting.get("/lobby").await.expect_status(200).text().contains(NEW));
    let forged = waiting.post_form("/lobby/leave", &[("form_token", "x")]).await;
    assert_eq!(forged.status, 403);
    let _out = leave_lobby(&waiting).await.expect_status(303);
    let over = waiting.get("/lobby").await.expect_status(303);
    assert_eq!(over.header("location"), Some("/sign-in"));

    // An invitation that comes afterwards keeps the password.
    let waiting = enter(&api, NEW).await;
    sqlx::query("UPDATE people SET email = $1 WHERE person_id = $2")
        .bind(NEW)
        .bind(clinic.doctor)
        .execute(&api.pool)
        .await
        .expect("their address");
    let account: Uuid = sqlx::query_scalar("SELECT account_id FROM accounts").fetch_one(&api.pool).await.expect("one");
    let invitation = link_of(&api, account, "invitation", Some(clinic.doctor)).await;
    let _joined = send_form(&api, &invitation, "").await.expect_status(200);
    let let_in = waiting.get("/lobby").await.expect_status(200).text();
    assert!(let_in.contains("You are let in") && let_in.contains("Heart clinic a"), "{let_in}");
    let _doctor = enter(&api, NEW).await.get("/staff/agenda").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_address_is_told_by_mail_only_and_each_link_confirms_its_own_password() {
    let api = TestApi::start().await;
    add_account(&api.pool, "known@example.org", &[]).await;
    let known = ask_with(&api, "known@example.org", "Eve", "three owls over nine rivers").await.expect_status(200);
    let unknown = ask_for(&api, NEW, "Ada").await.expect_status(200);
    assert_eq!(known.text(), unknown.text());
    let mails: Vec<String> = sqlx::query_scalar("SELECT kind FROM account_mails ORDER BY account_mail_id")
        .fetch_all(&api.pool)
        .await
        .expect("mails");
    assert_eq!(mails, ["sign_up_known", "verify"]);
    let _as_it_was = enter(&api, "known@example.org").await;
    let _not_theirs = try_password(&api, "known@example.org", "three owls over nine rivers").await.expect_status(401);

    // Somebody else signs up with the same address: what its owner confirms is what they chose themselves.
    let mine = newest_link(&api, NEW).await;
    let _asked = ask_with(&api, NEW, "Eve", "three owls over nine rivers").await.expect_status(200);
    let theirs = newest_link(&api, NEW).await;
    assert!(api.anonymous().get(&theirs).await.expect_status(200).text().contains("Eve Okafor"));
    let not_mine = confirm(&api, &theirs).await.expect_status(422);
    assert!(not_mine.text().contains("not the password that was chosen"), "{}", not_mine.text());
    assert_eq!(noted(&api, "account.sign_up_refused", "failed").await, 1);
    let _done = confirm(&api, &mine).await.expect_status(200);
    let _lapsed = api.anonymous().get(&theirs).await.expect_status(410);
    let _mine = enter(&api, NEW).await;
    let _never = try_password(&api, NEW, "three owls over nine rivers").await.expect_status(401);
    assert_eq!(api.count("SELECT count(*) FROM sign_ups").await, 0);

    // All that is wrong at once; nothing of it is kept.
    let before = api.count("SELECT count(*) FROM accounts").await;
    let page = ask_with(&api, "nobody", "", "short").await.expect_status(422).text();
    for why in ["given name", "e-mail address that mail can be sent to", "too short"] {
        assert!(page.contains(why), "{why}: {page}");
    }
    assert!(!page.contains("value=\"short\""));
    let guessed = ask_with(&api, "else@example.org", "Ada", "okaforokafor").await.expect_status(422).text();
    assert!(guessed.contains("made of your name"), "{guessed}");
    assert_eq!(api.count("SELECT count(*) FROM accounts").await, before);
    let foreign = api.anonymous().with_header("origin", "https://evil.example");
    let _foreign = foreign.post_form("/sign-up", &[("email", NEW)]).await.expect_status(403);

    // Nobody's inbox is filled by others, and that is not told either.
    for _ in 0..4 {
        let _same = ask_for(&api, "flood@example.org", "Ada").await.expect_status(200);
    }
    let flood = "SELECT count(*) FROM account_mails JOIN accounts USING (account_id) WHERE email = 'flood@example.org'";
    assert_eq!(api.count(flood).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_proves_is_forgotten() {
    let api = TestApi::start().await;
    add_account(&api.pool, "kept@example.org", &[]).await;
    let late = asked_link(&api, "late@example.org", "Ada").await;
    let _new = ask_for(&api, NEW, "Ada").await.expect_status(200);
    sqlx::query("UPDATE account_mails SET expires_at = now() WHERE account_id = (SELECT account_id FROM accounts WHERE email = 'late@example.org')")
        .execute(&api.pool)
        .await
        .expect("a day later");
    let _over = api.anonymous().get(&late).await.expect_status(410);
    sqlx::query("UPDATE accounts SET created_at = now() - interval '8 days'").execute(&api.pool).await.expect("older");
    // Twice, as any job may run.
    sqlx::query("INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, enqueued_at) SELECT gen_random_uuid(), 'forget_answers', 'maintenance', '{}', now(), 5, now() FROM generate_series(1, 2)")
        .execute(&api.pool).await.expect("jobs");
    let _scheduler = Process::spawn("pulsecal-scheduler", api.env());
    let _worker = Process::spawn("pulsecal-worker", api.env());
    until(LIMIT, "both ran", async || {
        let done = "SELECT count(*) FROM job_history WHERE kind = 'forget_answers' AND state = 'done'";
        (api.count(done).await >= 2).then_some(())
    })
    .await;
    until(LIMIT, "what lapsed is gone", async || (api.count("SELECT count(*) FROM accounts").await == 2).then_some(()))
        .await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT email FROM accounts ORDER BY email").fetch_all(&api.pool).await.expect("accounts");
    assert_eq!(left, ["kept@example.org", NEW]);
    assert_eq!(api.count("SELECT count(*) FROM sign_ups").await, 1);
    let _still = confirm(&api, &newest_link(&api, NEW).await).await.expect_status(200);
}
