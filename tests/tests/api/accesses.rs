//! Who saw what is a patient's: the endpoint, and the pages of staff and of the patient.

use serde_json::Value;
use sqlx::Connection;
use uuid::Uuid;

use crate::accounts::{add_account, enter};
use crate::sign_in::browser;
use crate::support::{Clinic, TestApi, add_person, add_token, new_id, token_of};

async fn actions(api: &TestApi, clinic: &Clinic, query: &str) -> Vec<(String, Value)> {
    let path = format!("/v1/patients/{}/accesses?limit=100{query}", clinic.patient);
    let page = api.with(&clinic.token).get(&path).await.expect_status(200).json();
    let rows = page["items"].as_array().expect("items").clone();
    rows.into_iter().map(|row| (row["action"].as_str().expect("a word").to_owned(), row["name"].clone())).collect()
}

#[tokio::test]
async fn whoever_looked_is_named_to_staff_and_to_the_patient() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let neighbour = new_id();
    add_person(&api.pool, clinic.org, neighbour, "patient", "Neighbour").await;
    let doctor = api.with(&clinic.token);
    let _one = doctor.get(&format!("/v1/patients/{}", clinic.patient)).await.expect_status(200);
    let _list = doctor.get("/v1/patients").await.expect_status(200);
    let _other = doctor.get(&format!("/v1/patients/{neighbour}")).await.expect_status(200);
    let change = serde_json::json!({"privacy_level": 2});
    let _changed = doctor.patch(&format!("/v1/patients/{}", clinic.patient), &change).await.expect_status(200);
    let seen: Vec<String> = actions(&api, &clinic, "").await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(seen, ["patient.changed", "patient.list", "patient.read"], "newest first, and only what is about them");
    assert!(
        actions(&api, &clinic, "")
            .await
            .iter()
            .all(|(_, name)| name.as_str().is_some_and(|name| name.contains("Doctor-a")))
    );
    assert_eq!(actions(&api, &clinic, "&to=2020-01-01T00:00:00Z").await.len(), 0);

    add_account(&api.pool, "mine@example.org", &[clinic.patient]).await;
    let mine = enter(&api, "mine@example.org").await;
    let page = mine.get("/p/accesses").await.expect_status(200).text();
    for part in ["Doctor-a", "looked at the patient", "saw the name in a list of patients", "changed the contact data"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(mine.get("/p/accesses").await.text().contains(">you"), "and they see that they looked");
    let staff = browser(&api, &clinic.token).await;
    let shown = staff.get(&format!("/staff/patients/{}/accesses", clinic.patient)).await.expect_status(200).text();
    assert!(shown.contains("Doctor-a") && shown.contains("Patient-a"), "{shown}");
}

#[tokio::test]
async fn neither_another_organization_nor_reception_learns_who_looked() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let _one = api.with(&clinic.token).get(&format!("/v1/patients/{}", clinic.patient)).await.expect_status(200);
    let path = format!("/v1/patients/{}/accesses", clinic.patient);
    let _none = api.with(&other.token).get(&path).await.expect_status(404);
    let (desk, token) = (new_id(), token_of('r'));
    add_person(&api.pool, clinic.org, desk, "receptionist", "Reception").await;
    add_token(
        &api.pool,
        clinic.org,
        desk,
        &token,
        &["patients:read", "audit:read"],
        "now() + interval '1 hour'",
        false,
    )
    .await;
    let _refused = api.with(&token).get(&path).await.expect_status(403);

    // The function that runs as the owner asks for itself what the transaction sees.
    let ask = "SELECT count(*) FROM accesses_of($1, $2, NULL, NULL, NULL, NULL, 100)";
    let mut conn = api.pool.acquire().await.expect("a connection");
    for (sees, rows) in [(clinic.org, 1_i64), (other.org, 0)] {
        let mut tx = conn.begin().await.expect("a transaction");
        sqlx::raw_sql("SET LOCAL ROLE pulsecal_app").execute(&mut *tx).await.expect("the role");
        sqlx::query("SELECT set_config('app.orgs', $1, true)")
            .bind(sees.to_string())
            .execute(&mut *tx)
            .await
            .expect("its organization");
        let found: i64 =
            sqlx::query_scalar(ask).bind(clinic.patient).bind(clinic.org).fetch_one(&mut *tx).await.expect("asked");
        assert_eq!(found, rows, "as {sees}");
    }
}

#[tokio::test]
async fn pages_of_accesses_follow_each_other_without_a_gap() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    sqlx::query("INSERT INTO audit_entries (id, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, detail, request_id)
        SELECT gen_random_uuid(), $1, now() - make_interval(mins => i / 3), 'person', $2, 'doctor', 'patient.list', 'organization', $1,
          jsonb_build_object('patients', jsonb_build_array($3::uuid)), gen_random_uuid() FROM generate_series(1, 120) i")
        .bind(clinic.org).bind(clinic.doctor).bind(clinic.patient).execute(&api.pool).await.expect("looks");
    let (mut seen, mut cursor): (Vec<Uuid>, _) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/patients/{}/accesses?limit=50&to=2100-01-01T00:00:00Z{cursor}", clinic.patient);
        let page = api.with(&clinic.token).get(&path).await.expect_status(200).json();
        let looks = page["items"].as_array().expect("items").iter().filter(|row| row["action"] == "patient.list");
        seen.extend(looks.map(|row| row["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).expect("an id")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 120);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 120, "none twice");
}
