//! Patients are registered, once; what is said of them changes.

use serde_json::{Value, json};

use crate::support::{Clinic, TestApi, wrong_fields};

#[tokio::test]
async fn a_patient_is_registered_once_and_a_namesake_only_on_purpose() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let other = Clinic::add(&api.pool, 'b').await;
    let http = api.with(&clinic.token);
    let mut new = json!({
        "given_name": " Zofia ", "family_name": "Castellan", "birth_date": "1961-04-12", "email": "zofia.castellan@example.org",
        "phone": "+49 30 5550100", "zone": "Europe/Berlin", "locale": "de", "privacy_level": 1,
    });
    let made = http.post("/v1/patients", &new).await.expect_status(201);
    let at = made.header("location").expect("where it is").to_owned();
    let shown = made.json();
    assert_eq!(
        (&shown["given_name"], &shown["version"], &shown["email_verified"]),
        (&json!("Zofia"), &json!(1), &json!(false))
    );
    assert_eq!(http.get(&at).await.expect_status(200).json(), shown);
    let _not_theirs = api.with(&other.token).get(&at).await.expect_status(404);

    let again = http.post("/v1/patients", &new).await.expect_status(409);
    assert!(again.text().contains(shown["id"].as_str().expect("an id")), "{}", again.text());
    // The same names at another organization, on another day, or on purpose.
    let _elsewhere = api.with(&other.token).post("/v1/patients", &new).await.expect_status(201);
    new["duplicate_ok"] = json!(true);
    let _twin = http.post("/v1/patients", &new).await.expect_status(201);
    new["duplicate_ok"] = json!(false);
    new["birth_date"] = json!("1961-04-13");
    let _sibling = http.post("/v1/patients", &new).await.expect_status(201);
    assert_eq!(api.count("SELECT count(*) FROM people WHERE family_name = 'Castellan'").await, 4);
    let detail = "SELECT detail FROM audit_entries WHERE action = 'patient.registered' ORDER BY id LIMIT 1";
    let detail: Value = sqlx::query_scalar(detail).fetch_one(&api.pool).await.expect("an entry");
    assert!(!detail.to_string().contains("Zofia") && detail["privacy_level"] == 1, "{detail}");
}

#[tokio::test]
async fn two_desks_that_register_somebody_at_once_register_one() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let new = json!({"given_name": "Tove", "family_name": "Lind", "birth_date": "1990-01-01"});
    let (one, other) = (api.with(&clinic.token), api.with(&clinic.admin));
    let (one, other) = tokio::join!(one.post("/v1/patients", &new), other.post("/v1/patients", &new));
    let mut both = [one.status, other.status];
    both.sort_unstable();
    assert_eq!(both, [201, 409], "{} {}", one.text(), other.text());
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once_and_names_can_be_mended() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let wrong = json!({
        "given_name": "A\nB", "birth_date": "2999-01-01", "phone": " ", "zone": "Mars/Olympus", "email": "no", "privacy_level": 7, "born": 1,
    });
    let refused = http.post("/v1/patients", &wrong).await.expect_status(422);
    let mut named: Vec<String> = wrong_fields(&refused.json()).into_iter().map(str::to_owned).collect();
    named.sort_unstable();
    assert_eq!(named, ["birth_date", "born", "email", "family_name", "given_name", "phone", "privacy_level", "zone"]);

    let path = format!("/v1/patients/{}", clinic.patient);
    let version = http.get(&path).await.header("etag").expect("a version").to_owned();
    let change = json!({"family_name": "Nowak-Lind", "birth_date": "1975-05-05", "phone": null});
    let with = |etag: &str| http.clone().with_header("if-match", etag);
    let changed = with(&version).patch(&path, &change).await.expect_status(200).json();
    assert_eq!((&changed["family_name"], &changed["birth_date"]), (&json!("Nowak-Lind"), &json!("1975-05-05")));
    let _stale = with(&version).patch(&path, &json!({"family_name": "Other"})).await.expect_status(412);
}
