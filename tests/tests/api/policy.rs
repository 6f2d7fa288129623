//! The table of who may do what, walked with every role.

use pulsecal_api::policy::{RULES, Rule, Who, ceiling};
use pulsecal_core::store::audit::Role;
use pulsecal_core::tokens::TokenScope;
use pulsecal_tests::http::{Answer, Http};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::sign_in::{browser, form_token};
use crate::support::{Clinic, TestApi, add_person, add_token, new_id, token_of};

mod accounts;
mod fixture;
mod members;
mod records;
mod traces;

const ROLES: [Role; 6] = [Role::Patient, Role::Doctor, Role::Nurse, Role::Receptionist, Role::Admin, Role::Ops];

/// Somebody, by their token and signed in.
struct Guest {
    role: Option<Role>,
    by_token: Http,
    browser: Http,
    form: String,
}

async fn guests(api: &TestApi) -> Vec<Guest> {
    let clinic = Clinic::add(&api.pool, 'a').await;
    let nobody = Guest { role: None, by_token: api.anonymous(), browser: api.anonymous(), form: String::new() };
    let mut all = vec![nobody];
    for (letter, role) in ('b'..).zip(ROLES) {
        let (person, token) = (new_id(), token_of(letter));
        add_person(&api.pool, clinic.org, person, role.as_str(), &format!("Guest-{letter}")).await;
        let scopes = TokenScope::ALL.map(TokenScope::as_str);
        add_token(&api.pool, clinic.org, person, &token, &scopes, "now() + interval '1 hour'", false).await;
        let (browser, page) = match role {
            Role::Patient => {
                // Not by a token: see below.
                add_account(&api.pool, "guest@example.org", &[person]).await;
                (enter(api, "guest@example.org").await, "/p")
            }
            Role::Ops => (browser(api, &token).await, "/staff"),
            _ => (browser(api, &token).await, "/staff/agenda"),
        };
        let form = form_token(&browser, page).await;
        all.push(Guest { role: Some(role), by_token: api.with(&token), browser, form });
    }
    all
}

impl Guest {
    fn may(&self, scope: TokenScope) -> bool {
        self.role.is_some_and(|role| ceiling(role).contains(&scope))
    }

    async fn knock(&self, rule: &Rule) -> Answer {
        let path = rule.path.replace("{id}", &new_id().to_string()).replace("{token}", "forged");
        let path = path.replace("{name}", "nothing").replace("{queue}", "nothing").replace("{verb}", "nothing");
        let method = rule.method.parse().expect("a method");
        let request = match rule.who {
            Who::Page(_) | Who::Ops(_) | Who::Session | Who::Account | Who::Patient => {
                self.browser.request(method, &path).form(&[("form_token", self.form.as_str())])
            }
            _ => self.by_token.request(method, &path),
        };
        self.by_token.send(request).await.expect("an answer")
    }

    /// The status of a refusal; none: they are let in.
    fn refusal(&self, rule: &Rule) -> Option<u16> {
        let patient = self.role == Some(Role::Patient);
        match rule.who {
            Who::Anybody | Who::ThisMachine | Who::Development | Who::LinkHolder => None,
            Who::Token(_) if self.role.is_none() => Some(401),
            Who::TokenOrPage(_) if self.role.is_none() => Some(303),
            Who::Token(scope) | Who::TokenOrPage(scope) => (!self.may(scope)).then_some(403),
            Who::Page(_) | Who::Ops(_) | Who::Session | Who::Account | Who::Patient if self.role.is_none() => {
                Some(if rule.method == "GET" { 303 } else { 401 })
            }
            Who::Session => None,
            // The others came with a token.
            Who::Account | Who::Patient => (!patient).then_some(403),
            Who::Page(_) if patient => Some(403),
            Who::Page(scope) => scope.is_some_and(|scope| !self.may(scope)).then_some(403),
            Who::Ops(scope) => (self.role != Some(Role::Ops) || !self.may(scope)).then_some(403),
        }
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_says_and_puts_on_record_whom_it_does_not() {
    let api = TestApi::start().await;
    let guests = guests(&api).await;
    let mut refused = 0;
    for rule in RULES {
        for guest in &guests {
            if rule.path == "/sign-out" && guest.refusal(rule).is_none() {
                continue; // it would end the session that the rest needs; `sign_in` has it
            }
            let answer = guest.knock(rule).await;
            let about = format!("{} {} as {:?}: {}", rule.method, rule.path, guest.role, answer.text());
            match guest.refusal(rule) {
                Some(status) => assert_eq!(answer.status, status, "{about}"),
                // 401 is also what the sign-in page says of a token that opens nothing.
                None if rule.path == "/sign-in" => assert!([200, 303, 401].contains(&answer.status), "{about}"),
                None => assert!(![401, 403].contains(&answer.status) && answer.status < 500, "{about}"),
            }
            if answer.status == 403 {
                refused += 1;
                let id: Uuid =
                    answer.header("x-request-id").and_then(|id| id.parse().ok()).expect("a request has an id");
                let noted: Value = sqlx::query_scalar(
                    "SELECT detail || jsonb_build_object('role', role) FROM audit_entries WHERE request_id = $1 AND action = 'access.refused' AND outcome = 'refused' AND actor_id = subject_id",
                )
                .bind(id)
                .fetch_one(&api.pool)
                .await
                .unwrap_or_else(|error| panic!("{error}: {about}"));
                assert_eq!(noted["route"], rule.path);
                assert_eq!(noted["needs"], json!(rule.who.scope().map(TokenScope::as_str)));
                assert_eq!(noted["role"], json!(guest.role.map(Role::as_str)));
            }
        }
    }
    assert!(refused > 50, "the table refuses somebody: {refused}");
    let patient = api.anonymous().post_form("/sign-in", &[("token", &token_of('b')), ("next", "")]).await;
    assert_eq!(patient.status, 401, "patients sign in with their accounts only");
}
