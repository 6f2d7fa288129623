//! The kinds of work that a process knows.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use serde_json::value::RawValue;

use crate::context::RunContext;
use crate::ledger::{Job, JobError, JobResult, NewJob, Policy};

type Running = Pin<Box<dyn Future<Output = JobResult> + Send>>;

/// One kind of work.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The kind's name today.
    pub name: &'static str,
    /// The rules it runs under.
    pub policy: Policy,
    run: fn(&RawValue, RunContext) -> Running,
    enqueue: fn(serde_json::Value) -> Result<NewJob, serde_json::Error>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Kind {
    /// Runs a job of this kind. Args that do not parse are never tried again.
    pub fn run(&self, args: &RawValue, ctx: RunContext) -> impl Future<Output = JobResult> + Send + use<> {
        (self.run)(args, ctx)
    }

    /// A job of this kind from args as a schedule row or an operator wrote them.
    ///
    /// # Errors
    /// Args that do not parse.
    pub fn enqueue(&self, args: serde_json::Value) -> Result<NewJob, serde_json::Error> {
        (self.enqueue)(args)
    }
}

/// The kinds of work that a process knows, by name; `jobs::registry()` lists them.
#[derive(Debug, Default)]
pub struct Registry {
    kinds: HashMap<&'static str, Kind>,
}

impl Registry {
    /// Adds a kind, under its name and its former names.
    ///
    /// # Panics
    /// When two kinds claim one name: a mistake in the list, found at start.
    #[must_use]
    pub fn with<J: Job>(mut self) -> Self {
        let kind = Kind {
            name: J::KIND,
            policy: J::POLICY,
            run: |args, ctx| {
                let job = serde_json::from_str::<J>(args.get());
                Box::pin(async move {
                    match job {
                        Ok(job) => job.run(&ctx).await,
                        Err(problem) => {
                            Err(JobError::Never(format!("its args cannot be read: {}", what_is_wrong(&problem))))
                        }
                    }
                })
            },
            enqueue: |args| NewJob::of(&serde_json::from_value::<J>(args)?),
        };
        for name in std::iter::once(&J::KIND).chain(J::FORMERLY) {
            let twice = self.kinds.insert(name, kind).is_some();
            assert!(!twice, "two kinds of job are named {name}");
        }
        self
    }

    /// The kind of that name, today's or former.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    /// Every kind once, by name.
    pub fn kinds(&self) -> Vec<&Kind> {
        let mut all: Vec<_> =
            self.kinds.iter().filter(|(name, kind)| **name == kind.name).map(|(_, kind)| kind).collect();
        all.sort_by_key(|kind| kind.name);
        all
    }
}

/// Where args are wrong, without showing what they hold.
fn what_is_wrong(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    // serde quotes the offending value in back ticks or double quotes; field names after "field" are ours.
    let shown = text.starts_with("missing field") || text.starts_with("unknown field");
    if shown { text.chars().take(120).collect() } else { format!("wrong type or form at column {}", problem.column()) }
}
