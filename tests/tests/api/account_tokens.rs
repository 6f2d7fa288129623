//! API tokens that people make for themselves: shown once, within their own rights, with their password.

use futures_util::future::join_all;
use pulsecal_tests::http::{Answer, Http};
use uuid::Uuid;

use crate::accounts::{PASSWORD, add_account, enter, noted};
use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, TestApi, add_person, new_id};

const PAGE: &str = "/account/tokens";

async fn make(owner: &Http, more: &[(&str, &str)]) -> Answer {
    let form = form_token(owner, PAGE).await;
    let mut fields =
        vec![("form_token", form.as_str()), ("label", "Lab import"), ("days", "7"), ("password", PASSWORD)];
    fields.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
    fields.extend(more);
    owner.post_form(PAGE, &fields).await
}

/// The secret that a page shows.
fn secret(page: &Answer) -> String {
    let text = page.text();
    let rest = text.split("id=\"token\">").nth(1).unwrap_or_else(|| panic!("no token in {text}"));
    rest.split('<').next().expect("its end").to_owned()
}

#[tokio::test]
async fn a_token_is_shown_once_does_what_was_chosen_and_is_worth_nothing_once_revoked() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let owner = enter(&api, "doctor@example.org").await;
    let made = make(&owner, &[("scope", "patients:read"), ("scope", "chat:read")]).await.expect_status(200);
    let token = secret(&made);
    assert!(token.starts_with("pc_live_") && token.len() == 51, "{token}");
    let program = api.with(&token);
    let _may = program.get("/v1/patients").await.expect_status(200);
    let _may_not = program.get("/v1/prescriptions").await.expect_status(403);
    let list = owner.get(PAGE).await.expect_status(200).text();
    assert!(
        list.contains("Lab import") && list.contains("patients:read, chat:read") && !list.contains(&token),
        "{list}"
    );
    let kept =
        "SELECT count(*) FROM api_tokens WHERE label = 'Lab import' AND encode(token_hash, 'hex') NOT LIKE '%pc_live%'
        AND expires_at BETWEEN now() + interval '6 days 23 hours' AND now() + interval '7 days'";
    assert_eq!(api.count(kept).await, 1);
    // A token signs in at pages too; it makes no other tokens.
    let by_token = browser(&api, &token).await;
    let _needs_the_password = by_token.get(PAGE).await.expect_status(403);

    // Somebody else's cannot be revoked.
    let other = new_id();
    add_person(&api.pool, clinic.org, other, "nurse", "Other").await;
    add_account(&api.pool, "nurse@example.org", &[other]).await;
    let id: Uuid = sqlx::query_scalar("SELECT token_id FROM api_tokens WHERE label = 'Lab import'")
        .fetch_one(&api.pool)
        .await
        .expect("one");
    let id = id.to_string();
    let revoke = async |by: &Http| {
        let form = form_token(by, PAGE).await;
        by.post_form("/account/tokens/revoke", &[("form_token", &form), ("token", &id)]).await
    };
    let _not_theirs = revoke(&enter(&api, "nurse@example.org").await).await.expect_status(404);
    let _may = program.get("/v1/patients").await.expect_status(200);
    let done = revoke(&owner).await.expect_status(303);
    assert_eq!(done.header("location"), Some("/account/tokens?done=revoked"));
    let _over = program.get("/v1/patients").await.expect_status(401);
    let _before = revoke(&owner).await.expect_status(404);
    assert_eq!((noted(&api, "token.minted", "success").await, noted(&api, "token.revoked", "success").await), (1, 1));
}

#[tokio::test]
async fn nobody_makes_a_token_without_the_password_beyond_their_role_or_without_a_bound() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    add_account(&api.pool, "doctor@example.org", &[clinic.doctor]).await;
    let owner = enter(&api, "doctor@example.org").await;
    for (wrong, words) in [
        (&[("scope", "patients:read"), ("password", "not it at all")][..], "password is not right"),
        (&[], "Choose what"),
        (&[("scope", "members:write")], "Choose what"),
        (&[("scope", "patients:read"), ("scope", "ops:write")], "Choose what"),
        (&[("scope", "patients:all")], "there is no scope"),
        (&[("scope", "patients:read"), ("days", "366")], "how many days"),
        (&[("scope", "patients:read"), ("days", "0")], "how many days"),
        (&[("scope", "patients:read"), ("label", " ")], "what the token is for"),
    ] {
        let refused = make(&owner, wrong).await.expect_status(422).text();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert_eq!(noted(&api, "password.refused", "failed").await, 1);
    // Twenty at most, for several at once too.
    sqlx::query("INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, label, created_at, expires_at)
        SELECT gen_random_uuid(), $1, $2, sha256(i::text::bytea), '{patients:read}', 'Many', now(), now() + interval '1 day' FROM generate_series(1, 18) i")
        .bind(clinic.org).bind(clinic.doctor).execute(&api.pool).await.expect("many");
    let form = form_token(&owner, PAGE).await;
    let fields = [
        ("form_token", form.as_str()),
        ("label", "One more"),
        ("days", "7"),
        ("password", PASSWORD),
        ("scope", "patients:read"),
    ];
    let answers = join_all((0..3).map(|_| owner.post_form(PAGE, &fields))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409], "with the one of the clinic there are twenty");
    assert!(owner.get(PAGE).await.text().contains("may have no more tokens"));

    // A patient has none to make.
    add_account(&api.pool, "patient@example.org", &[clinic.patient]).await;
    let patient = enter(&api, "patient@example.org").await;
    assert!(patient.get(PAGE).await.expect_status(200).text().contains("nothing that a token of yours could do"));
    let form = form_token(&patient, "/account").await;
    let fields = [
        ("form_token", form.as_str()),
        ("label", "x"),
        ("days", "7"),
        ("password", PASSWORD),
        ("scope", "patients:read"),
    ];
    let _none = patient.post_form(PAGE, &fields).await.expect_status(422);
}
