//! Setting up: the database, and who may use the API.

use std::str::FromStr;

use chrono::TimeDelta;
use clap::Subcommand;
use pulsecal_core::clock::Clock;
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ids::PersonId;
use pulsecal_core::process::{self, Failure};
use pulsecal_core::store::{self, Scope};
use pulsecal_core::tokens;
use serde_json::json;

use crate::output::Output;

/// The context of a command. The scheduler's secrets are not needed to read and write the ledger, so what is not set gets a
/// value of no consequence: links are only signed by processes that send.
///
/// # Errors
/// A variable that is wrong.
pub fn context() -> Result<Context, Failure> {
    let lookup = |name: &'static str| {
        std::env::var(name).ok().filter(|text| !text.is_empty()).or_else(|| match name {
            "REDIS_URL" => Some("redis://127.0.0.1:1".to_owned()),
            "SECRET_KEY" => Some("a command line signs no links at all".to_owned()),
            _ => None,
        })
    };
    let config = Config::read(&lookup).map_err(|problem| Failure::new(problem.to_string()))?;
    process::context(&config, "cli")
}

/// A Postgres error in an operator's words.
pub fn db(error: store::DbError) -> Failure {
    Failure::new(format!("Postgres: {error}; is DATABASE_URL right, and has `pulsecal migrate` run?"))
}

/// Applies the migrations.
///
/// # Errors
/// Postgres.
pub async fn migrate(out: Output) -> Result<(), Failure> {
    let url = std::env::var("DATABASE_URL")
        .map_err(|_| Failure::new("DATABASE_URL: is not set; .env.sample says what it means"))?;
    let applied = store::migrate(&url).await.map_err(|error| Failure::new(format!("migrate: {error}")))?;
    out.one(&json!({"migrations": applied}), &format!("The database is at its newest version ({applied} migrations)."));
    Ok(())
}

/// People who may use the API.
#[derive(Subcommand)]
pub enum User {
    /// Make an API token for a person; it is shown once.
    Token {
        /// The person's id.
        #[arg(long)]
        person: String,
        /// What it may do, as in patients:read; may be given again.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// For how many days, 1 to 365.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
        days: u16,
        /// A note on what it is for.
        #[arg(long, default_value = "")]
        label: String,
    },
}

/// Runs `pulsecal user`.
///
/// # Errors
/// Postgres, or a person or scope that there is not.
pub async fn user(what: User, out: Output) -> Result<(), Failure> {
    let User::Token { person, scopes, days, label } = what;
    let person = PersonId::from_str(&person).map_err(|_| Failure::new("--person: is no id"))?;
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let expires_at = tx.now() + TimeDelta::days(i64::from(days));
    let org = tokens::organization_of(&mut tx, person)
        .await
        .map_err(db)?
        .ok_or_else(|| Failure::new("--person: there is no such person"))?;
    let scopes = tokens::Scopes::parse(&scopes).map_err(|error| Failure::new(format!("--scope: {error}")))?;
    let secret = tokens::mint(&mut tx, ctx.ids, org, person, &scopes, expires_at, &label).await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    let shown = secret.expose();
    out.one(
        &json!({"token": shown, "expires_at": expires_at}),
        &format!("{shown}\nIt is shown this once, and expires at {expires_at}."),
    );
    Ok(())
}

/// The time, for commands that look at ranges.
pub fn clock() -> Clock {
    Clock::system()
}
