//! Reading a blob, piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::{BlobError, BlobKey};

/// Read at once. Each piece is a request of its own, so that no connection waits for a slow reader.
const PIECE: u64 = 4 << 20;

/// Reads one blob from its start, or a later place, to its end.
#[derive(Debug)]
pub struct BlobReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    key: BlobKey,
    meta: ObjectMeta,
    at: u64,
}

impl BlobReader {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, key: BlobKey, meta: ObjectMeta, at: u64) -> Self {
        Self { store, path, key, meta, at }
    }

    /// The size of the whole blob.
    pub fn bytes(&self) -> u64 {
        self.meta.size
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The store, or a blob that was replaced or removed meanwhile.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.at >= self.meta.size {
            return Ok(None);
        }
        let end = self.meta.size.min(self.at + PIECE);
        let range = Some(GetRange::Bounded(self.at..end));
        let options = GetOptions { range, if_match: self.meta.e_tag.clone(), ..GetOptions::default() };
        let got = self.store.get_opts(&self.path, options).await.map_err(|error| BlobError::of(&self.key, error))?;
        let piece = got.bytes().await.map_err(|error| BlobError::of(&self.key, error))?;
        if piece.len() as u64 != end - self.at {
            return Err(BlobError::Changed(self.key.clone()));
        }
        self.at = end;
        Ok(Some(piece))
    }
}
