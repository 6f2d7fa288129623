//! Asking for an export, and taking it back.

use pulsecal_core::exports::Spec;
use pulsecal_core::ids::ExportId;
use pulsecal_core::ledger::Enqueued;
use pulsecal_core::store::audit::{self, Entry};
use pulsecal_core::store::exports::{self, Export, NewExport};
use pulsecal_core::store::{Tx, organizations};
use pulsecal_core::time::Zone;
use pulsecal_jobs::ExportReport;
use serde_json::{Value, json};

use super::{Owner, owned};
use crate::app::App;
use crate::problem::Problem;

/// So many exports of an organization may wait and run at a time.
pub(crate) const MOST_LIVE: i64 = 3;
/// Whoever has to wait for one of them may try again after so many seconds.
const TRY_AGAIN: u32 = 10;

/// What somebody asks for; the zone may be left to the organization.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// All but the zone.
    pub(crate) spec: Spec,
    /// The zone, if they said one.
    pub(crate) zone: Option<Zone>,
}

/// Puts an export on record with its audit entry and its job, in one transaction, which whoever asked commits.
pub(crate) async fn ask(app: &App, owner: &Owner, asked: Asked) -> Result<(Tx, Export), Problem> {
    if !app.ctx.blobs.is_set() {
        return Err(Problem::unavailable(
            "This server has no place for files: whoever runs it has to set BLOB_URL.",
            3600,
        ));
    }
    let mut tx = owner.begin(app).await?;
    let mut spec = asked.spec;
    spec.zone = match asked.zone {
        Some(zone) => zone,
        None => organizations::zone(tx.conn(), owner.org).await?.parse().unwrap_or(spec.zone),
    };
    if exports::count_live(tx.conn(), owner.org).await? >= MOST_LIVE {
        let detail =
            format!("{MOST_LIVE} exports of your organization are under way. Wait for one to end, or cancel one.");
        return Err(Problem::too_many(detail, TRY_AGAIN));
    }
    let id: ExportId = tx.new_id();
    let job = match tx.enqueue(&ExportReport { v: 1, org: owner.org, export: id }).await {
        Ok(Enqueued::New(job)) => job,
        Ok(Enqueued::Duplicate) => return Err(Problem::internal("a new export had a job already")),
        Err(error) => return Err(Problem::internal(&error.to_string())),
    };
    let now = tx.now();
    exports::insert(tx.conn(), &NewExport { id, org: owner.org, by: owner.person, spec: &spec, job }, now).await?;
    let detail = json!({"format": spec.format, "columns": spec.columns, "filters": spec.filters, "zone": spec.zone});
    note(app, owner, &mut tx, "export.request", id, Some(detail)).await?;
    let export = owned(&mut tx, owner, id).await?;
    Ok((tx, export))
}

/// Cancels an export of theirs, in a transaction that whoever asked commits. One that is over stays as it is, and that is no
/// error: it is not under way any more.
pub(crate) async fn cancel(app: &App, owner: &Owner, id: ExportId) -> Result<(Tx, Export), Problem> {
    let mut tx = owner.begin(app).await?;
    owned(&mut tx, owner, id).await?;
    let now = tx.now();
    if exports::cancel(tx.conn(), id, owner.person, now).await? {
        note(app, owner, &mut tx, "export.cancel", id, None).await?;
    }
    let export = owned(&mut tx, owner, id).await?;
    Ok((tx, export))
}

/// Writes the audit entry of what `tx` does to an export.
pub(super) async fn note(
    app: &App,
    owner: &Owner,
    tx: &mut Tx,
    action: &'static str,
    id: ExportId,
    detail: Option<Value>,
) -> Result<(), Problem> {
    let entry = Entry {
        org: Some(owner.org),
        actor: owner.actor,
        action,
        subject_type: "export",
        subject: id.0,
        outcome: "success",
        detail,
    };
    let now = tx.now();
    Ok(audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?)
}
