//! Tenancy is the database's: who forgets a filter still sees nothing of another organization.

use pulsecal_tests::databases::TestDatabase;
use pulsecal_tests::servers::Postgres;
use sqlx::PgPool;

/// Tables of the platform as a whole; every other one must keep organizations apart.
const OF_NO_ORGANIZATION: &[&str] = &[
    "_sqlx_migrations",
    "processes",
    "belt_state",
    "schedules",
    "schedule_slots",
    "queues",
    "dev_mailbox",
    "backups",
    "alarms",
    "alarm_mails",
    "audit_marks",
    "accounts",
    "account_mails",
    "account_factors",
    "account_recovery_codes",
    "half_sessions",
    "account_identities",
    "sign_ups",
    "lobby_sessions",
];

async fn database() -> (TestDatabase, PgPool) {
    let db = TestDatabase::create(Postgres::shared().await).await;
    let pool = db.pool().await;
    (db, pool)
}

#[tokio::test]
async fn every_table_of_an_organization_forces_row_level_security() {
    let (_db, pool) = database().await;
    let tables: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    )
    .fetch_all(&pool)
    .await
    .expect("the catalogue reads");
    assert!(tables.len() > 15);
    for (table, forced, has_org) in tables {
        let platform = OF_NO_ORGANIZATION.contains(&table.as_str());
        assert_eq!(has_org, !platform, "{table}: either it has org_id, or it is listed as the platform's");
        assert_eq!(forced, !platform, "{table}: row-level security is not forced");
    }
}

#[tokio::test]
async fn a_query_without_a_filter_sees_one_organization_only() {
    let (_db, pool) = database().await;
    let mut tx = pool.begin().await.expect("begins");
    sqlx::raw_sql(
        "INSERT INTO organizations (org_id, name, zone, created_at, updated_at) VALUES
           ('00000000-0000-0000-0000-00000000000a', 'A', 'UTC', now(), now()), ('00000000-0000-0000-0000-00000000000b', 'B', 'UTC', now(), now());
         INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at) VALUES
           ('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-00000000000a', 'patient', 'Ann', 'Ames', now(), now()),
           ('00000000-0000-0000-0000-0000000000b1', '00000000-0000-0000-0000-00000000000b', 'patient', 'Bo', 'Berg', now(), now());
         SET LOCAL ROLE pulsecal_app",
    )
    .execute(&mut *tx)
    .await
    .expect("inserts");
    let count = "SELECT count(*) FROM people";
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.expect("reads");
    assert_eq!(seen, 0, "no organization set, nothing seen");
    sqlx::raw_sql("SET LOCAL app.orgs = '00000000-0000-0000-0000-00000000000a'").execute(&mut *tx).await.expect("sets");
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.expect("reads");
    assert_eq!(seen, 1);
    let changed = sqlx::query("UPDATE people SET given_name = 'X'").execute(&mut *tx).await.expect("updates");
    assert_eq!(changed.rows_affected(), 1, "an update without a filter reaches one organization only");
    let foreign = sqlx::query(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, created_at, updated_at)
         VALUES ('00000000-0000-0000-0000-0000000000b2', '00000000-0000-0000-0000-00000000000b', 'patient', 'C', 'D', now(), now())",
    )
    .execute(&mut *tx)
    .await;
    assert!(foreign.is_err(), "a row of another organization must not go in");
}

#[tokio::test]
async fn audit_entries_cannot_be_changed_or_removed() {
    let (_db, pool) = database().await;
    for table in ["audit_entries", "audit_chain"] {
        for statement in
            [format!("UPDATE {table} SET org_id = org_id"), format!("DELETE FROM {table}"), format!("TRUNCATE {table}")]
        {
            let refused =
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect_err("not even the owner");
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
    }
    for role in ["pulsecal_app", "pulsecal_system"] {
        for verb in ["UPDATE", "DELETE", "TRUNCATE"] {
            let may: bool = sqlx::query_scalar(
                "SELECT has_table_privilege($1, 'audit_entries', $2) OR has_table_privilege($1, 'audit_chain', $2)",
            )
            .bind(role)
            .bind(verb)
            .fetch_one(&pool)
            .await
            .expect("the catalogue reads");
            assert!(!may, "{role} may {verb} audit entries");
        }
    }
}
