//! What can go wrong with the blob store, in the words of who set it up.

use std::error::Error;
use std::io::ErrorKind;

use super::BlobKey;

/// What can go wrong with the blob store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no blob store.
    #[error("BLOB_URL is not set: exports and backups need a place, as file:///absolute/folder or s3://bucket/prefix")]
    NotSet,
    /// A name that no blob can have.
    #[error("{0:?} is no name for a blob: letters, digits, '-', '_', '.', with '/' between segments, 180 at most")]
    BadKey(String),
    /// There is no such blob.
    #[error("there is no {0} in the blob store")]
    NotFound(BlobKey),
    /// A blob of that name is there already; it is never overwritten.
    #[error("{0} is in the blob store already, and is not overwritten")]
    Exists(BlobKey),
    /// The blob became another one while it was read.
    #[error("{0} was changed while it was read")]
    Changed(BlobKey),
    /// No room.
    #[error("the blob store is full, or a quota is used up: make room, then try again")]
    Full,
    /// The store does not answer, or not in time.
    #[error("the blob store does not answer ({0}); is BLOB_URL right, and is the store up?")]
    Away(String),
    /// The store does not let us.
    #[error("the blob store refuses access ({0}); check the rights of the folder, or the AWS_ variables")]
    Denied(String),
    /// Something else.
    #[error("the blob store failed ({0})")]
    Other(String),
}

impl BlobError {
    /// What an error of `object_store` about `key` means.
    pub(super) fn of(key: &BlobKey, error: object_store::Error) -> Self {
        use object_store::Error as E;
        let text = chain(&error);
        match error {
            E::NotFound { .. } => Self::NotFound(key.clone()),
            E::AlreadyExists { .. } => Self::Exists(key.clone()),
            E::Precondition { .. } => Self::Changed(key.clone()),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied(text),
            E::Generic { source, .. } => {
                let mut cause: Option<&(dyn Error + 'static)> = Some(&*source);
                while let Some(error) = cause {
                    if let Some(io) = error.downcast_ref::<std::io::Error>() {
                        return Self::of_io(key, io);
                    }
                    cause = error.source();
                }
                if text.contains("code: 403") || text.contains("code: 401") {
                    Self::Denied(text)
                } else if text.contains("InsufficientStorage") || text.contains("QuotaExceeded") {
                    Self::Full
                } else {
                    Self::Away(text)
                }
            }
            _ => Self::Other(text),
        }
    }

    /// What an error of the file system about `key` means.
    pub(super) fn of_io(key: &BlobKey, error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound(key.clone()),
            ErrorKind::AlreadyExists => Self::Exists(key.clone()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::Full,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Denied(error.to_string()),
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::TimedOut
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Away(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The innermost cause says most; addresses with their query, which hold signatures, are left out.
fn chain(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let words = last.to_string();
    words
        .split_whitespace()
        .filter(|word| !word.contains("://"))
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect()
}
