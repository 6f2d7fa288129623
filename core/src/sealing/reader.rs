//! Reading a sealed blob.

use std::io::{self, Read};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::channel::{Inlet, Outlet, Part, WAITING};
use super::{Identities, Packing, SealError};
use crate::blobs::{BlobError, BlobReader, hex};

/// What was read of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Decrypts and unpacks a blob. Nothing that it gives may be acted on before [`SealedReader::next`] said that it was all.
#[derive(Debug)]
pub struct SealedReader {
    plain: mpsc::Receiver<Part>,
    unpacking: JoinHandle<Result<(), SealError>>,
    fetching: JoinHandle<Result<Fetched, BlobError>>,
    read: Option<Fetched>,
}

impl SealedReader {
    /// Opens with one of `identities` what `blob` gives.
    pub fn start(blob: BlobReader, identities: Identities, packing: Packing) -> Self {
        let (to, sealed) = mpsc::channel(WAITING);
        let (out, plain) = mpsc::channel(WAITING);
        let fetching = tokio::spawn(fetch(blob, to));
        let unpacking = tokio::task::spawn_blocking(move || unpack(sealed, Outlet::new(out), &identities, packing));
        Self { plain, unpacking, fetching, read: None }
    }

    /// The next piece; none when it was all, every byte checked.
    ///
    /// # Errors
    /// The blob store, a wrong key, a blob that was changed or cut. All that was given before is void then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SealError> {
        if self.read.is_some() {
            return Ok(None);
        }
        if let Some(Part::Piece(piece)) = self.plain.recv().await {
            return Ok(Some(piece));
        }
        let unpacked = (&mut self.unpacking).await.map_err(|_| SealError::GivenUp)?;
        // What the store said comes first: a store that went away also looks like a cut.
        let fetched = (&mut self.fetching).await.map_err(|_| SealError::GivenUp)?;
        if let Err(error) = fetched.as_ref()
            && !matches!(unpacked, Err(SealError::WrongKey))
        {
            return Err(error.clone().into());
        }
        unpacked?;
        self.read = Some(fetched?);
        Ok(None)
    }

    /// Bytes and SHA-256 of the blob itself, once all of it was read.
    pub fn read(&self) -> Option<&Fetched> {
        self.read.as_ref()
    }
}

async fn fetch(mut blob: BlobReader, to: mpsc::Sender<Part>) -> Result<Fetched, BlobError> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(piece) = blob.next().await? {
        bytes += piece.len() as u64;
        hash.update(&piece);
        if to.send(Part::Piece(piece)).await.is_err() {
            break; // whoever unpacks says why
        }
    }
    let _gone = to.send(Part::End).await;
    Ok(Fetched { bytes, sha256: hex(&hash.finalize()) })
}

fn unpack(
    sealed: mpsc::Receiver<Part>,
    mut out: Outlet,
    identities: &Identities,
    packing: Packing,
) -> Result<(), SealError> {
    use age::DecryptError;
    let wrong = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed => SealError::WrongKey,
        other => SealError::Damaged(other.to_string()),
    };
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => SealError::GivenUp,
        _ => SealError::Damaged(error.to_string()),
    };
    let decryptor = age::Decryptor::new(Inlet::new(sealed)).map_err(wrong)?;
    let mut packed = decryptor.decrypt(identities.all()).map_err(wrong)?;
    match packing {
        Packing::Plain => {
            io::copy(&mut packed, &mut out).map_err(damaged)?;
        }
        Packing::Zstd => {
            // Reads frame after frame until age says that it was all; a frame that is cut is an error.
            let mut plain = zstd::stream::read::Decoder::new(&mut packed).map_err(damaged)?;
            io::copy(&mut plain, &mut out).map_err(damaged)?;
        }
    }
    if packed.read(&mut [0; 1]).map_err(damaged)? != 0 {
        return Err(SealError::Damaged("something follows its end".to_owned()));
    }
    out.end().map_err(damaged)
}
