//! What a handler gets: no globals, nothing optional.

use std::ops::Deref;
use std::sync::Arc;

use crate::accounts::{FactorKeys, Passwords};
use crate::audit::head::HeadKey;
use crate::backup::Backups;
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::HistoryMonths;
use crate::exports::Sealing;
use crate::ids::Ids;
use crate::ledger::Fence;
use crate::links::Links;
use crate::mail::{EmailAddress, Templates};
use crate::send::{
    AccountMessage, AlarmMessage, DoseMessage, ExportReady, JoinMessage, PaymentMessage, Sender, VisitMessage,
};
use crate::store::{Db, DbError, Scope, Tx};

/// What every part of PulseCal works with. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Shared>);

/// The parts of a [`Context`].
pub struct Shared {
    /// Postgres.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Ids and chance.
    pub ids: Ids,
    /// Mail and pages.
    pub templates: Templates,
    /// Files: exports and backups. Where BLOB_URL is not set, each call says so.
    pub blobs: Blobs,
    /// What backups are made and read with.
    pub backups: Backups,
    /// Links that work without signing in.
    pub links: Links,
    /// Signs the heads of the audit chains.
    pub head_key: HeadKey,
    /// Makes and checks what is kept of passwords.
    pub passwords: Passwords,
    /// Seals what is kept of second factors.
    pub factor_keys: FactorKeys,
    /// Sends the messages of doses.
    pub doses: Sender<DoseMessage>,
    /// Sends the messages of visits.
    pub visits: Sender<VisitMessage>,
    /// Seals and opens the files of exports.
    pub export_sealing: Sealing,
    /// Tells people that their exports are ready.
    pub export_mail: Sender<ExportReady>,
    /// Writes to owners of accounts.
    pub account_mail: Sender<AccountMessage>,
    /// Tells doctors whether they are let in.
    pub join_mail: Sender<JoinMessage>,
    /// Tells patients what was paid or given back.
    pub payment_mail: Sender<PaymentMessage>,
    /// Tells operators of alarms.
    pub alarms: Sender<AlarmMessage>,
    /// Who is told of alarms.
    pub alert_mail: Vec<EmailAddress>,
    /// For how long ended jobs are kept.
    pub history_months: HistoryMonths,
}

impl Context {
    /// Puts the parts together.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// A transaction within `scope`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn begin(&self, scope: Scope<'_>) -> Result<Tx, DbError> {
        self.db.begin(scope).await
    }
}

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A [`Context`] within a running job.
#[derive(Clone)]
pub struct RunContext {
    context: Context,
    /// The claim this run holds: what is finished or sent, is so under it.
    pub fence: Fence,
    /// No attempt comes after this one.
    pub last_attempt: bool,
}

impl RunContext {
    /// A run of a claimed job.
    pub fn new(context: Context, fence: Fence, last_attempt: bool) -> Self {
        Self { context, fence, last_attempt }
    }
}

impl Deref for RunContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}
