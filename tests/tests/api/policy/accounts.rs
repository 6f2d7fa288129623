//! Samples of what owners of accounts do.

use pulsecal_tests::http::Answer;

use crate::accounts::{PASSWORD, add_account, enter};
use crate::second_factor::{code, switch_on};
use crate::sign_in::form_token;
use crate::sign_up::{ask_for, asked_link, confirm, leave_lobby};
use crate::support::{Clinic, TestApi, new_id};

/// Signs up, confirms it, or leaves the lobby.
pub async fn come_anew(api: &TestApi, path: &str) -> Answer {
    let email = format!("{}@example.org", new_id());
    match path {
        "/sign-up" => ask_for(api, &email, "Ada").await,
        "/lobby/leave" => {
            add_account(&api.pool, &email, &[]).await;
            leave_lobby(&enter(api, &email).await).await
        }
        _ => confirm(api, &asked_link(api, &email, "Ada").await).await,
    }
}

/// Does what this path does to a second factor.
pub async fn change_factor(api: &TestApi, clinic: &Clinic, factor: &str) -> Answer {
    let email = format!("{}@example.org", new_id());
    add_account(&api.pool, &email, &[clinic.doctor]).await;
    let owner = enter(api, &email).await;
    if !["/account/second-factor", "/account/second-factor/confirm"].contains(&factor) {
        let _on = switch_on(&owner).await;
    }
    let page = "/account/second-factor";
    let form = form_token(&owner, page).await;
    let fields = [("form_token", form.as_str()), ("password", PASSWORD)];
    if factor.ends_with("/confirm") {
        let _begun = owner.post_form(page, &fields).await.expect_status(303);
        let shown = owner.get(page).await.expect_status(200).text();
        let key = shown.split("<code id=\"key\">").nth(1).and_then(|rest| rest.split('<').next());
        let code = code(key.expect("a key"), 0);
        return owner.post_form(factor, &[("form_token", &form), ("code", &code)]).await;
    }
    owner.post_form(factor, &fields).await
}

/// Makes a token of one's own, or revokes it.
pub async fn token(api: &TestApi, clinic: &Clinic, path: &str) -> Answer {
    let email = format!("{}@example.org", new_id());
    add_account(&api.pool, &email, &[clinic.doctor]).await;
    let owner = enter(api, &email).await;
    let form = form_token(&owner, "/account/tokens").await;
    let fields = [("label", "Sample"), ("days", "7"), ("password", PASSWORD), ("scope", "patients:read")];
    let fields: Vec<(&str, &str)> = fields.into_iter().chain([("form_token", form.as_str())]).collect();
    let made = owner.post_form("/account/tokens", &fields).await;
    if path == "/account/tokens" {
        return made;
    }
    let list = owner.get("/account/tokens").await.text();
    let id = list.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    owner.post_form(path, &[("form_token", &form), ("token", id)]).await
}
