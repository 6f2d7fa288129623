//! From rows to a sealed blob: a thread encodes and seals, this side uploads. Between them are a few pieces at most, so memory
//! does not grow with the file, and a slow store slows the reading of rows.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cell::{Tuple, read_cells};
use super::{CellError, Heading, Kind, Sealing, Spec, encoder};
use crate::blobs::{BlobError, BlobKey, BlobWriter, Blobs};

/// Rows as Postgres sent them, some hundred at a time.
pub type RowBatch = Vec<Bytes>;

/// Sealed bytes go to the store in pieces of this size …
const PIECE: usize = 256 * 1024;
/// … of which so many may wait.
const WAITING: usize = 4;

/// How far a file is. Read by others while it grows.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Rows encoded.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of the file, before it is sealed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Its rows.
    pub rows: u64,
    /// Its size as it is downloaded.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
    /// What its reader should know.
    pub notes: Vec<String>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A temporary file, or the encoding.
    #[error("the file could not be written on this server: {0}")]
    Local(io::Error),
    /// The rows.
    #[error(transparent)]
    Rows(#[from] CellError),
    /// The rows ended before their end.
    #[error("the database broke off while it sent the rows")]
    BrokenOff,
    /// It is no longer wanted.
    #[error("it is no longer wanted")]
    Stopped,
}

/// Encodes rows into `out`, on this thread.
///
/// # Errors
/// The rows or the output.
pub fn encode_to<W: Write + Send>(
    spec: &Spec,
    heading: &Heading,
    batches: impl Iterator<Item = RowBatch>,
    out: W,
    progress: &Progress,
) -> Result<(Encoded, W), FileError> {
    let kinds: Vec<Kind> = spec.columns.iter().map(|column| column.kind()).collect();
    let mut counted = Counted { out, hash: Sha256::new(), progress };
    let mut encoder = encoder(spec, heading, &mut counted).map_err(FileError::Local)?;
    let (mut rows, mut whole) = (0_u64, false);
    for batch in batches {
        let mut cells = Vec::with_capacity(kinds.len());
        for message in &batch {
            match Tuple::read(message)? {
                Tuple::End => whole = true,
                Tuple::Row(row) => {
                    read_cells(row, &kinds, &mut cells)?;
                    encoder.row(&cells).map_err(FileError::Local)?;
                    rows += 1;
                }
            }
        }
        progress.rows.store(rows, Ordering::Relaxed);
    }
    if !whole {
        return Err(FileError::BrokenOff);
    }
    let notes = encoder.finish().map_err(FileError::Local)?;
    let sha256 = counted.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((Encoded { rows, bytes: progress.bytes(), sha256, notes }, counted.out))
}

/// Counts and hashes what goes through.
struct Counted<'a, W> {
    out: W,
    hash: Sha256,
    progress: &'a Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.progress.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hands pieces to the side that uploads, and waits while too many wait.
struct Pieces {
    next: BytesMut,
    to: mpsc::Sender<Bytes>,
}

impl Pieces {
    fn hand_on(&mut self) -> io::Result<()> {
        let piece = self.next.split().freeze();
        self.to.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.next.extend_from_slice(bytes);
        if self.next.len() >= PIECE {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a file is made of, and how.
pub struct Order {
    /// What it is to hold.
    pub spec: Spec,
    /// What stands at its head.
    pub heading: Heading,
    /// Seals it.
    pub sealing: Sealing,
}

/// Writes the rows that come into a sealed blob. It appears when all of it is there; else nothing is left in the store, but
/// what [`Blobs::sweep_unfinished`] removes if this process dies.
///
/// # Errors
/// What stands in the way, or that `stop` fired.
pub async fn write_file(
    order: Order,
    mut rows: mpsc::Receiver<RowBatch>,
    blobs: &Blobs,
    key: &BlobKey,
    progress: Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Encoded, FileError> {
    let mut writer = blobs.create(key).await?;
    let (to, mut pieces) = mpsc::channel(WAITING);
    let encoding = tokio::task::spawn_blocking(move || {
        let out = Pieces { next: BytesMut::with_capacity(PIECE + 64 * 1024), to };
        let sealed = order.sealing.seal(out).map_err(FileError::Local)?;
        let batches = std::iter::from_fn(|| rows.blocking_recv());
        let (encoded, sealed) = encode_to(&order.spec, &order.heading, batches, sealed, &progress)?;
        let mut out = sealed.finish().map_err(FileError::Local)?;
        out.hand_on().map_err(FileError::Local)?;
        Ok(encoded)
    });
    if let Err(error) = upload(&mut writer, &mut pieces, stop).await {
        // The thread ends at its next piece, which nobody takes.
        writer.abort().await;
        return Err(error);
    }
    match encoding.await {
        Ok(Ok(encoded)) => {
            writer.finish().await?;
            Ok(encoded)
        }
        failed => {
            writer.abort().await;
            Err(failed.map_or_else(
                |gone| FileError::Local(io::Error::other(gone)),
                |error| match error {
                    Err(error) => error,
                    Ok(_) => FileError::BrokenOff,
                },
            ))
        }
    }
}

async fn upload(
    writer: &mut BlobWriter,
    pieces: &mut mpsc::Receiver<Bytes>,
    stop: &CancellationToken,
) -> Result<(), FileError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(FileError::Stopped),
            piece = pieces.recv() => match piece {
                None => return Ok(()),
                Some(piece) => {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Err(FileError::Stopped),
                        written = writer.write(piece) => written?,
                    }
                }
            },
        }
    }
}
