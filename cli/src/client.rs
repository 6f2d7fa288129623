//! `pulsecal client`: programs that get tokens by their keys.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use pulsecal_core::clients::{self, RegisterError, scopes};
use pulsecal_core::ids::{ClientId, OrgId, PersonId};
use pulsecal_core::process::Failure;
use pulsecal_core::store::Scope;
use serde_json::{Value, json};

use crate::output::Output;
use crate::setup::{context, db, operator};

/// A file of keys is no longer, in bytes.
const LONGEST: u64 = 256 * 1024;

/// Programs that get tokens by their keys (SMART Backend Services).
#[derive(Subcommand)]
pub enum Client {
    /// Register a client, and print its id.
    Add {
        /// The person whom it acts as: it can do no more than their role.
        #[arg(long)]
        person: PersonId,
        /// What it may do, as in system/Patient.rs or patients:read; may be given again.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// A file with its public keys, as a JWKS: RSA (RS384) or P-384 (ES384), each with a kid.
        #[arg(long)]
        keys: PathBuf,
        /// A note on what it is for.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Give a client other keys, in place of all that it has.
    Keys {
        /// The client's id.
        id: ClientId,
        /// A file with its public keys, as a JWKS.
        #[arg(long)]
        keys: PathBuf,
    },
    /// The clients of an organization, newest first.
    List {
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
    },
    /// Make a client and its tokens worthless at once.
    Revoke {
        /// The client's id, as `list` shows it.
        id: ClientId,
    },
}

/// Runs `pulsecal client`.
///
/// # Errors
/// Postgres; a person, client, scope or set of keys that there is not.
pub async fn run(what: Client, out: Output) -> Result<(), Failure> {
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    match what {
        Client::Add { person, scopes, keys, label } => {
            let scopes = scopes::registered(&scopes).map_err(|problem| Failure::new(format!("--scope: {problem}")))?;
            let keys = read(&keys)?;
            let id = clients::register(&mut tx, operator(), person, &scopes, &keys, &label).await.map_err(refused)?;
            tx.commit().await.map_err(db)?;
            out.one(&json!({"id": id}), &id.to_string());
        }
        Client::Keys { id, keys } => {
            if !clients::set_keys(&mut tx, operator(), id, &read(&keys)?).await.map_err(refused)? {
                return Err(Failure::new("there is no such client, or it was revoked"));
            }
            tx.commit().await.map_err(db)?;
            out.one(&json!({"changed": id}), "It signs with these keys from now on.");
        }
        Client::List { org } => {
            let rows = clients::list(&mut tx, org).await.map_err(db)?;
            out.rows(&["id", "person", "label", "scopes", "created_at", "revoked_at"], &rows);
        }
        Client::Revoke { id } => {
            if !clients::revoke(&mut tx, operator(), id).await.map_err(db)? {
                return Err(Failure::new("there is no such client, or it was revoked before"));
            }
            tx.commit().await.map_err(db)?;
            out.one(&json!({"revoked": id}), "It gets no tokens any more, and those that it has open nothing.");
        }
    }
    Ok(())
}

fn refused(error: RegisterError) -> Failure {
    match error {
        RegisterError::Db(error) => db(error),
        RegisterError::Keys(problem) => Failure::new(format!("--keys: {problem}")),
        RegisterError::NoScope => Failure::new(format!("--scope: {error}")),
        RegisterError::Label => Failure::new(format!("--label: {error}")),
        RegisterError::Nobody => Failure::new(format!("--person: {error}")),
    }
}

fn read(file: &Path) -> Result<Value, Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::new(format!("--keys: {}: {error}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| cannot(&error))?.len();
    if length > LONGEST {
        return Err(cannot(&"is too long for a set of keys"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    serde_json::from_str(&text).map_err(|error| cannot(&error))
}
