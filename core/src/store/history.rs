//! The history of ended jobs: one partition for each UTC month, made ahead and dropped whole. The roles of the processes own
//! no table, so each step is a function of the database that runs as the owner and takes a date.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::config::HistoryMonths;
use crate::store::DbError;

/// The month of UTC that `at` lies in, as its first day.
pub fn month_of(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

/// The month that comes `count` months after `month`.
pub fn months_later(month: NaiveDate, count: u16) -> NaiveDate {
    month.checked_add_months(Months::new(u32::from(count))).unwrap_or(NaiveDate::MAX)
}

/// The oldest month that is kept at `now`: every month before it lies wholly further back than `keep`.
pub fn first_kept(now: DateTime<Utc>, keep: HistoryMonths) -> NaiveDate {
    month_of(now).checked_sub_months(Months::new(u32::from(keep.count()))).unwrap_or(NaiveDate::MIN)
}

/// What became of a month that was to have its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthMade {
    /// It has one already.
    There,
    /// It was made, and so many rows were moved into it from the default partition.
    Made(i64),
    /// So many rows would have to move that others would wait for long: they stay in the default partition.
    TooMany,
}

/// Makes the partition of `month` (its first day) and moves into it what the default partition has of it.
///
/// # Errors
/// Postgres; also when a lock was not to be had within 3 s, or the month is out of all reason.
pub async fn make_month(conn: &mut PgConnection, month: NaiveDate) -> Result<MonthMade, DbError> {
    let row = sqlx::query!(r#"SELECT outcome AS "outcome!", moved AS "moved!" FROM job_history_make_month($1)"#, month)
        .fetch_one(conn)
        .await?;
    Ok(match row.outcome.as_str() {
        "made" => MonthMade::Made(row.moved),
        "too_many" => MonthMade::TooMany,
        _ => MonthMade::There,
    })
}

/// The months of which the default partition has rows.
///
/// # Errors
/// Postgres.
pub async fn months_at_rest(conn: &mut PgConnection) -> Result<Vec<NaiveDate>, DbError> {
    sqlx::query_scalar!(r#"SELECT month AS "month!" FROM job_history_rest_months() AS month"#).fetch_all(conn).await
}

/// Drops the oldest month that ended by `before` (a first day), and says which it was; none: there is no such month.
///
/// # Errors
/// Postgres; also when a lock was not to be had within 3 s, or `before` lies less than a month back.
pub async fn drop_month(conn: &mut PgConnection, before: NaiveDate) -> Result<Option<NaiveDate>, DbError> {
    sqlx::query_scalar!("SELECT job_history_drop_month($1)", before).fetch_one(conn).await
}

/// Rows that were too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Ended jobs in the default partition.
    pub ended: i64,
    /// Tries.
    pub tries: i64,
}

/// Deletes what ended before `before` (a first day) from the default partition and of the tries: 5,000 rows of each at most.
///
/// # Errors
/// Postgres; also when `before` lies less than a month back.
pub async fn trim(conn: &mut PgConnection, before: NaiveDate) -> Result<Trimmed, DbError> {
    sqlx::query_as!(Trimmed, r#"SELECT ended AS "ended!", tries AS "tries!" FROM job_history_trim($1)"#, before)
        .fetch_one(conn)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn months_are_those_of_utc() {
        assert_eq!(month_of(at("2026-12-31T23:59:59.999999Z")), day("2026-12-01"));
        assert_eq!(month_of(at("2027-01-01T01:00:00+02:00")), day("2026-12-01"));
        assert_eq!(months_later(day("2026-11-01"), 3), day("2027-02-01"));
    }

    #[test]
    fn a_month_goes_when_all_of_it_is_further_back_than_what_is_kept() {
        let keep = |months: &str| months.parse::<HistoryMonths>().expect("months");
        // One month back from the 22nd is in October: September is wholly before that, October is not.
        assert_eq!(first_kept(at("2026-11-22T12:00:00Z"), keep("1")), day("2026-10-01"));
        assert_eq!(first_kept(at("2026-11-01T00:00:00Z"), keep("13")), day("2025-10-01"));
        assert_eq!(first_kept(at("2026-03-31T00:00:00Z"), keep("1")), day("2026-02-01"));
    }
}
