//! `pulsecal`: what an operator types.

mod audit;
mod backup;
mod client;
mod console;
mod dev;
mod doses;
mod import;
mod output;
mod reconcile;
mod seed;
mod setup;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pulsecal_core::process::Failure;

use crate::output::Output;

/// The background job and notification platform of a clinic.
#[derive(Parser)]
#[command(name = "pulsecal", version, arg_required_else_help = true)]
struct Cli {
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the database to this version. Needs DATABASE_URL of the owner; safe to run again.
    Migrate,
    /// Load invented data.
    Seed {
        #[command(subcommand)]
        what: seed::Seed,
    },
    /// People who may use the API.
    User {
        #[command(subcommand)]
        what: setup::User,
    },
    /// Programs that get tokens by their keys (SMART Backend Services).
    Client {
        #[command(subcommand)]
        what: client::Client,
    },
    /// Dose plans.
    Doses {
        #[command(subcommand)]
        what: doses::Doses,
    },
    /// Read files of others.
    Import {
        #[command(subcommand)]
        what: import::Import,
    },
    /// Backups of the database.
    Backup {
        #[command(subcommand)]
        what: backup::Backup,
    },
    /// The jobs of the ledger.
    Jobs {
        #[command(subcommand)]
        what: console::Jobs,
    },
    /// The queues at this moment; pause one, or let it go on.
    Queues {
        #[command(subcommand)]
        what: Option<console::Queues>,
    },
    /// What runs at which times; pause, resume, run now, preview.
    Schedules {
        #[command(subcommand)]
        what: Option<console::Schedules>,
    },
    /// The message log.
    Messages {
        /// planned, sending, sent, uncertain, suppressed or failed.
        #[arg(long)]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Compare ledger, belt, message log and dose plan, and name each row that does not agree.
    ///
    /// Nothing is changed. Ends with 0 when all agree, with 1 when an error was found. What only lags, as a due job that is not
    /// in Redis, and what is only worth knowing, as uncertain messages, is shown and does not count.
    ///
    /// It reads the whole table `jobs` (live jobs only), and reads the whole table `messages` (five checks), `dose_occurrences`
    /// (two) and `job_history` (one). On a large database that takes minutes; `reads_whole` says which check reads what.
    Reconcile {
        /// At most so many ids of each check.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// The audit entries: seal, verify, export, roll up.
    Audit {
        #[command(subcommand)]
        what: audit::Audit,
    },
    /// Used by ./dev up.
    #[command(hide = true)]
    DevSupervise(dev::SuperviseArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(cli));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            done
        }
        Err(error) => Err(Failure::new(format!("cannot start: {error}"))),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("pulsecal: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let out = Output { json: cli.json };
    match cli.command {
        Command::Migrate => setup::migrate(out).await?,
        Command::Seed { what } => seed::run(what, out).await?,
        Command::User { what } => setup::user(what, out).await?,
        Command::Client { what } => client::run(what, out).await?,
        Command::Doses { what } => doses::run(what, out).await?,
        Command::Import { what } => return import::run(what, out).await,
        Command::Backup { what } => return backup::run(what, out).await,
        Command::Jobs { what } => console::jobs(what, out).await?,
        Command::Queues { what } => console::queues(what.unwrap_or(console::Queues::List), out).await?,
        Command::Schedules { what } => console::schedules(what.unwrap_or(console::Schedules::List), out).await?,
        Command::Messages { state, limit } => console::messages(state.as_deref(), limit, out).await?,
        Command::Reconcile { limit } => return reconcile::run(limit, out).await,
        Command::Audit { what } => return audit::run(what, out).await,
        Command::DevSupervise(args) => dev::supervise(args).await.map_err(|error| Failure::new(error.to_string()))?,
    }
    Ok(ExitCode::SUCCESS)
}
