//! All SQL, by what it is about; each statement is checked against the schema at compile time.

pub mod account_mails;
pub mod accounts;
pub mod alarms;
pub mod attachments;
pub mod audit;
pub mod backups;
pub mod chat;
pub mod clients;
pub mod console;
pub mod contacts;
pub mod control;
mod db;
pub mod doses;
pub mod export_rows;
pub mod exports;
pub mod feed;
pub mod finish;
pub mod glass;
pub mod history;
pub mod idempotency;
pub mod identities;
pub mod import;
pub mod insurances;
pub mod jobs;
pub mod joins;
pub mod ladder;
pub mod listing;
pub mod lobby;
pub mod mailbox;
pub mod members;
pub mod ops;
pub mod organizations;
pub mod pages;
pub mod payments;
pub mod people;
pub mod prescriptions;
pub mod reconcile;
pub mod records;
pub mod reminders;
pub mod schedules;
pub mod second_factors;
pub mod seed;
pub mod send;
pub mod sessions;
pub mod sign_ups;
pub mod snapshot;
pub mod tokens;
pub mod visits;

pub(crate) use db::reach;
pub use db::{Db, DbError, PoolSizes, Scope, Tx};

/// The migrations, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Applies the migrations to the database of `url`, and says how many there are. Safe to run again, and by two at once.
///
/// # Errors
/// Postgres, or a database of a newer version.
pub async fn migrate(url: &str) -> Result<usize, sqlx::migrate::MigrateError> {
    use sqlx::Connection;
    let mut conn = sqlx::PgConnection::connect(url).await?;
    MIGRATOR.run_direct(None, &mut conn, false).await?;
    conn.close().await?;
    Ok(MIGRATOR.iter().filter(|migration| migration.migration_type.is_up_migration()).count())
}
