//! Counts of entries by organization, hour and day (UTC), action, role and outcome.
//!
//! The mark says which transactions are counted: all before it, and none from it on. Whoever counts holds the mark's row, and
//! moves it in the transaction that adds the counts, so a run that breaks off has counted nothing, and one that comes twice
//! finds nothing.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::DbError;

/// What a run counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Entries that were added to the counts.
    pub entries: i64,
}

/// Takes the rollup's turn for as long as the transaction lasts, and says how far it is. Waits for whoever has it.
async fn take_mark(conn: &mut PgConnection) -> Result<i64, DbError> {
    sqlx::query!("SELECT set_config('work_mem', '64MB', true) AS done").fetch_one(&mut *conn).await?;
    sqlx::query_scalar!("SELECT xid FROM audit_marks WHERE name = 'rollup' FOR UPDATE").fetch_one(conn).await
}

/// Counts what was committed since the last run.
///
/// # Errors
/// Postgres; the transaction must not commit then.
pub async fn advance(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Counted, DbError> {
    let from = take_mark(conn).await?;
    let until = sqlx::query_scalar!(r#"SELECT audit_horizon() AS "xid!""#).fetch_one(&mut *conn).await?;
    if until <= from {
        return Ok(Counted { entries: 0 });
    }
    let entries = sqlx::query_scalar!(
        r#"WITH counted AS MATERIALIZED (
             SELECT coalesce(org_id, $3) AS org, date_bin('1 hour', at, 'epoch') AS hour, action, coalesce(role, '') AS role, outcome, count(*) AS n
             FROM audit_entries WHERE xid >= $1 AND xid < $2 GROUP BY 1, 2, 3, 4, 5),
           hours AS (
             INSERT INTO audit_hourly AS t (org_id, hour, action, role, outcome, entries) SELECT org, hour, action, role, outcome, n FROM counted ORDER BY hour
             ON CONFLICT (hour, org_id, action, role, outcome) DO UPDATE SET entries = t.entries + excluded.entries),
           days AS (
             INSERT INTO audit_daily AS t (org_id, day, action, role, outcome, entries)
               SELECT org, (hour AT TIME ZONE 'UTC')::date, action, role, outcome, sum(n) FROM counted GROUP BY 1, 2, 3, 4, 5
             ON CONFLICT (day, org_id, action, role, outcome) DO UPDATE SET entries = t.entries + excluded.entries)
           SELECT coalesce(sum(n), 0)::bigint AS "n!" FROM counted"#,
        from,
        until,
        Uuid::nil()
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!("UPDATE audit_marks SET xid = $1, moved_at = $2 WHERE name = 'rollup'", until, now)
        .execute(conn)
        .await?;
    Ok(Counted { entries })
}

/// Counts the days `from..to` anew and replaces what was counted of them. It counts what lies before the mark and leaves the
/// rest to [`advance`], so the two never count an entry twice.
///
/// # Errors
/// Postgres; the transaction must not commit then.
pub async fn replace(conn: &mut PgConnection, from: NaiveDate, to: NaiveDate) -> Result<Counted, DbError> {
    let mark = take_mark(conn).await?;
    let (start, end) = (midnight(from), midnight(to));
    sqlx::query!("DELETE FROM audit_hourly WHERE hour >= $1 AND hour < $2", start, end).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM audit_daily WHERE day >= $1 AND day < $2", from, to).execute(&mut *conn).await?;
    let entries = sqlx::query_scalar!(
        r#"WITH counted AS MATERIALIZED (
             SELECT coalesce(org_id, $4) AS org, date_bin('1 hour', at, 'epoch') AS hour, action, coalesce(role, '') AS role, outcome, count(*) AS n
             FROM audit_entries WHERE at >= $1 AND at < $2 AND xid < $3 GROUP BY 1, 2, 3, 4, 5),
           hours AS (
             INSERT INTO audit_hourly (org_id, hour, action, role, outcome, entries) SELECT org, hour, action, role, outcome, n FROM counted ORDER BY hour),
           days AS (
             INSERT INTO audit_daily (org_id, day, action, role, outcome, entries)
               SELECT org, (hour AT TIME ZONE 'UTC')::date, action, role, outcome, sum(n) FROM counted GROUP BY 1, 2, 3, 4, 5)
           SELECT coalesce(sum(n), 0)::bigint AS "n!" FROM counted"#,
        start,
        end,
        mark,
        Uuid::nil()
    )
    .fetch_one(conn)
    .await?;
    Ok(Counted { entries })
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// How far the rollup is behind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lag {
    /// Entries that are not counted yet, [`MOST_WAITING`] at most.
    pub waiting: i64,
    /// The age of the oldest of them, in seconds; 0 when there is none.
    pub oldest_seconds: f64,
    /// A run would count none of them: a transaction that has written something and began before them is still open.
    pub held: bool,
    /// When a run last counted something.
    pub counted_at: DateTime<Utc>,
}

/// So many entries that wait are looked at.
pub const MOST_WAITING: i64 = 100_000;

/// How far the rollup is behind.
///
/// # Errors
/// Postgres.
pub async fn lag(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Lag, DbError> {
    sqlx::query_as!(
        Lag,
        r#"WITH mark AS MATERIALIZED (SELECT xid, moved_at, audit_horizon() AS horizon FROM audit_marks WHERE name = 'rollup'),
           waiting AS (SELECT e.at, e.xid FROM audit_entries e, mark WHERE e.xid >= mark.xid LIMIT $2)
           SELECT count(w.at) AS "waiting!", greatest(coalesce(extract(epoch FROM $1 - min(w.at)), 0), 0)::float8 AS "oldest_seconds!",
             coalesce(min(w.xid) >= mark.horizon, false) AS "held!", mark.moved_at AS "counted_at!"
           FROM mark LEFT JOIN waiting w ON true GROUP BY mark.horizon, mark.moved_at"#,
        now,
        MOST_WAITING
    )
    .fetch_one(conn)
    .await
}

/// A count that is not what the entries give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `hour` or `day`.
    pub grain: String,
    /// When it begins.
    pub starts: DateTime<Utc>,
    /// Whose; the nil id for the platform's own.
    pub org: Uuid,
    /// What was done.
    pub action: String,
    /// In which role.
    pub role: String,
    /// How it ended.
    pub outcome: String,
    /// So many there are.
    pub entries: i64,
    /// So many the rollup says.
    pub counted: i64,
}

/// Compares the counts of the days `from..to` with one GROUP BY over the entries before the mark, in one statement, so that
/// both are of one moment. At most `most` differences.
///
/// # Errors
/// Postgres.
pub async fn differences(
    conn: &mut PgConnection,
    from: NaiveDate,
    to: NaiveDate,
    most: i64,
) -> Result<Vec<Difference>, DbError> {
    sqlx::query_as!(
        Difference,
        r#"WITH hours AS MATERIALIZED (
             SELECT coalesce(org_id, $6) AS org_id, date_trunc('hour', at, 'UTC') AS hour, action, coalesce(role, '') AS role, outcome, count(*) AS n
             FROM audit_entries WHERE at >= $1 AND at < $2 AND xid < (SELECT xid FROM audit_marks WHERE name = 'rollup') GROUP BY 1, 2, 3, 4, 5),
           days AS (SELECT org_id, (hour AT TIME ZONE 'UTC')::date AS day, action, role, outcome, sum(n)::bigint AS n FROM hours GROUP BY 1, 2, 3, 4, 5)
           SELECT * FROM (
             SELECT 'hour' AS "grain!", hour AS "starts!", org_id AS "org!", action AS "action!", role AS "role!", outcome AS "outcome!",
               coalesce(n, 0) AS "entries!", coalesce(entries, 0) AS "counted!"
             FROM hours FULL JOIN (SELECT * FROM audit_hourly WHERE hour >= $1 AND hour < $2) h USING (org_id, hour, action, role, outcome)
             UNION ALL
             SELECT 'day', day::timestamp AT TIME ZONE 'UTC', org_id, action, role, outcome, coalesce(n, 0), coalesce(entries, 0)
             FROM days FULL JOIN (SELECT * FROM audit_daily WHERE day >= $3 AND day < $4) d USING (org_id, day, action, role, outcome)
           ) both_sides WHERE "entries!" <> "counted!" ORDER BY 2, 1, 3, 4, 5, 6 LIMIT $5"#,
        midnight(from),
        midnight(to),
        from,
        to,
        most,
        Uuid::nil()
    )
    .fetch_all(conn)
    .await
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only this organization; the nil id: the platform's own.
    pub org: Option<Uuid>,
    /// From this day on …
    pub from: NaiveDate,
    /// … until the day before this one.
    pub to: NaiveDate,
    /// Only this action.
    pub action: Option<String>,
    /// Only this outcome.
    pub outcome: Option<String>,
}

/// A day of the chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day.
    pub day: NaiveDate,
    /// Entries with the outcome `success`.
    pub succeeded: i64,
    /// All others.
    pub other: i64,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The day.
    pub day: NaiveDate,
    /// Whose; the nil id for the platform's own.
    pub org: Uuid,
    /// Its name; none: the platform.
    pub name: Option<String>,
    /// What was done.
    pub action: String,
    /// In which role; may be empty.
    pub role: String,
    /// How it ended.
    pub outcome: String,
    /// How often.
    pub entries: i64,
}

/// Counts by day; days without entries are left out.
///
/// # Errors
/// Postgres.
pub async fn days(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Day>, DbError> {
    sqlx::query_as!(
        Day,
        r#"SELECT day, coalesce(sum(entries) FILTER (WHERE outcome = 'success'), 0)::bigint AS "succeeded!",
             coalesce(sum(entries) FILTER (WHERE outcome <> 'success'), 0)::bigint AS "other!"
           FROM audit_daily WHERE day >= $1 AND day < $2 AND ($3::uuid IS NULL OR org_id = $3) AND ($4::text IS NULL OR action = $4)
             AND ($5::text IS NULL OR outcome = $5)
           GROUP BY day ORDER BY day"#,
        filter.from,
        filter.to,
        filter.org,
        filter.action.as_deref(),
        filter.outcome.as_deref()
    )
    .fetch_all(conn)
    .await
}

/// The counts themselves, the newest day first and the largest first within it; at most `most`.
///
/// # Errors
/// Postgres.
pub async fn lines(conn: &mut PgConnection, filter: &Filter, most: i64) -> Result<Vec<Line>, DbError> {
    sqlx::query_as!(
        Line,
        r#"SELECT d.day, d.org_id AS org, o.name AS "name?", d.action, d.role, d.outcome, d.entries
           FROM audit_daily d LEFT JOIN organizations o USING (org_id)
           WHERE d.day >= $1 AND d.day < $2 AND ($3::uuid IS NULL OR d.org_id = $3) AND ($4::text IS NULL OR d.action = $4)
             AND ($5::text IS NULL OR d.outcome = $5)
           ORDER BY d.day DESC, d.entries DESC, d.action, d.role, d.outcome, d.org_id LIMIT $6"#,
        filter.from,
        filter.to,
        filter.org,
        filter.action.as_deref(),
        filter.outcome.as_deref(),
        most
    )
    .fetch_all(conn)
    .await
}

/// What a filter may name within these days.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Choices {
    /// Organizations, with their names; none: the platform.
    pub orgs: Vec<(Uuid, Option<String>)>,
    /// Actions.
    pub actions: Vec<String>,
    /// Outcomes.
    pub outcomes: Vec<String>,
}

/// What there is to choose from.
///
/// # Errors
/// Postgres.
pub async fn choices(conn: &mut PgConnection, from: NaiveDate, to: NaiveDate) -> Result<Choices, DbError> {
    let orgs = sqlx::query!(
        r#"SELECT d.org_id AS "org!", o.name AS "name?" FROM (SELECT DISTINCT org_id FROM audit_daily WHERE day >= $1 AND day < $2) d
           LEFT JOIN organizations o USING (org_id) ORDER BY o.name NULLS FIRST, d.org_id LIMIT 1000"#,
        from,
        to
    )
    .fetch_all(&mut *conn)
    .await?;
    let actions = sqlx::query_scalar!(
        "SELECT DISTINCT action FROM audit_daily WHERE day >= $1 AND day < $2 ORDER BY action LIMIT 1000",
        from,
        to
    );
    let actions = actions.fetch_all(&mut *conn).await?;
    let outcomes = sqlx::query_scalar!(
        "SELECT DISTINCT outcome FROM audit_daily WHERE day >= $1 AND day < $2 ORDER BY outcome LIMIT 1000",
        from,
        to
    );
    let outcomes = outcomes.fetch_all(conn).await?;
    Ok(Choices { orgs: orgs.into_iter().map(|row| (row.org, row.name)).collect(), actions, outcomes })
}
