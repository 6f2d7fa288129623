//! Signing in with an address and a password: what lets in, what does not, and what nobody learns from it.

use pulsecal_core::accounts::Passwords;
use pulsecal_core::config::Secret;
use pulsecal_core::ids::Ids;
use pulsecal_tests::http::{Answer, Http};
use sqlx::PgPool;
use uuid::Uuid;

use crate::sign_in::{browser, cookie_of, form_token};
use crate::support::{Clinic, SECRET_KEY, TestApi, add_person, new_id};

pub const PASSWORD: &str = "seven lamps on a blue bridge";
const WRONG: &str = "E-mail address and password do not match.";

/// An account of these people, with [`PASSWORD`].
pub async fn add_account(pool: &PgPool, email: &str, people: &[Uuid]) -> Uuid {
    let passwords = Passwords::new(&Secret::new(SECRET_KEY.as_bytes().to_vec()));
    let hash = passwords.hash(Ids, PASSWORD).await.expect("hashed");
    let account = new_id();
    sqlx::query("INSERT INTO accounts (account_id, email, password_hash, verified_at, created_at, updated_at) VALUES ($1, $2, $3, now(), now(), now())")
        .bind(account)
        .bind(email)
        .bind(hash)
        .execute(pool)
        .await
        .expect("an account");
    sqlx::query("UPDATE people SET account_id = $1 WHERE person_id = ANY ($2)")
        .bind(account)
        .bind(people)
        .execute(pool)
        .await
        .expect("its people");
    account
}

pub async fn try_password(api: &TestApi, email: &str, password: &str) -> Answer {
    api.anonymous().post_form("/sign-in", &[("email", email), ("password", password), ("next", "")]).await
}

/// A browser that has signed in with [`PASSWORD`].
pub async fn enter(api: &TestApi, email: &str) -> Http {
    let entered = try_password(api, email, PASSWORD).await.expect_status(303);
    api.anonymous().with_header("cookie", &cookie_of(&entered))
}

/// How often this action is on record.
pub async fn noted(api: &TestApi, action: &str, outcome: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit_entries WHERE action = $1 AND outcome = $2")
        .bind(action)
        .bind(outcome)
        .fetch_one(&api.pool)
        .await
        .expect("counted")
}

#[tokio::test]
async fn a_password_lets_in_with_the_rights_of_the_role_until_the_person_is_no_longer_active() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let account = add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    // However the address is written; the password is taken as it is.
    let entered = try_password(&api, " Doctor@Example.ORG ", PASSWORD).await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/staff"));
    let signed_in = api.anonymous().with_header("cookie", &cookie_of(&entered));
    let page = signed_in.get("/staff/agenda").await.expect_status(200).text();
    assert!(page.contains("Doctor-a") && page.contains("/account"), "{page}");
    let _may = signed_in.get("/staff/exports").await.expect_status(200);
    let _may_not = signed_in.get("/ops").await.expect_status(403);
    let from: (Option<Uuid>, Option<Uuid>, String) =
        sqlx::query_as("SELECT account_id, token_id, begun_from FROM sessions")
            .fetch_one(&api.pool)
            .await
            .expect("one");
    assert_eq!(from, (Some(account), None, "127.0.0.1".to_owned()));
    let entry: (Uuid, String) =
        sqlx::query_as("SELECT actor_id, detail->>'account' FROM audit_entries WHERE action = 'session.begun'")
            .fetch_one(&api.pool)
            .await
            .expect("an entry");
    assert_eq!(entry, (clinic.doctor, account.to_string()));

    for away in [
        "UPDATE people SET active = false WHERE role = 'doctor'",
        "UPDATE people SET account_id = NULL WHERE role = 'doctor'",
    ] {
        sqlx::query(away).execute(&api.pool).await.expect("away");
        let _out = signed_in.get("/staff/agenda").await.expect_status(303);
        let lobby = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(303);
        assert_eq!(lobby.header("location"), Some("/lobby"));
        let waiting = api.anonymous().with_header("cookie", &cookie_of(&lobby));
        let page = waiting.get("/lobby").await.expect_status(200).text();
        assert!(page.contains("belongs to none") && !page.contains("Doctor-a"));
        for closed in ["/staff/agenda", "/account", "/p"] {
            let _nothing_else = waiting.get(closed).await.expect_status(303);
        }
        sqlx::query("UPDATE people SET active = true, account_id = $1 WHERE role = 'doctor'")
            .bind(account)
            .execute(&api.pool)
            .await
            .expect("back");
        let _in = signed_in.get("/staff/agenda").await.expect_status(200);
    }
}

#[tokio::test]
async fn nobody_learns_whether_an_address_has_an_account() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let checked = async |of: &str| {
        let metrics = api.anonymous().get("/metrics").await.text();
        let head = format!("account_passwords_checked_total{{of=\"{of}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&head)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let known = try_password(&api, "doctor@example.org", "not the one").await.expect_status(401);
    assert_eq!((checked("account").await, checked("nobody").await), (1, 0));
    for (tries, unknown) in (1..).zip(["nobody@example.org", "no address", ""]) {
        let answer = try_password(&api, unknown, "not the one").await.expect_status(401);
        assert!(answer.text().contains(WRONG));
        assert_eq!(answer.text(), known.text(), "the same words");
        assert_eq!(checked("nobody").await, tries, "a password is checked all the same, which takes the same time");
    }
    assert_eq!(noted(&api, "session.refused", "failed").await, 4);

    let asked = api.anonymous().post_form("/forgot", &[("email", "doctor@example.org")]).await.expect_status(200);
    let other = api.anonymous().post_form("/forgot", &[("email", "nobody@example.org")]).await.expect_status(200);
    assert_eq!(asked.text(), other.text());
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'account_mail'").await, 1);
    assert_eq!(
        (noted(&api, "account.reset_asked", "success").await, noted(&api, "account.reset_asked", "failed").await),
        (1, 1)
    );
    for _ in 0..5 {
        let again = api.anonymous().post_form("/forgot", &[("email", "doctor@example.org")]).await.expect_status(200);
        assert_eq!(again.text(), asked.text());
    }
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'account_mail'").await, 3, "nobody's inbox is filled");
}

#[tokio::test]
async fn wrong_passwords_make_the_next_try_wait_and_the_owner_has_ways_in() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let account = add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let before = enter(&api, "doctor@example.org").await;
    for _ in 0..5 {
        let wrong = try_password(&api, "doctor@example.org", "not the one").await.expect_status(401);
        assert!(wrong.text().contains(WRONG));
    }
    let locked = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(401);
    assert!(locked.text().contains(WRONG), "a right one is not even tried, and nothing tells");
    let failed: i32 = sqlx::query_scalar("SELECT failed FROM accounts").fetch_one(&api.pool).await.expect("a count");
    assert_eq!(failed, 5, "what is not tried does not count");
    assert_eq!(noted(&api, "account.locked", "success").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'locked'").await, 1);

    // Whoever is signed in stays so, and may change the password.
    let form = form_token(&before, "/account").await;
    let fields = [
        ("form_token", form.as_str()),
        ("old", PASSWORD),
        ("password", "nine ships under a green moon"),
        ("again", "nine ships under a green moon"),
    ];
    let _changed = before.post_form("/account/password", &fields).await.expect_status(303);
    let _in = try_password(&api, "doctor@example.org", "nine ships under a green moon").await.expect_status(303);

    // After the wait the right one is good again; wrong ones wait longer each time.
    sqlx::query("UPDATE accounts SET failed = 7, locked_until = now() - interval '1 second'")
        .execute(&api.pool)
        .await
        .expect("later");
    let _wrong = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(401);
    let wait: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM locked_until - now())::float8 FROM accounts WHERE account_id = $1",
    )
    .bind(account)
    .fetch_one(&api.pool)
    .await
    .expect("a wait");
    assert!((200.0..=240.0).contains(&wait), "{wait}");
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'locked'").await, 1, "told once a day");
    sqlx::query("UPDATE accounts SET locked_until = now()").execute(&api.pool).await.expect("later");
    let _in = try_password(&api, "doctor@example.org", "nine ships under a green moon").await.expect_status(303);
    assert_eq!(api.count("SELECT count(*) FROM accounts WHERE failed = 0 AND locked_until IS NULL").await, 1);
}

#[tokio::test]
async fn an_address_is_tried_so_often_only_known_or_not() {
    let api = TestApi::start().await;
    for i in 0..11 {
        let elsewhere = api.anonymous().with_header("x-forwarded-for", &format!("203.0.113.{i}"));
        let answer =
            elsewhere.post_form("/sign-in", &[("email", "nobody@example.org"), ("password", "not the one")]).await;
        assert_eq!(answer.status, if i < 10 { 401 } else { 429 });
        assert_eq!(answer.header("retry-after").is_some(), i == 10);
    }
}

#[tokio::test]
async fn what_was_hashed_with_less_is_hashed_anew() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let _in = enter(&api, "doctor@example.org").await;
    let kept = async || -> String {
        sqlx::query_scalar("SELECT password_hash FROM accounts").fetch_one(&api.pool).await.expect("one")
    };
    let first = kept().await;
    assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let weak = Passwords::new(&Secret::new(SECRET_KEY.as_bytes().to_vec())).weak_hash(PASSWORD);
    sqlx::query("UPDATE accounts SET password_hash = $1").bind(&weak).execute(&api.pool).await.expect("set");
    let _in = enter(&api, "doctor@example.org").await;
    let renewed = kept().await;
    assert!(renewed != weak && renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    let _in = enter(&api, "doctor@example.org").await;
}

#[tokio::test]
async fn nothing_but_address_and_password_is_asked_for_and_an_old_password_is_as_good() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    for (page, fields) in [
        ("/sign-in", ["email", "password", "token", "next", "form_token"].as_slice()),
        ("/forgot", ["email", "form_token"].as_slice()),
        ("/sign-up", ["given_name", "family_name", "email", "password", "again", "form_token"].as_slice()),
    ] {
        let text = api.anonymous().get(page).await.expect_status(200).text();
        let asked: Vec<_> = text.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(asked.contains(&"email"), "{page}: {asked:?}");
        for field in asked {
            assert!(
                fields.contains(&field) || ["viewport", "color-scheme", "robots"].contains(&field),
                "{page}: {field}"
            );
        }
    }
    sqlx::query("UPDATE accounts SET password_changed_at = now() - interval '9 years', created_at = now() - interval '10 years'")
        .execute(&api.pool)
        .await
        .expect("an old one");
    let entered = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/staff"), "it does not ask for another one");
}

#[tokio::test]
async fn an_account_of_several_people_asks_which_and_changes_between_them() {
    let api = TestApi::start().await;
    let (one, two, three) =
        (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await, Clinic::add(&api.pool, 'c').await);
    let former = new_id();
    add_person(&api.pool, three.org, former, "nurse", "Former").await;
    sqlx::query("UPDATE people SET active = false WHERE person_id = $1")
        .bind(former)
        .execute(&api.pool)
        .await
        .expect("left");
    add_account(&api.pool, "doctor@example.org", &[one.doctor, two.doctor, three.patient, former]).await;
    add_account(&api.pool, "other@example.org", &[three.doctor]).await;

    let entered = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/account/memberships?next="));
    let first = api.anonymous().with_header("cookie", &cookie_of(&entered));
    let page = first.get("/account/memberships?next=/staff/exports").await.expect_status(200).text();
    for place in ["Heart clinic a, as doctor", "Heart clinic b, as doctor", "Heart clinic c, as patient"] {
        assert!(page.contains(place), "{place}: {page}");
    }
    assert!(!page.contains("as nurse"), "who left is nobody there");

    let form = form_token(&first, "/account/memberships").await;
    for foreign in [three.doctor, former, new_id()] {
        let fields = [("form_token", form.as_str()), ("person", &foreign.to_string())];
        let _none = first.post_form("/account/memberships", &fields).await.expect_status(404);
    }
    let _foreign =
        first.post_form("/account/memberships", &[("person", &two.doctor.to_string())]).await.expect_status(403);
    let fields = [("form_token", form.as_str()), ("person", &two.doctor.to_string()), ("next", "/staff/exports")];
    let switched = first.post_form("/account/memberships", &fields).await.expect_status(303);
    assert_eq!(switched.header("location"), Some("/staff/exports"));
    let second = api.anonymous().with_header("cookie", &cookie_of(&switched));
    assert!(second.get("/staff/agenda").await.expect_status(200).text().contains("Heart clinic b"));
    let _old = first.get("/staff/agenda").await.expect_status(303);

    // A patient has an account, and no page of staff.
    let form = form_token(&second, "/account/memberships").await;
    let fields = [("form_token", form.as_str()), ("person", &three.patient.to_string())];
    let switched = second.post_form("/account/memberships", &fields).await.expect_status(303);
    assert_eq!(switched.header("location"), Some("/p"));
    let patient = api.anonymous().with_header("cookie", &cookie_of(&switched));
    let page = patient.get("/account").await.expect_status(200).text();
    assert!(!page.contains("/staff"), "{page}");
    for path in ["/staff", "/staff/exports", "/ops"] {
        let _not = patient.get(path).await.expect_status(403);
    }
    // The one that was used last is where signing in begins.
    let again = enter(&api, "doctor@example.org").await;
    assert!(again.get("/account").await.expect_status(200).text().contains("Heart clinic c"));
    let form = form_token(&again, "/account").await;
    let _left = again.post_form("/sign-out", &[("form_token", &form)]).await.expect_status(303);
    let _gone = again.get("/account").await.expect_status(303);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_and_another_password_ends_them_all() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let stranger = new_id();
    add_person(&api.pool, clinic.org, stranger, "nurse", "Stranger").await;
    add_account(&api.pool, "stranger@example.org", &[stranger]).await;
    let other = enter(&api, "stranger@example.org").await;
    let token = browser(&api, &clinic.token).await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let phone = api.anonymous().with_header("user-agent", agent).with_header("x-forwarded-for", "198.51.100.7");
    let entered = phone.post_form("/sign-in", &[("email", "doctor@example.org"), ("password", PASSWORD)]).await;
    let phone = api.anonymous().with_header("cookie", &cookie_of(&entered.expect_status(303)));
    let (mine, third) = (enter(&api, "doctor@example.org").await, enter(&api, "doctor@example.org").await);
    let page = mine.get("/account").await.expect_status(200).text();
    assert!(page.contains("Firefox on Linux") && page.contains("198.51.100.7"), "{page}");
    assert_eq!(page.matches("name=\"session\"").count(), 3, "two others, and all of them at once");
    let _not_for_tokens = token.get("/account").await.expect_status(403);

    let form = form_token(&mine, "/account").await;
    let end =
        async |which: &str| mine.post_form("/account/sessions", &[("form_token", &form), ("session", which)]).await;
    let foreign: Uuid = sqlx::query_scalar("SELECT session_id FROM sessions WHERE person_id = $1")
        .bind(stranger)
        .fetch_one(&api.pool)
        .await
        .expect("one");
    let of_phone: Uuid = sqlx::query_scalar("SELECT session_id FROM sessions WHERE begun_from = '198.51.100.7'")
        .fetch_one(&api.pool)
        .await
        .expect("one");
    let _nothing = end(&foreign.to_string()).await.expect_status(303);
    let _still = other.get("/staff/agenda").await.expect_status(200);
    let _one = end(&of_phone.to_string()).await.expect_status(303);
    let _gone = phone.get("/staff/agenda").await.expect_status(303);
    let _still = third.get("/staff/agenda").await.expect_status(200);
    let _others = end("others").await.expect_status(303);
    let _gone = third.get("/staff/agenda").await.expect_status(303);

    let last = enter(&api, "doctor@example.org").await;
    let change = async |old: &str, new: &str, again: &str, form: &str| {
        mine.post_form("/account/password", &[("form_token", form), ("old", old), ("password", new), ("again", again)])
            .await
    };
    let good = "nine ships under a green moon";
    let _foreign = change(PASSWORD, good, good, "wrong").await.expect_status(403);
    for (old, new, again, why) in [
        ("not the one", good, good, "is not right"),
        (PASSWORD, good, "nine ships", "differ"),
        (PASSWORD, "short", "short", "too short"),
        (PASSWORD, "Password123", "Password123", "tried first"),
        (PASSWORD, "Ann Doctor-a", "Ann Doctor-a", "made of your name"),
    ] {
        let refused = change(old, new, again, &form).await.expect_status(422);
        assert!(refused.text().contains(why), "{why}: {}", refused.text());
    }
    assert_eq!(noted(&api, "password.refused", "failed").await, 1);
    let changed = change(PASSWORD, good, good, &form).await.expect_status(303);
    let rotated = api.anonymous().with_header("cookie", &cookie_of(&changed));
    assert!(rotated.get("/account?done=password").await.expect_status(200).text().contains("is changed"));
    for ended in [&mine, &last] {
        let _gone = ended.get("/account").await.expect_status(303);
    }
    let _tokens_stay = token.get("/staff/agenda").await.expect_status(200);
    let _others_stay = other.get("/staff/agenda").await.expect_status(200);
    let _old = try_password(&api, "doctor@example.org", PASSWORD).await.expect_status(401);
    let _new = try_password(&api, "doctor@example.org", good).await.expect_status(303);
    assert_eq!(noted(&api, "password.changed", "success").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'password_changed'").await, 1);
}

#[tokio::test]
async fn within_an_organization_nothing_is_seen_of_accounts() {
    let api = TestApi::start().await;
    for table in [
        "accounts",
        "account_mails",
        "account_factors",
        "account_recovery_codes",
        "half_sessions",
        "account_identities",
        "sign_ups",
        "lobby_sessions",
    ] {
        let may: bool = sqlx::query_scalar("SELECT has_any_column_privilege('pulsecal_app', $1, 'SELECT, INSERT, UPDATE') OR has_table_privilege('pulsecal_app', $1, 'DELETE')")
            .bind(table)
            .fetch_one(&api.pool)
            .await
            .expect("the catalogue reads");
        assert!(!may, "{table}");
    }
    let clinic = Clinic::add(&api.pool, 'a').await;
    let other = Clinic::add(&api.pool, 'b').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor, other.doctor]).await;
    let _in = enter(&api, "doctor@example.org").await;
    let mut tx = api.pool.begin().await.expect("begins");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET LOCAL ROLE pulsecal_app; SET LOCAL app.orgs = '{}'", other.org)))
        .execute(&mut *tx)
        .await
        .expect("sets");
    let seen: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM people WHERE account_id IS NOT NULL)",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("reads");
    assert_eq!(seen, (0, 1), "of the same account, only what is this organization's");
}
