//! One snapshot of a whole database: exported for `pg_dump`, and counted and hashed table by table.
//!
//! The connection is its own, signed in as the login of the URL and in no role: it owns the tables, and `pg_dump` runs as
//! the same. It is by nature one long read-only transaction.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::store::DbError;

/// How values are written as text, so that the same row has the same hash on another day and another server.
const SETTINGS: [(&str, &str); 10] = [
    ("timezone", "UTC"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // A backup whose process was killed lets go of its lock within a second.
    ("client_connection_check_interval", "1000"),
    ("jit", "off"),
    // One core for the hashes: all of them would let every other query wait.
    ("max_parallel_workers_per_gather", "0"),
];

/// What is in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableContent {
    /// Its name with its schema, quoted where it must be.
    pub name: String,
    /// Its rows.
    pub rows: i64,
    /// The sum of the hashes of its rows: the same in every order.
    pub hash: String,
}

/// So often is a lock tried that another has …
const LOCK_TRIES: u32 = 20;
/// … with such a pause between: two seconds in all.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Which state of a database is seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// For other sessions to see the same.
    pub snapshot: String,
    /// The end of the log then; empty on a standby.
    pub lsn: String,
    /// The server, as 150018.
    pub server_version: i32,
    /// When it was taken, by the server's clock.
    pub at: DateTime<Utc>,
    /// The newest migration; none in a database that is not ours.
    pub migration: Option<i64>,
}

/// A connection of its own to a database.
#[derive(Debug)]
pub struct OwnConnection(PgConnection);

impl OwnConnection {
    /// Connects to the database of `url`, or to another of the same server.
    ///
    /// # Errors
    /// Postgres.
    pub async fn open(url: &str, database: Option<&str>) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url)?.application_name("pulsecal backup").options(SETTINGS);
        let options = database.map_or_else(|| options.clone(), |name| options.clone().database(name));
        Ok(Self(options.disable_statement_logging().connect().await?))
    }

    /// Takes the lock of that name for as long as the connection lives; false: another has it. It waits a moment: the server
    /// takes that long to notice that whoever had it before has ended.
    ///
    /// # Errors
    /// Postgres.
    pub async fn lock(&mut self, name: &str) -> Result<bool, DbError> {
        for again in (0..LOCK_TRIES).rev() {
            let taken =
                sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS "taken!""#, name);
            if taken.fetch_one(&mut self.0).await? {
                return Ok(true);
            }
            if again > 0 {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
        }
        Ok(false)
    }

    /// The server's version, as 150018.
    ///
    /// # Errors
    /// Postgres.
    pub async fn server_version(&mut self) -> Result<i32, DbError> {
        sqlx::query_scalar!(r#"SELECT current_setting('server_version_num')::int AS "version!""#)
            .fetch_one(&mut self.0)
            .await
    }

    /// Begins the one transaction, and exports what it sees.
    ///
    /// # Errors
    /// Postgres.
    pub async fn see(&mut self) -> Result<Seen, DbError> {
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut self.0).await?;
        let row = sqlx::query!(
            r#"SELECT pg_export_snapshot() AS "snapshot!", current_setting('server_version_num')::int AS "version!",
              CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_wal_lsn()::text END AS "lsn!", now() AS "at!",
              to_regclass('public._sqlx_migrations') IS NOT NULL AS "ours!""#
        )
        .fetch_one(&mut self.0)
        .await?;
        let migration = match row.ours {
            // Not known to the checked macros: sqlx makes this table, not a migration.
            true => {
                sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations").fetch_one(&mut self.0).await?
            }
            false => None,
        };
        Ok(Seen { snapshot: row.snapshot, lsn: row.lsn, server_version: row.version, at: row.at, migration })
    }

    /// Tables with row-level security of which this login might not see every row. Whoever is above it sees all; anybody
    /// else needs a policy that lets all rows pass, and none that takes some away.
    ///
    /// # Errors
    /// Postgres.
    pub async fn not_wholly_seen(&mut self) -> Result<Vec<String>, DbError> {
        sqlx::query_scalar!(
            r#"SELECT c.oid::regclass::text AS "name!" FROM pg_class c
             WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity
               AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls))
               AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
               AND (NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
                      AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                      AND (p.polroles = '{0}' OR EXISTS (SELECT FROM unnest(p.polroles) r WHERE pg_has_role(r, 'USAGE'))))
                 OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive AND p.polcmd IN ('r', '*')))
             ORDER BY 1"#
        )
        .fetch_all(&mut self.0)
        .await
    }

    /// The tables that hold rows, those of extensions aside.
    ///
    /// # Errors
    /// Postgres.
    pub async fn tables(&mut self) -> Result<Vec<String>, DbError> {
        sqlx::query_scalar!(
            r#"SELECT format('%I.%I', n.nspname, c.relname) AS "name!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND c.relpersistence IN ('p', 'u') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
             ORDER BY 1"#
        )
        .fetch_all(&mut self.0)
        .await
    }

    /// All tables of [`OwnConnection::tables`], counted and hashed.
    ///
    /// # Errors
    /// Postgres.
    pub async fn contents(&mut self) -> Result<Vec<TableContent>, DbError> {
        // Postgres hashes what has one form, as it stands, in a fifth of the time that its text would take. Of all else
        // (values that may be equal and yet written otherwise, enums, whose hash is that of a number of this database) it
        // hashes the text.
        let found = sqlx::query!(
            r#"SELECT format('%I.%I', n.nspname, c.relname) AS "name!",
               (SELECT coalesce(string_agg(format(
                  CASE WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype) THEN 't.%I COLLATE "C"'
                    WHEN a.atttypid IN ('uuid'::regtype, 'bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'xid8'::regtype,
                      'bytea'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN 't.%I'
                    ELSE 't.%I::text COLLATE "C"' END, a.attname), ', ' ORDER BY a.attnum), '')
                FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS "columns!"
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE format('%I.%I', n.nspname, c.relname) = ANY($1) AND c.relkind = 'r' ORDER BY 1"#,
            &self.tables().await?
        )
        .fetch_all(&mut self.0)
        .await?;
        let mut all = Vec::with_capacity(found.len());
        for table in found {
            let sql = format!(
                "SELECT count(*), coalesce(sum(hash_record_extended(ROW({}), 0)), 0)::text FROM ONLY {} t",
                table.columns, table.name
            );
            let (rows, hash) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut self.0).await?;
            all.push(TableContent { name: table.name, rows, hash });
        }
        Ok(all)
    }

    /// The youngest time that a row says it was made or changed at, before `limit`.
    ///
    /// # Errors
    /// Postgres.
    pub async fn newest_row(&mut self, limit: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, DbError> {
        let columns = sqlx::query!(
            r#"SELECT format('%I.%I', n.nspname, c.relname) AS "name!", quote_ident(a.attname) AS "column!"
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND n.nspname = 'public' AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
               AND a.attname IN ('at', 'created_at', 'updated_at', 'received_at', 'enqueued_at', 'ended_at', 'beat_at')"#
        )
        .fetch_all(&mut self.0)
        .await?;
        let mut newest = None;
        for found in columns {
            let sql = format!("SELECT max({0}) FROM ONLY {1} WHERE {0} <= $1", found.column, found.name);
            let at: Option<DateTime<Utc>> =
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(limit).fetch_one(&mut self.0).await?;
            newest = newest.max(at);
        }
        Ok(newest)
    }

    /// Whether there is a database of that name, and if so whether it has nothing of its own in it.
    ///
    /// # Errors
    /// Postgres.
    pub async fn has_database(&mut self, name: &str) -> Result<bool, DbError> {
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS "there!""#, name)
            .fetch_one(&mut self.0)
            .await
    }

    /// Databases whose name begins so.
    ///
    /// # Errors
    /// Postgres.
    pub async fn databases_of(&mut self, begins: &str) -> Result<Vec<String>, DbError> {
        sqlx::query_scalar!(
            r#"SELECT datname::text AS "name!" FROM pg_database WHERE starts_with(datname::text, $1)"#,
            begins
        )
        .fetch_all(&mut self.0)
        .await
    }

    /// Makes an empty database. The name has letters, digits and `_` only.
    ///
    /// # Errors
    /// Postgres, or a login that may not.
    pub async fn make_database(&mut self, name: &str) -> Result<(), DbError> {
        sqlx::raw_sql(AssertSqlSafe(format!(r#"CREATE DATABASE "{name}" TEMPLATE template0"#)))
            .execute(&mut self.0)
            .await?;
        Ok(())
    }

    /// Drops a database, whoever is connected to it.
    ///
    /// # Errors
    /// Postgres.
    pub async fn drop_database(&mut self, name: &str) -> Result<(), DbError> {
        let name = name.replace('"', "\"\"");
        sqlx::raw_sql(AssertSqlSafe(format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#)))
            .execute(&mut self.0)
            .await?;
        Ok(())
    }

    /// Ends it.
    pub async fn close(self) {
        // Whatever it held goes with it, also when Postgres is away.
        let _gone = self.0.close().await;
    }
}
