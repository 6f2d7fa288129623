//! Writing a sealed blob.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::channel::{Inlet, Outlet, Part, WAITING};
use super::{Packing, Recipients, SealError};
use crate::blobs::{BlobError, BlobWriter, Written};

const ZSTD_LEVEL: i32 = 3;

/// Packs and encrypts what is written to it into a blob. Dropped before [`SealedWriter::finish`], it leaves no blob.
#[derive(Debug)]
pub struct SealedWriter {
    to: mpsc::Sender<Part>,
    packing: JoinHandle<io::Result<Counts>>,
    /// None: it has ended, and said why.
    storing: Option<JoinHandle<Result<Option<BlobWriter>, BlobError>>>,
}

/// Bytes before the encryption.
#[derive(Clone, Copy, Debug)]
struct Counts {
    plain: u64,
    packed: u64,
}

/// What was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes that were written to the writer.
    pub plain_bytes: u64,
    /// Bytes after packing.
    pub packed_bytes: u64,
    /// The blob itself: its bytes, and their SHA-256.
    pub written: Written,
}

impl SealedWriter {
    /// Seals for `recipients` what is going to be written, into `blob`.
    pub fn start(blob: BlobWriter, recipients: Recipients, packing: Packing) -> Self {
        let (to, plain) = mpsc::channel(WAITING);
        let (out, sealed) = mpsc::channel(WAITING);
        let packing = tokio::task::spawn_blocking(move || pack(plain, Outlet::new(out), &recipients, packing));
        let storing = Some(tokio::spawn(store(sealed, blob)));
        Self { to, packing, storing }
    }

    /// Adds to it.
    ///
    /// # Errors
    /// The blob store.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), SealError> {
        match self.to.send(Part::Piece(piece)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.why().await),
        }
    }

    /// Ends it; the blob appears.
    ///
    /// # Errors
    /// The blob store; no blob appears then.
    pub async fn finish(mut self) -> Result<Sealed, SealError> {
        if self.to.send(Part::End).await.is_err() {
            return Err(self.why().await);
        }
        let storing = self.storing.take().ok_or(SealError::GivenUp)?;
        let blob = storing.await.map_err(|_| SealError::GivenUp)??;
        let counts = (&mut self.packing).await.map_err(|_| SealError::GivenUp)?;
        let (Some(blob), Ok(counts)) = (blob, counts) else { return Err(SealError::GivenUp) };
        let written = blob.finish().await?;
        Ok(Sealed { plain_bytes: counts.plain, packed_bytes: counts.packed, written })
    }

    /// Takes it back, and waits until that is done.
    pub async fn abort(self) {
        let Self { to, packing, storing } = self;
        drop(to);
        let _packed = packing.await;
        if let Some(storing) = storing {
            let _stored = storing.await;
        }
    }

    /// Why the other side ended.
    async fn why(&mut self) -> SealError {
        let Some(storing) = self.storing.take() else { return SealError::GivenUp };
        match storing.await {
            Ok(Err(error)) => error.into(),
            _ => SealError::GivenUp,
        }
    }
}

/// Counts what goes through.
struct Counted<T> {
    inner: T,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(buffer)?;
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.inner.read(buffer)?;
        self.bytes += taken as u64;
        Ok(taken)
    }
}

fn pack(plain: mpsc::Receiver<Part>, out: Outlet, recipients: &Recipients, packing: Packing) -> io::Result<Counts> {
    let mut plain = Counted { inner: Inlet::new(plain), bytes: 0 };
    let encryptor = age::Encryptor::with_recipients(recipients.all()).map_err(io::Error::other)?;
    let mut encrypted = Counted { inner: encryptor.wrap_output(out)?, bytes: 0 };
    let mut buffer = vec![0; 128 << 10];
    match packing {
        Packing::Plain => copy(&mut plain, &mut encrypted, &mut buffer)?,
        Packing::Zstd => {
            let mut packed = zstd::stream::write::Encoder::new(&mut encrypted, ZSTD_LEVEL)?;
            packed.include_checksum(true)?;
            copy(&mut plain, &mut packed, &mut buffer)?;
            packed.finish()?;
        }
    }
    let counts = Counts { plain: plain.bytes, packed: encrypted.bytes };
    encrypted.inner.finish()?.end()?;
    Ok(counts)
}

fn copy(from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let read = from.read(buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}

/// None: it was given up, and the blob with it.
async fn store(mut sealed: mpsc::Receiver<Part>, mut blob: BlobWriter) -> Result<Option<BlobWriter>, BlobError> {
    loop {
        match sealed.recv().await {
            Some(Part::Piece(piece)) => {
                if let Err(error) = blob.write(piece).await {
                    blob.abort().await;
                    return Err(error);
                }
            }
            Some(Part::End) => return Ok(Some(blob)),
            None => {
                blob.abort().await;
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_failed_says_why_once_and_what_was_written_is_taken_back_all_the_same() {
        let (to, nobody) = mpsc::channel(1);
        drop(nobody);
        let mut writer = SealedWriter {
            to,
            packing: tokio::task::spawn_blocking(|| Err(io::Error::other("nobody takes it"))),
            storing: Some(tokio::spawn(async { Err(BlobError::Full) })),
        };
        let why = writer.write(Bytes::from_static(b"x")).await.expect_err("it is full");
        assert!(matches!(why, SealError::Blob(BlobError::Full)), "{why}");
        let again = writer.write(Bytes::from_static(b"x")).await.expect_err("still");
        assert!(matches!(again, SealError::GivenUp), "{again}");
        writer.abort().await;
    }
}
