//! Setting up: the database, and who may use the API.

use std::sync::OnceLock;

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use pulsecal_core::accounts::{self, AccountError, InviteError};
use pulsecal_core::clock::Clock;
use pulsecal_core::config::Config;
use pulsecal_core::context::Context;
use pulsecal_core::ids::{Ids, OrgId, PersonId, RequestId, TokenId};
use pulsecal_core::mail::EmailAddress;
use pulsecal_core::people::{self, AddError, Added, Described};
use pulsecal_core::process::{self, Failure};
use pulsecal_core::store::audit::{Actor, Role};
use pulsecal_core::store::{self, Scope};
use pulsecal_core::tokens;
use pulsecal_jobs::AccountMail;
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
    /// Add a person, and print their id. A second time nothing is added, and the same id is printed.
    Add(AddArgs),
    /// Invite a person by mail: they set a password, and sign in with it. An earlier invitation of theirs lapses.
    Invite {
        /// The person's id.
        #[arg(long)]
        person: PersonId,
    },
    /// Switch off the second factor of an account whose owner has lost app and recovery codes. They are told by mail. Make sure first
    /// that it is them who ask.
    SecondFactorOff {
        /// The address that they sign in with.
        #[arg(long)]
        email: String,
    },
    /// Take away whom an account is linked with at the OpenID Connect provider. Whoever signs in there next with its address, if the
    /// provider has proven it, is linked with it.
    Unlink {
        /// The address that they sign in with here.
        #[arg(long)]
        email: String,
    },
    /// Make an API token for a person, which is shown once; list tokens, or revoke one.
    Token(TokenArgs),
}

/// Who is added.
#[derive(Args)]
pub struct AddArgs {
    /// The organization's id.
    #[arg(long)]
    org: OrgId,
    /// patient, doctor, nurse, receptionist, admin or ops.
    #[arg(long)]
    role: Role,
    /// The family name.
    #[arg(long)]
    family_name: String,
    /// The given name.
    #[arg(long, default_value = "")]
    given_name: String,
    /// The address. No two of an organization's staff have the same.
    #[arg(long)]
    email: String,
}

/// What to do with API tokens; by itself it makes one.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TokenArgs {
    #[command(subcommand)]
    what: Option<OldToken>,
    /// The person's id.
    #[arg(long, required = true)]
    person: Option<PersonId>,
    /// What it may do, as in patients:read; may be given again.
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// For how many days, 1 to 365.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
    /// A note on what it is for.
    #[arg(long, default_value = "")]
    label: String,
}

/// What to do with tokens that were made before.
#[derive(Subcommand)]
pub enum OldToken {
    /// The tokens of an organization, newest first. Nothing is kept of the secrets.
    List {
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
    },
    /// Make a token worthless at once.
    Revoke {
        /// The token's id, as `list` shows it.
        id: TokenId,
    },
}

/// Runs `pulsecal user`.
///
/// # Errors
/// Postgres, or a person, scope or token that there is not.
pub async fn user(what: User, out: Output) -> Result<(), Failure> {
    match what {
        User::Add(args) => add(args, out).await,
        User::Invite { person } => invite(person, out).await,
        User::SecondFactorOff { email } => second_factor_off(&email, out).await,
        User::Unlink { email } => unlink(&email, out).await,
        User::Token(args) => token(args, out).await,
    }
}

async fn add(args: AddArgs, out: Output) -> Result<(), Failure> {
    let AddArgs { org, role, family_name, given_name, email } = args;
    let email = EmailAddress::parse(&email).map_err(|error| Failure::new(format!("--email: {error}")))?;
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let described = Described { org, role, given_name, family_name, email };
    let added = people::add(&mut tx, operator(), described).await.map_err(|error| match error {
        AddError::Db(error) => db(error),
        AddError::NoOrganization => Failure::new("--org: there is no such organization"),
        AddError::Name => Failure::new(format!("--family-name, --given-name: {error}")),
        AddError::Another { .. } => Failure::new(format!("--email: {error}")),
    })?;
    tx.commit().await.map_err(db)?;
    let (id, new) = match added {
        Added::New(id) => (id, true),
        Added::Before(id) => (id, false),
    };
    out.one(&json!({"id": id, "new": new}), &id.to_string());
    Ok(())
}

async fn invite(person: PersonId, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let mail = tx.new_id();
    let invited = accounts::invite(&mut tx, operator(), person, mail, AccountMail::make).await;
    let invited = invited.map_err(|error| match error {
        InviteError::Account(AccountError::Db(error)) => db(error),
        other => Failure::new(format!("--person: {other}")),
    })?;
    tx.commit().await.map_err(db)?;
    out.one(
        &json!({"account": invited.account, "mail": invited.mail}),
        "The invitation is on its way. Its link works once, for seven days.",
    );
    Ok(())
}

async fn second_factor_off(email: &str, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let done = accounts::second::switch_off_for(&mut tx, operator(), email, AccountMail::make).await;
    let done = done.map_err(|error| match error {
        AccountError::Db(error) => db(error),
        other => Failure::new(other.to_string()),
    })?;
    if !done {
        return Err(Failure::new("--email: there is no such account, or its second factor is off"));
    }
    tx.commit().await.map_err(db)?;
    out.one(&json!({"off": true}), "Their password lets them in by itself now.");
    Ok(())
}

async fn unlink(email: &str, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    if pulsecal_core::oidc::unlink_all(&mut tx, operator(), email).await.map_err(db)? == 0 {
        return Err(Failure::new("--email: there is no such account, or it is linked with nobody"));
    }
    tx.commit().await.map_err(db)?;
    out.one(&json!({"unlinked": true}), "It is linked with nobody there any more.");
    Ok(())
}

async fn token(args: TokenArgs, out: Output) -> Result<(), Failure> {
    let TokenArgs { what, person, scopes, days, label } = args;
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    match what {
        None => {}
        Some(OldToken::List { org }) => {
            let rows = tokens::list(&mut tx, org).await.map_err(db)?;
            out.rows(&["id", "person", "label", "scopes", "created_at", "expires_at", "revoked_at"], &rows);
            return Ok(());
        }
        Some(OldToken::Revoke { id }) => {
            if !tokens::revoke(&mut tx, operator(), id).await.map_err(db)? {
                return Err(Failure::new("there is no such token, or it was revoked before"));
            }
            tx.commit().await.map_err(db)?;
            out.one(&json!({"revoked": id}), "It opens nothing any more.");
            return Ok(());
        }
    }
    let person = person.ok_or_else(|| Failure::new("--person: is not given"))?;
    let expires_at = tx.now() + TimeDelta::days(i64::from(days));
    let org = tokens::organization_of(&mut tx, person)
        .await
        .map_err(db)?
        .ok_or_else(|| Failure::new("--person: there is no such person"))?;
    let scopes = tokens::Scopes::parse(&scopes).map_err(|error| Failure::new(format!("--scope: {error}")))?;
    let secret = tokens::mint(&mut tx, operator(), org, person, &scopes, expires_at, &label).await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    let shown = secret.expose();
    out.one(
        &json!({"id": secret.id, "token": shown, "expires_at": expires_at}),
        &format!("{shown}\nIt is shown this once, and expires at {expires_at}. Its id is {}.", secret.id),
    );
    Ok(())
}

/// Who acts: the operator, by this run of the program.
pub fn operator() -> Actor {
    static RUN: OnceLock<RequestId> = OnceLock::new();
    Actor::Operator { run: *RUN.get_or_init(|| Ids.new_id()) }
}

/// The time, for commands that look at ranges.
pub fn clock() -> Clock {
    Clock::system()
}
