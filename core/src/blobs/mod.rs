//! The blob store: a folder or an S3 bucket, where exports and backups lie.
//!
//! A blob is written once: it appears whole under its key when its writer finishes, and never replaces another. What a
//! writer that was killed left is not listed, and [`Blobs::sweep_unfinished`] removes it.

mod bucket;
mod config;
mod error;
mod folder;
mod key;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

pub use config::{AWS_VARIABLES, BlobPlace};
pub use error::BlobError;
pub use key::BlobKey;
pub use reader::BlobReader;
pub use writer::{BlobWriter, TAIL, Written};

use crate::ids::Ids;

/// The folder of uploads under way; no [`BlobKey`] begins with a dot.
const UNFINISHED: &str = ".unfinished";

/// The blob store of this installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    place: Arc<Place>,
    ids: Ids,
}

#[derive(Debug)]
enum Place {
    Nowhere,
    Folder(folder::Folder),
    Bucket(bucket::Bucket),
}

/// What is known of a blob without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub key: BlobKey,
    /// Its size.
    pub bytes: u64,
    /// When it appeared.
    pub modified_at: DateTime<Utc>,
}

impl Blobs {
    /// The store at `place`. Nothing is contacted yet.
    ///
    /// # Errors
    /// AWS_ variables that make no client; the text names them, without their values.
    pub fn open(place: &BlobPlace, ids: Ids) -> Result<Self, String> {
        let place = match place {
            BlobPlace::Nowhere => Place::Nowhere,
            BlobPlace::Folder(root) => Place::Folder(folder::Folder::new(root.clone())),
            BlobPlace::Bucket { bucket, prefix, settings } => {
                Place::Bucket(bucket::Bucket::open(bucket, prefix, settings.expose())?)
            }
        };
        Ok(Self { place: Arc::new(place), ids })
    }

    /// Whether there is a store at all.
    pub fn is_set(&self) -> bool {
        !matches!(*self.place, Place::Nowhere)
    }

    /// Begins a blob. It is not to be seen before [`BlobWriter::finish`].
    ///
    /// # Errors
    /// A blob of that name, or a store that is away, full or closed to us.
    pub async fn create(&self, key: &BlobKey) -> Result<BlobWriter, BlobError> {
        // Told early, where it costs nothing; what decides is the end of the writing.
        match self.head(key).await {
            Err(BlobError::NotFound(_)) => {}
            Ok(_) => return Err(BlobError::Exists(key.clone())),
            Err(error) => return Err(error),
        }
        let mark = format!("{}+{}", key.as_str().replace('/', "+"), self.ids.new_id::<uuid::Uuid>());
        match &*self.place {
            Place::Nowhere => Err(BlobError::NotSet),
            Place::Folder(folder) => Ok(BlobWriter::to_file(folder.create(key, &mark).await?)),
            Place::Bucket(bucket) => Ok(BlobWriter::to_bucket(bucket.create(key, mark))),
        }
    }

    /// Reads a blob from `start` to its end. What comes is of one and the same blob, or an error.
    ///
    /// # Errors
    /// No such blob, or the store.
    pub async fn reader(&self, key: &BlobKey, start: u64) -> Result<BlobReader, BlobError> {
        let (store, path) = self.path(key)?;
        let meta = store.head(&path).await.map_err(|error| BlobError::of(key, error))?;
        Ok(BlobReader::new(store, path, key.clone(), meta, start))
    }

    /// A small blob, whole: one of more than `most` bytes is an error.
    ///
    /// # Errors
    /// No such blob, one that is too large, or the store.
    pub async fn read_small(&self, key: &BlobKey, most: usize) -> Result<Vec<u8>, BlobError> {
        let mut reader = self.reader(key, 0).await?;
        if reader.bytes() > most as u64 {
            return Err(BlobError::Other(format!(
                "{key} is {} bytes, and {most} at most are expected",
                reader.bytes()
            )));
        }
        let mut whole = Vec::new();
        while let Some(chunk) = reader.next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// Size and age of a blob.
    ///
    /// # Errors
    /// No such blob, or the store.
    pub async fn head(&self, key: &BlobKey) -> Result<BlobInfo, BlobError> {
        let (store, path) = self.path(key)?;
        let meta = store.head(&path).await.map_err(|error| BlobError::of(key, error))?;
        Ok(BlobInfo { key: key.clone(), bytes: meta.size, modified_at: meta.last_modified })
    }

    /// The blobs within a folder and its folders, as they come.
    ///
    /// # Errors
    /// Each item: the store.
    pub fn list(&self, folder: &BlobKey) -> Result<BoxStream<'static, Result<BlobInfo, BlobError>>, BlobError> {
        let (store, path) = self.path(folder)?;
        let (root, folder) = (self.root(), folder.clone());
        let listed = async_list(store, path).filter_map(move |found| {
            let item = match found {
                // A folder that is not there has no blobs.
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => Some(Err(BlobError::of(&folder, error))),
                // What is not named as ours was not put there by us.
                Ok(meta) => key_of(&root, &meta.location)
                    .map(|key| Ok(BlobInfo { key, bytes: meta.size, modified_at: meta.last_modified })),
            };
            std::future::ready(item)
        });
        Ok(listed.boxed())
    }

    /// Removes a blob. One that is not there is removed already.
    ///
    /// # Errors
    /// The store.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let (store, path) = self.path(key)?;
        match store.delete(&path).await.map_err(|error| BlobError::of(key, error)) {
            Ok(()) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what writers of blobs within `folder` left that began, or wrote last, more than `age` ago. Says how many.
    ///
    /// # Errors
    /// The store.
    pub async fn sweep_unfinished(
        &self,
        folder: &BlobKey,
        age: Duration,
        now: DateTime<Utc>,
    ) -> Result<usize, BlobError> {
        let store = self.store()?;
        let unfinished = self.root().join(UNFINISHED);
        let begins = format!("{}+", folder.as_str().replace('/', "+"));
        let limit = now - chrono::TimeDelta::from_std(age).unwrap_or(chrono::TimeDelta::MAX);
        let mut listed = async_list(store.clone(), unfinished);
        let mut swept = 0;
        while let Some(found) = listed.next().await {
            let meta = match found {
                Ok(meta) => meta,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(BlobError::of(folder, error)),
            };
            let name = meta.location.filename().unwrap_or_default().to_owned();
            if meta.last_modified > limit || !name.starts_with(&begins) {
                continue;
            }
            if let Place::Bucket(bucket) = &*self.place {
                bucket.abort_marked(folder, &name).await?;
            } else {
                match store.delete(&meta.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(BlobError::of(folder, error)),
                }
            }
            swept += 1;
        }
        Ok(swept)
    }

    fn store(&self) -> Result<Arc<dyn ObjectStore>, BlobError> {
        match &*self.place {
            Place::Nowhere => Err(BlobError::NotSet),
            Place::Folder(folder) => folder.store(),
            Place::Bucket(bucket) => Ok(bucket.store()),
        }
    }

    fn root(&self) -> Path {
        match &*self.place {
            Place::Bucket(bucket) => bucket.root().clone(),
            Place::Nowhere | Place::Folder(_) => Path::default(),
        }
    }

    fn path(&self, key: &BlobKey) -> Result<(Arc<dyn ObjectStore>, Path), BlobError> {
        Ok((self.store()?, path_within(&self.root(), key)))
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `root` and the segments of `key`.
fn path_within(root: &Path, key: &BlobKey) -> Path {
    root.parts().chain(key.as_str().split('/').map(Into::into)).collect()
}

/// The key of what lies at `location`, if it is one.
fn key_of(root: &Path, location: &Path) -> Option<BlobKey> {
    let within: Vec<_> = location.prefix_match(root)?.map(|part| part.as_ref().to_owned()).collect();
    BlobKey::of(&within).ok()
}

/// The listing of `path`, which does not borrow the store.
fn async_list(
    store: Arc<dyn ObjectStore>,
    path: Path,
) -> BoxStream<'static, Result<object_store::ObjectMeta, object_store::Error>> {
    store.list(Some(&path))
}
