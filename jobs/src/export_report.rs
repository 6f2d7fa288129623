//! Writes the file of an export: one snapshot, streamed through encoder and seal into the blob store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use pulsecal_core::blobs::{BlobError, BlobKey};
use pulsecal_core::context::RunContext;
use pulsecal_core::exports::{
    Encoded, FileError, Format, Heading, MOST_PDF_ROWS, Order, Progress, RowBatch, Spec, write_file,
};
use pulsecal_core::ids::{ExportId, OrgId};
use pulsecal_core::ledger::{Backoff, Job, JobError, JobResult, Policy, Priority, Queue, Verdict};
use pulsecal_core::store::audit::{self, Actor, Entry};
use pulsecal_core::store::export_rows::Snapshot;
use pulsecal_core::store::exports::{self, Reached, Taken};
use pulsecal_core::store::{DbError, Scope};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ExportReadyMail;

/// Which export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportReport {
    /// The version of these args.
    pub v: u8,
    /// Whose.
    pub org: OrgId,
    /// The export.
    pub export: ExportId,
}

/// One try takes no longer. As long as it takes, Postgres keeps old versions of rows for its snapshot.
const LONGEST: Duration = Duration::from_secs(3600);
/// How often the export's row is told how far it is, and asked whether it is still wanted.
const EVERY: Duration = Duration::from_millis(300);
/// Rows that go to the encoder at once, and how many such batches may wait.
const BATCH: usize = 256;
const BATCHES: usize = 4;
/// A file is kept so long.
const KEPT: TimeDelta = TimeDelta::days(7);

impl Job for ExportReport {
    const KIND: &'static str = "export_report";
    const POLICY: Policy = Policy {
        queue: Queue::Exports,
        priority: Priority::Normal,
        attempts: 4,
        backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) },
        timeout: LONGEST,
        expires_after: Some(Duration::from_secs(24 * 3600)),
    };

    fn unique_key(&self) -> Option<String> {
        Some(self.export.to_string())
    }

    fn organization(&self) -> Option<OrgId> {
        Some(self.org)
    }

    async fn run(&self, ctx: &RunContext) -> JobResult {
        // The place is on record before its first byte is written, so that nothing in the store is nobody's.
        let place: uuid::Uuid = ctx.ids.new_id();
        let key = BlobKey::of(&["exports", &self.export.to_string(), &place.to_string()])?;
        let mut tx = ctx.begin(Scope::Org(self.org)).await?;
        let now = tx.now();
        let taken = exports::take(tx.conn(), self.export, key.as_str(), now).await?;
        tx.commit().await?;
        let Some(taken) = taken else { return Ok(Verdict::Cancel("the export is over")) };
        match self.attempt(ctx, &taken, &key).await {
            Ok(Some((file, as_of))) => self.succeed(ctx, taken.attempt, &key, &file, as_of).await,
            Ok(None) => Ok(Verdict::Cancel("the export was cancelled")),
            Err(failed) => self.fail(ctx, taken.attempt, failed).await,
        }
    }
}

/// Why a try failed, in the words of whoever asked for the export, and of who runs the server.
struct Failed {
    words: String,
    cause: String,
    /// Another try would end the same.
    for_good: bool,
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        let words = "The database could not send the rows.".to_owned();
        Self {
            words,
            cause: format!("Postgres: {}", error.to_string().split(':').next().unwrap_or_default()),
            for_good: false,
        }
    }
}

impl From<FileError> for Failed {
    fn from(error: FileError) -> Self {
        let (words, for_good) = match &error {
            FileError::Blob(BlobError::Full) => {
                ("There is no space left for the file. Whoever runs this server has to make room.", false)
            }
            FileError::Blob(BlobError::NotSet) => {
                ("This server has no place for files. Whoever runs it has to set BLOB_URL.", true)
            }
            FileError::Blob(_) => ("The place where files are kept could not be reached.", false),
            FileError::Local(_) => ("The file could not be written on the server; its disk may be full.", false),
            FileError::Rows(_) | FileError::BrokenOff => ("The database broke off while it sent the rows.", false),
            FileError::Stopped => ("It is no longer wanted.", true),
        };
        Self { words: words.to_owned(), cause: error.to_string(), for_good }
    }
}

impl ExportReport {
    /// None: it is no longer wanted, and nothing is left of it.
    async fn attempt(
        &self,
        ctx: &RunContext,
        taken: &Taken,
        key: &BlobKey,
    ) -> Result<Option<(Encoded, DateTime<Utc>)>, Failed> {
        if let Some(before) = taken.before.as_ref().and_then(|text| text.parse::<BlobKey>().ok()) {
            // What a try left that ended after its file was there, and before that was on record.
            ctx.blobs.delete(&before).await.map_err(FileError::from)?;
        }
        let mut snapshot = ctx.db.snapshot(self.org, LONGEST).await?;
        let rows = snapshot.count(&taken.spec.filters).await?;
        if taken.spec.format == Format::Pdf && rows > MOST_PDF_ROWS {
            let words = format!(
                "These are {rows} rows, and a PDF has {MOST_PDF_ROWS} at most. Ask for CSV or XLSX, or for fewer rows."
            );
            return Err(Failed { cause: words.clone(), words, for_good: true });
        }
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let as_of = snapshot.as_of();
        let written = {
            let writing = self.write(ctx, &taken.spec, &mut snapshot, key, progress.clone(), &stop);
            tokio::pin!(writing);
            tokio::select! {
                biased;
                written = &mut writing => written,
                () = self.watch(ctx, taken.attempt, (rows, as_of), &progress) => {
                    stop.cancel();
                    writing.await
                }
            }
        };
        match written {
            Ok(file) if file.rows == rows => Ok(Some((file, as_of))),
            Ok(file) => {
                ctx.blobs.delete(key).await.map_err(FileError::from)?;
                let cause = format!("{} rows were written, and {rows} counted in the same snapshot", file.rows);
                Err(Failed { words: "The file did not become whole.".into(), cause, for_good: false })
            }
            Err(_) if stop.is_cancelled() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Sends the rows to the encoder, and its pieces to the store. The snapshot's transaction is open meanwhile: that is
    /// what an export of one moment is.
    async fn write(
        &self,
        ctx: &RunContext,
        spec: &Spec,
        snapshot: &mut Snapshot,
        key: &BlobKey,
        progress: Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<Encoded, Failed> {
        let heading = Heading { organization: snapshot.organization().to_owned(), as_of: snapshot.as_of() };
        let order = Order { spec: spec.clone(), heading, sealing: ctx.export_sealing.clone() };
        let (to, batches) = mpsc::channel(BATCHES);
        let file = write_file(order, batches, &ctx.blobs, key, progress, stop);
        let (sent, file) = tokio::join!(send_rows(snapshot, spec, to), file);
        // When the encoder or the store gave up, that is why the rows were not taken.
        match (sent, file) {
            (Err(error), Err(FileError::BrokenOff)) => Err(error.into()),
            (_, file) => Ok(file?),
        }
    }

    /// Tells how far it is; ends when it is no longer wanted.
    async fn watch(&self, ctx: &RunContext, attempt: i32, (estimated, as_of): (u64, DateTime<Utc>), at: &Progress) {
        loop {
            let reached = Reached { phase: "writing", rows: at.rows(), estimated, bytes: at.bytes(), as_of };
            let told = async {
                let mut tx = ctx.begin(Scope::Org(self.org)).await?;
                let wanted = exports::report(tx.conn(), self.export, attempt, reached).await?;
                tx.commit().await?;
                Ok::<_, DbError>(wanted)
            };
            // A row that cannot be reached for a moment says nothing; how the try ends is asked of it again.
            if matches!(told.await, Ok(false)) {
                return;
            }
            sleep(EVERY).await;
        }
    }

    async fn succeed(
        &self,
        ctx: &RunContext,
        attempt: i32,
        key: &BlobKey,
        file: &Encoded,
        as_of: DateTime<Utc>,
    ) -> JobResult {
        let mut tx = ctx.begin(Scope::Org(self.org)).await?;
        let now = tx.now();
        let by = exports::succeed(tx.conn(), self.export, attempt, file, as_of, now + KEPT, now).await?;
        if by.is_none() {
            tx.commit().await?;
            ctx.blobs.delete(key).await?;
            return Ok(Verdict::Cancel("the export was cancelled"));
        }
        let detail =
            serde_json::json!({"rows": file.rows, "bytes": file.bytes, "sha256": file.sha256, "attempt": attempt});
        audit::write(tx.conn(), ctx.ids, &[self.entry(ctx, "export.finish", "success", detail)], now).await?;
        tx.enqueue(&ExportReadyMail { v: 1, org: self.org, export: self.export }).await?;
        tx.commit().await?;
        tracing::info!(export.id = %self.export, rows = file.rows, bytes = file.bytes, "export.done");
        Ok(Verdict::Done)
    }

    async fn fail(&self, ctx: &RunContext, attempt: i32, failed: Failed) -> JobResult {
        let for_good = failed.for_good || ctx.last_attempt;
        let mut tx = ctx.begin(Scope::Org(self.org)).await?;
        let now = tx.now();
        let told = exports::fail(tx.conn(), self.export, attempt, &failed.words, for_good, now).await?;
        if told && for_good {
            let detail = serde_json::json!({"attempt": attempt});
            audit::write(tx.conn(), ctx.ids, &[self.entry(ctx, "export.finish", "failure", detail)], now).await?;
        }
        tx.commit().await?;
        Err(if failed.for_good { JobError::Never(failed.cause) } else { JobError::Retry(failed.cause) })
    }

    fn entry(&self, ctx: &RunContext, action: &'static str, outcome: &'static str, detail: serde_json::Value) -> Entry {
        let (org, subject) = (Some(self.org), self.export.0);
        Entry {
            org,
            actor: Actor::Job(ctx.fence.job.0),
            action,
            subject_type: "export",
            subject,
            outcome,
            detail: Some(detail),
        }
    }
}

/// Ends early, without an error, when nobody takes rows any more.
async fn send_rows(snapshot: &mut Snapshot, spec: &Spec, to: mpsc::Sender<RowBatch>) -> Result<(), DbError> {
    let mut rows = snapshot.rows(&spec.columns, &spec.filters).await?;
    let mut batch: Vec<Bytes> = Vec::with_capacity(BATCH);
    while let Some(row) = rows.try_next().await? {
        batch.push(row);
        if batch.len() == BATCH && to.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await.is_err() {
            return Ok(());
        }
    }
    // Nobody takes it: they have said why.
    let _gone = to.send(batch).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_hold_ids_only_and_read_back() {
        let nil = uuid::Uuid::nil();
        let job = ExportReport { v: 1, org: OrgId(nil), export: ExportId(nil) };
        let text = serde_json::to_string(&job).expect("serializes");
        assert_eq!(serde_json::from_str::<ExportReport>(&text).expect("reads back"), job);
        assert!(serde_json::from_str::<ExportReport>(&text.replace("\"v\"", "\"name\"")).is_err());
    }
}
