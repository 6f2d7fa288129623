//! When no backup may come of it.

use super::support::{Clinic, with_pg_dump};

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_fails_or_misses_rows_never_passes() {
    let mut clinic = Clinic::new().await;
    // It breaks off in the middle.
    let bin = with_pg_dump(
        &clinic.folder,
        r#"[ "$1" = --version ] && exec "${REAL}pg_dump" --version; "${REAL}pg_dump" "$@" | head -c 300000; echo 'pg_dump: error: it broke' >&2; exit 1"#,
    );
    clinic.more = vec![("PG_BIN".into(), bin)];
    let done = clinic.run(&["backup", "create"]).await;
    assert!(done.status.code() == Some(1) && done.stderr.contains("it broke"), "{}", done.stderr);
    assert!(clinic.listed().await.is_empty());
    assert_eq!(
        clinic.count("SELECT count(*) FROM backups WHERE state = 'failed' AND problem LIKE '%it broke%'").await,
        1
    );
    // It is too old.
    with_pg_dump(&clinic.folder, "echo 'pg_dump (PostgreSQL) 9.6.24'");
    let done = clinic.run(&["backup", "create"]).await;
    assert!(done.status.code() == Some(1) && done.stderr.contains("is of version 9"), "{}", done.stderr);
    // It stops in the middle, and says that all is well. There is something then, which is never proven.
    with_pg_dump(
        &clinic.folder,
        r#"[ "$1" = --version ] && exec "${REAL}pg_dump" --version; "${REAL}pg_dump" "$@" | head -c 300000"#,
    );
    let done = clinic.run(&["backup", "create"]).await;
    assert!(
        done.status.code() == Some(2) && done.stderr.contains("cannot be read"),
        "{:?} {}",
        done.status,
        done.stderr
    );
    assert_eq!(
        clinic.count("SELECT count(*) FROM backups WHERE state = 'succeeded' AND verified_at IS NULL AND drill_problem IS NOT NULL").await,
        1
    );
    // It leaves the rows of a table out, as one that row-level security filters, and says that all is well.
    with_pg_dump(
        &clinic.folder,
        r#"[ "$1" = --version ] && exec "${REAL}pg_dump" --version; exec "${REAL}pg_dump" --exclude-table-data=people "$@""#,
    );
    let id = clinic.backup().await;
    let done = clinic.run(&["backup", "drill", &id]).await;
    assert!(
        done.status.code() == Some(2) && done.stderr.contains("public.people has 0 rows instead of 5000"),
        "{}",
        done.stderr
    );
    assert_eq!(
        clinic.count("SELECT count(*) FROM backups WHERE drill_problem LIKE '%people%' AND verified_at IS NULL").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_is_no_superuser_backs_up_all_rows_or_nothing() {
    let mut clinic = Clinic::new().await;
    let pool = clinic.db.pool().await;
    let name = clinic.db.name();
    let role = format!("{name}_owner");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'for this test only'; GRANT pulsecal_app, pulsecal_system TO {role};
         ALTER DATABASE {name} OWNER TO {role};
         DO $$ DECLARE o text; BEGIN
           FOR o IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
             LOOP EXECUTE 'ALTER TABLE ' || o || ' OWNER TO {role}'; END LOOP;
           FOR o IN SELECT oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
             LOOP EXECUTE 'ALTER FUNCTION ' || o || ' OWNER TO {role}'; END LOOP;
         END $$"
    )))
    .execute(&pool)
    .await
    .expect("another owner");
    let (_, place) = clinic.db.url().rsplit_once('@').expect("a URL with a login");
    clinic.more =
        vec![("DATABASE_URL".into(), format!("postgres://{role}:for this test only@{place}").replace(' ', "%20"))];
    let id = clinic.backup().await;
    let drilled = clinic.run(&["backup", "drill", &id]).await;
    assert!(drilled.status.success(), "{}", drilled.stderr);
    // Nobody may see these rows, not even who owns them.
    sqlx::raw_sql(
        "ALTER TABLE dev_mailbox ENABLE ROW LEVEL SECURITY; ALTER TABLE dev_mailbox FORCE ROW LEVEL SECURITY",
    )
    .execute(&pool)
    .await
    .expect("hidden");
    let refused = clinic.run(&["backup", "create"]).await;
    assert!(
        refused.status.code() == Some(1) && refused.stderr.contains("hide rows of dev_mailbox"),
        "{}",
        refused.stderr
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "ALTER DATABASE {name} OWNER TO CURRENT_USER; REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
    )))
    .execute(&pool)
    .await
    .expect("gone");
    assert_eq!(clinic.listed().await.len(), 1);
}
