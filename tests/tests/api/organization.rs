//! An organization and its rules: who may see and change them, and what cannot be.

use pulsecal_core::clinic::BOUNDS;
use serde_json::{Value, json};

use crate::support::{ALL_SCOPES, Clinic, TestApi, add_person, add_token, new_id, token_of, wrong_fields};

#[tokio::test]
async fn staff_see_their_own_organization_and_administrators_change_it() {
    let api = TestApi::start().await;
    let (clinic, other) = (Clinic::add(&api.pool, 'a').await, Clinic::add(&api.pool, 'b').await);
    let admin = api.with(&clinic.admin);
    let first = admin.get("/v1/organization").await.expect_status(200);
    assert_eq!(first.header("etag"), Some("\"1\""));
    let first = first.json();
    assert_eq!(first["id"], json!(clinic.org));
    assert_eq!(first["visit_rules"]["patient_move_minutes"], 60);
    assert_eq!(first["visit_rules"]["patient_cancel_minutes"], 30);
    assert_eq!(first["opening_hours"]["fri"], json!([{"opens": "08:00", "closes": "18:00"}]));
    assert_eq!((&first["opening_hours"]["sun"], &first["holidays"]), (&json!([]), &json!([])));

    let (desk, token) = (new_id(), token_of('r'));
    add_person(&api.pool, clinic.org, desk, "receptionist", "Desk").await;
    add_token(&api.pool, clinic.org, desk, &token, &ALL_SCOPES, "now() + interval '1 hour'", false).await;
    for staff in [api.with(&token), api.with(&clinic.token)] {
        assert_eq!(staff.get("/v1/organization").await.expect_status(200).json(), first);
        let _refused = staff.patch("/v1/organization", &json!({"name": "Mine"})).await.expect_status(403);
    }

    let week = json!({"mon": [{"opens": "07:30", "closes": "12:00"}, {"opens": "13:00", "closes": "24:00"}]});
    let holidays = json!([{"day": "2027-01-01", "name": "New Year"}, {"day": "2026-12-25", "name": "Christmas Day"}]);
    let change = json!({
        "name": "Riverside", "kind": "hospital", "zone": "America/New_York", "phone": null, "address": "1 River Road",
        "opening_hours": week, "holidays": holidays, "visit_rules": {"patient_move_minutes": 90},
    });
    let changed = admin.patch("/v1/organization", &change).await.expect_status(200);
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let changed = changed.json();
    assert_eq!(changed["opening_hours"]["mon"], week["mon"]);
    assert_eq!(changed["opening_hours"]["tue"], json!([]), "a day that is left out is closed");
    assert_eq!(changed["holidays"][0]["day"], "2026-12-25", "holidays are shown by day");
    assert_eq!((&changed["phone"], &changed["kind"]), (&Value::Null, &json!("hospital")));
    assert_eq!(changed["visit_rules"]["patient_move_minutes"], 90);
    assert_eq!(changed["visit_rules"]["patient_cancel_minutes"], 30, "a rule that is left out stays");
    assert_eq!(admin.get("/v1/organization").await.json(), changed);
    // The same again is no change; an old version is refused.
    let same = admin.patch("/v1/organization", &change).await.expect_status(200);
    assert_eq!(same.header("etag"), Some("\"2\""));
    let old = admin.clone().with_header("if-match", "\"1\"");
    let _refused = old.patch("/v1/organization", &json!({"name": "Late"})).await.expect_status(412);
    let noted: Vec<Value> =
        sqlx::query_scalar("SELECT detail FROM audit_entries WHERE action = 'organization.changed' ORDER BY at")
            .fetch_all(&api.pool)
            .await
            .expect("entries");
    assert_eq!(noted.len(), 1);
    assert!(!noted[0].to_string().contains("Riverside"), "names of fields, not what is in them: {noted:?}");
    // The other one is as it was.
    let other = api.with(&other.admin).get("/v1/organization").await.json();
    assert_eq!((&other["name"], &other["version"]), (&json!("Heart clinic b"), &json!(1)));
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let admin = api.with(&clinic.admin);
    let change = json!({
        "name": " ", "kind": "spa", "zone": "Mars/Olympus", "phone": "5".repeat(51),
        "opening_hours": {
            "mon": [{"opens": "08:00", "closes": "08:00"}, {"opens": "7:00"}],
            "tue": [{"opens": "08:00", "closes": "12:00"}, {"opens": "12:00", "closes": "13:00"}],
            "wed": null,
        },
        "holidays": [{"day": "2026-02-30", "name": "x"}, {"day": "2026-12-25", "name": "a"}, {"day": "2026-12-25", "name": ""}],
        "visit_rules": {"offers": 51, "offer_days": 0, "nonsense": 1},
    });
    let problem = admin.patch("/v1/organization", &change).await.expect_status(422).json();
    let mut wrong = wrong_fields(&problem);
    wrong.sort_unstable();
    let expected = [
        "holidays.0.day",
        "holidays.2.day",
        "holidays.2.name",
        "kind",
        "name",
        "opening_hours.mon.0.closes",
        "opening_hours.mon.1.closes",
        "opening_hours.mon.1.opens",
        "opening_hours.tue.1.opens",
        "opening_hours.wed",
        "phone",
        "visit_rules.nonsense",
        "visit_rules.offer_days",
        "visit_rules.offers",
        "zone",
    ];
    assert_eq!(wrong, expected, "{problem}");
    let rules = json!({"visit_rules": {"last_reminder_minutes": 1440}});
    let problem = admin.patch("/v1/organization", &rules).await.expect_status(422).json();
    assert_eq!(wrong_fields(&problem), ["visit_rules.last_reminder_minutes"]);
    assert_eq!(api.count("SELECT count(*) FROM organizations WHERE version > 1").await, 0);
}

/// Whoever writes past the API meets the same bounds.
#[tokio::test]
async fn the_bounds_of_the_rules_are_the_databases_too() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let set = async |what: String| {
        let sql = format!("UPDATE organizations SET {what} WHERE org_id = '{}'", clinic.org);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&api.pool).await.map(|done| done.rows_affected())
    };
    for bound in BOUNDS {
        // The reminders are also held in order.
        let (least, most) = match bound.name {
            "first_reminder_minutes" => (61, bound.most),
            "last_reminder_minutes" => (bound.least, 1439),
            _ => (bound.least, bound.most),
        };
        for fine in [least, most] {
            assert_eq!(set(format!("{} = {fine}", bound.name)).await.expect("within"), 1, "{} {fine}", bound.name);
        }
        if bound.name == "first_reminder_minutes" {
            set("first_reminder_minutes = 1440".into()).await.expect("as it was");
        }
        for odd in [bound.least - 1, bound.most + 1] {
            let _refused = set(format!("{} = {odd}", bound.name)).await.expect_err(bound.name);
        }
    }
    for hours in [
        "{}",
        "[]",
        "null",
        r#"{"mon": [], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "son": []}"#,
        r#"{"mon": 1, "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []}"#,
        r#"{"mon": [{"opens": "08:00"}], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []}"#,
        r#"{"mon": [{"opens": "08:00", "closes": "08:00"}], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []}"#,
        r#"{"mon": [{"opens": "8:00", "closes": "12:00"}], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []}"#,
        r#"{"mon": [{"opens": "08:00", "closes": "12:00"}, {"opens": "12:00", "closes": "13:00"}], "tue": [], "wed": [], "thu": [], "fri": [], "sat": [], "sun": []}"#,
    ] {
        let _refused = set(format!("opening_hours = '{hours}'")).await.expect_err(hours);
    }
    for holidays in [
        "{}",
        r#"[{"day": "2026-12-25"}]"#,
        r#"[{"day": "25.12.2026", "name": "x"}]"#,
        r#"[{"day": "2026-12-25", "name": "x"}, {"day": "2026-12-25", "name": "y"}]"#,
    ] {
        let _refused = set(format!("holidays = '{holidays}'")).await.expect_err(holidays);
    }
}
