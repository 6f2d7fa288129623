//! Samples of what administrators do with members.

use pulsecal_tests::http::{Answer, Http};
use serde_json::json;

use crate::support::new_id;

/// A request to this route of members, which leaves its trace.
pub async fn member(admin: &Http, route: &str, method: &str) -> Answer {
    let new = json!({"role": "nurse", "given_name": "Kim", "family_name": "Amsel", "email": format!("{}@example.org", new_id()), "invite": false});
    let added = admin.post("/v1/members", &new).await;
    if route == "/v1/members" {
        return added;
    }
    let path = route.replace("{id}", added.expect_status(201).json()["id"].as_str().expect("an id"));
    if method == "PATCH" {
        return admin.patch(&path, &json!({"phone": "+49 30 5550100"})).await;
    }
    if route.ends_with("/return") {
        let _left = admin.post(&path.replace("/return", "/leave"), &json!({})).await.expect_status(200);
    }
    let body = if route.ends_with("/role") { json!({"role": "doctor"}) } else { json!({}) };
    admin.post(&path, &body).await
}
