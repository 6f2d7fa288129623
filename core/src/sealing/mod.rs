//! Blobs that only the holder of a key can read: zstd, then age, in constant memory.
//!
//! An age stream is checked piece by piece. A reader of one that was cut or changed gets plain text before it gets the
//! error, so whoever reads must not act on anything before the end came without error.

mod channel;
mod keys;
mod reader;
mod small;
mod writer;

#[cfg(test)]
mod tests;

pub use keys::{Identities, Recipients};
pub use reader::{Fetched, SealedReader};
pub use writer::{Sealed, SealedWriter};

use crate::blobs::BlobError;

/// What is done before the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Nothing.
    Plain,
    /// zstd at level 3.
    Zstd,
}

/// What can go wrong with a sealed blob.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// None of the keys opens it.
    #[error("it is encrypted for other keys than the ones given (wrong key)")]
    WrongKey,
    /// It does not hold what was written: changed, cut, or something else altogether.
    #[error("it cannot be decrypted to its end ({0}): it was changed or cut after it was written")]
    Damaged(String),
    /// The work was given up before its end.
    #[error("it was given up before its end")]
    GivenUp,
}
