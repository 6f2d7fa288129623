//! Writing a blob.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::bucket::Upload;
use super::folder::Unfinished;
use super::{BlobError, hex};

/// How much of a blob's end has a hash of its own.
pub const TAIL: usize = 64 << 10;

/// A blob on its way. Dropped, it leaves at most what [`super::Blobs::sweep_unfinished`] removes.
#[derive(Debug)]
pub struct BlobWriter {
    way: Way,
    bytes: u64,
    hash: Sha256,
    tail: BytesMut,
}

#[derive(Debug)]
enum Way {
    File(Unfinished),
    Bucket(Upload),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
    /// SHA-256 of its last [`TAIL`] bytes, in hex: by it a cut is told from a hole.
    pub tail_sha256: String,
}

impl BlobWriter {
    pub(super) fn to_file(file: Unfinished) -> Self {
        Self { way: Way::File(file), bytes: 0, hash: Sha256::new(), tail: BytesMut::new() }
    }

    pub(super) fn to_bucket(upload: Upload) -> Self {
        Self { way: Way::Bucket(upload), bytes: 0, hash: Sha256::new(), tail: BytesMut::new() }
    }

    /// Adds to it. Pieces of any size; some hundred kilobytes are best.
    ///
    /// # Errors
    /// The store. Nothing can be added after an error: abort.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.bytes += piece.len() as u64;
        self.hash.update(&piece);
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
        self.tail.advance(self.tail.len().saturating_sub(TAIL));
        match &mut self.way {
            Way::File(file) => file.write(&piece).await,
            Way::Bucket(upload) => upload.write(&piece).await,
        }
    }

    /// How many bytes were written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets it appear under its key, safe on disk.
    ///
    /// # Errors
    /// A blob that appeared there meanwhile, or the store; then nothing appears.
    pub async fn finish(self) -> Result<Written, BlobError> {
        let tail_sha256 = hex(&Sha256::digest(&self.tail));
        let written = Written { bytes: self.bytes, sha256: hex(&self.hash.finalize()), tail_sha256 };
        match self.way {
            Way::File(file) => file.finish().await?,
            Way::Bucket(upload) => upload.finish().await?,
        }
        Ok(written)
    }

    /// Takes it back.
    pub async fn abort(self) {
        match self.way {
            Way::File(file) => drop(file),
            Way::Bucket(upload) => upload.abort().await,
        }
    }
}
