//! Codes beside the password: set up, asked for at sign-in, lost and switched off. The codes are made by Python's library, which knows
//! nothing of ours.

use std::process::Command;

use pulsecal_tests::http::{Answer, Http};
use serde_json::json;
use uuid::Uuid;

use crate::accounts::{PASSWORD, add_account, enter, noted, try_password};
use crate::sign_in::{cookie_of, form_token};
use crate::support::{Clinic, TestApi, new_id};

const PAGE: &str = "/account/second-factor";
const EMAIL: &str = "doctor@example.org";

/// The code of this key, so many steps from now (RFC 6238).
pub fn code(key: &str, steps: i64) -> String {
    let script = "
import base64, hashlib, hmac, struct, sys, time
key = base64.b32decode(sys.argv[1].replace(' ', ''))
digest = hmac.new(key, struct.pack('>q', int(time.time()) // 30 + int(sys.argv[2])), hashlib.sha1).digest()
at = digest[-1] & 15
print('%06d' % ((struct.unpack('>I', digest[at:at + 4])[0] & 0x7fffffff) % 1000000))
";
    let done =
        Command::new("python3").args(["-c", script, key, &steps.to_string()]).output().expect("python3 is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("digits").trim().to_owned()
}

fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let found = page.split(before).nth(1).and_then(|rest| rest.split(after).next());
    found.unwrap_or_else(|| panic!("no {before} in {page}"))
}

fn codes_of(page: &str) -> Vec<String> {
    page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().expect("a code").to_owned()).collect()
}

async fn send(browser: &Http, path: &str, field: (&str, &str)) -> Answer {
    let form = form_token(browser, PAGE).await;
    browser.post_form(path, &[("form_token", &form), field]).await
}

/// Switches codes on, and gives the key and the recovery codes.
pub async fn switch_on(browser: &Http) -> (String, Vec<String>) {
    let _begun = send(browser, PAGE, ("password", PASSWORD)).await.expect_status(303);
    let page = browser.get(PAGE).await.expect_status(200).text();
    let key = between(&page, "<code id=\"key\">", "<").to_owned();
    let shown = send(browser, &format!("{PAGE}/confirm"), ("code", &code(&key, 0))).await.expect_status(200);
    (key, codes_of(&shown.text()))
}

/// A browser that has entered the password, and waits for the code; each at an address of its own, of which only so many tries are taken.
pub async fn half(api: &TestApi, email: &str) -> Http {
    let address = format!("203.0.113.{}", new_id().as_bytes()[15]);
    let browser = api.anonymous().with_header("x-forwarded-for", &address);
    let answer = browser.post_form("/sign-in", &[("email", email), ("password", PASSWORD), ("next", "")]).await;
    let cookie = cookie_of(&answer.expect_status(303));
    assert!(cookie.starts_with("pulsecal-half="), "{cookie}");
    browser.with_header("cookie", &cookie)
}

pub async fn send_code(browser: &Http, code: &str) -> Answer {
    let form = form_token(browser, "/sign-in/code").await;
    browser.post_form("/sign-in/code", &[("form_token", &form), ("code", code), ("next", "/staff/exports")]).await
}

async fn doctor(api: &TestApi) -> (Clinic, Uuid, Http) {
    let clinic = Clinic::add(&api.pool, 'a').await;
    let account = add_account(&api.pool, EMAIL, &[clinic.doctor]).await;
    let browser = enter(api, EMAIL).await;
    (clinic, account, browser)
}

async fn run_sql(api: &TestApi, sql: &'static str) {
    sqlx::query(sql).execute(&api.pool).await.expect("runs");
}

/// As if so many half minutes had gone by.
async fn later(api: &TestApi) {
    run_sql(api, "UPDATE account_factors SET last_step = last_step - 10").await;
}

#[tokio::test]
async fn codes_are_switched_on_by_a_code_asked_for_at_sign_in_and_taken_once() {
    let api = TestApi::start().await;
    let (_, account, mine) = doctor(&api).await;
    let off = mine.get(PAGE).await.expect_status(200);
    assert!(off.text().contains("Begin"));
    let policy = off.header("content-security-policy").expect("a policy");
    assert!(!policy.contains("unsafe-inline"), "{policy}");

    // It takes the password, and a code of the key that is shown.
    let wrong = send(&mine, PAGE, ("password", "not the one")).await.expect_status(422);
    assert!(wrong.text().contains("not right"));
    let none = send(&mine, &format!("{PAGE}/confirm"), ("code", "123456")).await.expect_status(422);
    assert!(none.text().contains("took too long"));
    let _begun = send(&mine, PAGE, ("password", PASSWORD)).await.expect_status(303);
    let page = mine.get(PAGE).await.expect_status(200).text();
    let key = between(&page, "<code id=\"key\">", "<").to_owned();
    assert_eq!(key.replace(' ', "").len(), 32);
    let picture = between(&page, "<svg", "</svg>");
    assert!(
        picture.contains("role=\"img\"") && picture.matches("h1v1h-1z").count() > 300 && !picture.contains("style")
    );
    let _not_yet = enter(&api, EMAIL).await;
    let wrong = send(&mine, &format!("{PAGE}/confirm"), ("code", "000000")).await.expect_status(422);
    assert!(wrong.text().contains("clock of your phone"));
    let first = code(&key, 0);
    let shown = send(&mine, &format!("{PAGE}/confirm"), ("code", &format!("{} {}", &first[..3], &first[3..]))).await;
    let recovery = codes_of(&shown.expect_status(200).text());
    assert_eq!(recovery.len(), 10);
    assert!(mine.get(PAGE).await.expect_status(200).text().contains("<strong>10</strong> of your recovery codes"));
    assert_eq!(noted(&api, "second_factor.on", "success").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'second_factor_on'").await, 1);

    // Neither key nor codes are in the database or in the logs.
    let raw: Vec<u8> =
        sqlx::query_scalar("SELECT sealed_key FROM account_factors").fetch_one(&api.pool).await.expect("one");
    assert!(raw.starts_with(b"age-encryption.org/v1"));
    let rows: String = sqlx::query_scalar(
        "SELECT (SELECT string_agg(c::text, ' ') FROM account_recovery_codes c) || (SELECT string_agg(e::text, ' ') FROM audit_entries e)",
    )
    .fetch_one(&api.pool)
    .await
    .expect("rows");
    let logged = api.process.lines().join("\n");
    for secret in recovery.iter().chain([&key, &key.replace(' ', "")]) {
        assert!(!rows.contains(secret.as_str()) && !logged.contains(secret.as_str()));
    }

    // The password alone opens nothing now.
    let asked = try_password(&api, EMAIL, PASSWORD).await.expect_status(303);
    assert_eq!(asked.header("location"), Some("/sign-in/code?next="));
    let waiting = half(&api, EMAIL).await;
    for page in ["/staff", "/account"] {
        let _not = waiting.get(page).await.expect_status(303);
    }
    let again = send_code(&waiting, &first).await.expect_status(401);
    assert!(again.text().contains("used before"), "the code that confirmed it");
    let foreign = waiting.post_form("/sign-in/code", &[("code", &code(&key, 1))]).await.expect_status(422);
    assert!(foreign.header("set-cookie").is_none(), "not a form of ours");
    let entered = send_code(&waiting, &code(&key, 1)).await.expect_status(303);
    assert_eq!(entered.header("location"), Some("/staff/exports"));
    let signed_in = api.anonymous().with_header("cookie", &cookie_of(&entered));
    let _in = signed_in.get("/staff/agenda").await.expect_status(200);
    let _over = waiting.get("/sign-in/code").await.expect_status(303);
    let replayed = send_code(&half(&api, EMAIL).await, &code(&key, 1)).await.expect_status(401);
    assert!(replayed.header("set-cookie").is_none());
    later(&api).await;
    let _in = send_code(&half(&api, EMAIL).await, &code(&key, 0)).await.expect_status(303);
    let by: String = sqlx::query_scalar("SELECT actor_kind FROM audit_entries WHERE action = 'second_factor.asked' AND actor_id = $1 AND subject_id = $1 LIMIT 1")
        .bind(account)
        .fetch_one(&api.pool)
        .await
        .expect("an entry");
    assert_eq!(by, "account");
}

#[tokio::test]
async fn wrong_codes_make_codes_wait_and_another_password_does_not_forget_them() {
    let api = TestApi::start().await;
    let (_, _, mine) = doctor(&api).await;
    let (key, recovery) = switch_on(&mine).await;
    later(&api).await;
    let waiting = half(&api, EMAIL).await;
    for _ in 0..4 {
        let _wrong = send_code(&waiting, "000000").await.expect_status(401);
    }
    let over = send_code(&waiting, "000000").await.expect_status(303);
    assert_eq!(over.header("location"), Some("/sign-in?next=%2Fstaff%2Fexports"), "the password is asked for again");
    assert_eq!(noted(&api, "second_factor.refused", "failed").await, 5);
    assert_eq!(noted(&api, "second_factor.locked", "success").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'codes_locked'").await, 1);
    run_sql(&api, "UPDATE accounts SET password_changed_at = now(), failed = 0, locked_until = NULL").await;
    let waiting = half(&api, EMAIL).await;
    let _not_tried = send_code(&waiting, &code(&key, 0)).await.expect_status(401);
    let failed: i32 = sqlx::query_scalar("SELECT failed FROM account_factors").fetch_one(&api.pool).await.expect("one");
    assert_eq!(failed, 5, "what is not tried does not count");
    // A recovery code is the owner's way in meanwhile; it does not make the app's codes good again.
    let _in = send_code(&waiting, &recovery[0]).await.expect_status(303);
    let _not_tried = send_code(&half(&api, EMAIL).await, &code(&key, 0)).await.expect_status(401);
    run_sql(&api, "UPDATE account_factors SET locked_until = now()").await;
    let _in = send_code(&half(&api, EMAIL).await, &code(&key, 0)).await.expect_status(303);
    assert_eq!(api.count("SELECT count(*) FROM account_factors WHERE failed = 0 AND locked_until IS NULL").await, 1);
}

#[tokio::test]
async fn a_recovery_code_works_once_and_new_ones_make_the_old_worthless() {
    let api = TestApi::start().await;
    let (_, _, mine) = doctor(&api).await;
    let (_, old) = switch_on(&mine).await;
    let typed = old[0].to_lowercase().replace('-', " ");
    let _in = send_code(&half(&api, EMAIL).await, &typed).await.expect_status(303);
    let _used = send_code(&half(&api, EMAIL).await, &old[0]).await.expect_status(401);
    assert_eq!(noted(&api, "second_factor.recovered", "success").await, 1);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'recovery_code_used'").await, 1);
    assert!(mine.get(PAGE).await.expect_status(200).text().contains("<strong>9</strong> of your recovery codes"));

    let _wrong = send(&mine, &format!("{PAGE}/codes"), ("password", "not the one")).await.expect_status(422);
    let new = codes_of(&send(&mine, &format!("{PAGE}/codes"), ("password", PASSWORD)).await.expect_status(200).text());
    assert_eq!(new.len(), 10);
    let _old = send_code(&half(&api, EMAIL).await, &old[1]).await.expect_status(401);
    let _new = send_code(&half(&api, EMAIL).await, &new[1]).await.expect_status(303);
}

#[tokio::test]
async fn a_half_session_ends_with_its_time_and_with_the_password() {
    let api = TestApi::start().await;
    let (_, _, mine) = doctor(&api).await;
    let (key, _) = switch_on(&mine).await;
    later(&api).await;
    for end in [
        "UPDATE half_sessions SET expires_at = now()",
        "UPDATE accounts SET password_changed_at = now()",
        "DELETE FROM half_sessions",
    ] {
        let waiting = half(&api, EMAIL).await;
        let form = form_token(&waiting, "/sign-in/code").await;
        run_sql(&api, end).await;
        let _over = waiting.get("/sign-in/code").await.expect_status(303);
        let late = waiting.post_form("/sign-in/code", &[("form_token", &form), ("code", &code(&key, 0))]).await;
        assert_eq!(late.expect_status(303).header("location"), Some("/sign-in?next="), "{end}");
    }
    let _nobody = api.anonymous().get("/sign-in/code").await.expect_status(303);
    let secrets: i64 = api.count("SELECT count(*) FROM half_sessions WHERE length(secret_hash) <> 32").await;
    assert_eq!(secrets, 0);
}

#[tokio::test]
async fn switching_off_takes_the_password_or_an_operator_and_is_told() {
    let api = TestApi::start().await;
    let (_, _, mine) = doctor(&api).await;
    let (_, recovery) = switch_on(&mine).await;
    let off = format!("{PAGE}/off");
    let _wrong = send(&mine, &off, ("password", "not the one")).await.expect_status(422);
    let waiting = half(&api, EMAIL).await;
    let done = send(&mine, &off, ("password", PASSWORD)).await.expect_status(303);
    assert_eq!(done.header("location"), Some("/account?done=second-factor-off"));
    let _over = waiting.get("/sign-in/code").await.expect_status(303);
    let _in = enter(&api, EMAIL).await.get("/staff/agenda").await.expect_status(200);
    assert_eq!(api.count("SELECT count(*) FROM account_recovery_codes").await, 0, "{recovery:?}");

    let _on = switch_on(&mine).await;
    let _asked = half(&api, EMAIL).await;
    let nobody = api.operator(&["user", "second-factor-off", "--email", "nobody@example.org"]).await;
    assert!(!nobody.status.success() && nobody.stderr.contains("there is no such account"), "{nobody:?}");
    let done = api.operator(&["user", "second-factor-off", "--email", "Doctor@example.org"]).await;
    assert!(done.status.success(), "{done:?}");
    let _in = enter(&api, EMAIL).await.get("/staff/agenda").await.expect_status(200);
    assert_eq!(noted(&api, "second_factor.off", "success").await, 2);
    assert_eq!(api.count("SELECT count(*) FROM account_mails WHERE kind = 'second_factor_off'").await, 2);
    assert_eq!(api.count("SELECT count(*) FROM jobs WHERE kind = 'account_mail'").await, 4, "each has its job");
}

#[tokio::test]
async fn where_the_organization_asks_for_codes_staff_without_them_get_to_no_other_page() {
    let api = TestApi::start().await;
    let (clinic, _account, browser) = doctor(&api).await;
    add_account(&api.pool, "patient@example.org", &[clinic.patient]).await;
    let patient = enter(&api, "patient@example.org").await;
    let _open = browser.get("/staff/agenda").await.expect_status(200);
    let asks = |on: bool| {
        let admin = api.with(&clinic.admin);
        async move {
            admin.patch("/v1/organization", &json!({"second_factor_required": on})).await.expect_status(200).json()
        }
    };
    assert_eq!(asks(true).await["second_factor_required"], true);

    for path in ["/staff/agenda", "/staff/exports", "/account", "/account/tokens"] {
        let led = browser.get(path).await.expect_status(303);
        assert_eq!(led.header("location"), Some(PAGE), "{path}");
    }
    let page = browser.get(PAGE).await.expect_status(200).text();
    assert!(page.contains("asks everybody who works there for a code"), "{page}");
    let form = form_token(&browser, PAGE).await;
    let refused = browser.post_form("/account/sessions", &[("form_token", &form)]).await.expect_status(403);
    assert!(refused.text().contains("Switch it on"));
    let asked = browser.clone().with_header("accept", "application/json").get("/staff/agenda").await.expect_status(403);
    assert!(asked.text().contains("second_factor_required"), "{}", asked.text());
    // Patients are not staff, and programs have tokens.
    let _hers = patient.get("/p").await.expect_status(200);
    let _program = api.with(&clinic.token).get("/v1/patients").await.expect_status(200);

    let _codes = switch_on(&browser).await;
    assert!(!browser.get(PAGE).await.expect_status(200).text().contains("asks everybody"));
    let _open = browser.get("/staff/agenda").await.expect_status(200);
    let off = send(&browser, &format!("{PAGE}/off"), ("password", PASSWORD)).await.expect_status(303);
    assert_eq!(off.header("location"), Some("/account?done=second-factor-off"));
    let led = browser.get("/staff/agenda").await.expect_status(303);
    assert_eq!(led.header("location"), Some(PAGE));
    assert_eq!(asks(false).await["second_factor_required"], false);
    let _open = browser.get("/staff/agenda").await.expect_status(200);
}
