//! Blobs as files. A file is written beside the others and linked to its name at the end: a link that would replace a file
//! fails, whoever was first.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{BlobError, BlobKey, UNFINISHED};

/// A folder with blobs. It must exist: where a disk is not mounted, nothing is written to the disk beneath.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, BlobError> {
        let store = LocalFileSystem::new_with_prefix(&self.root).map_err(|_| self.not_there())?;
        Ok(Arc::new(store))
    }

    pub(super) async fn create(&self, key: &BlobKey, mark: &str) -> Result<Unfinished, BlobError> {
        if !tokio::fs::metadata(&self.root).await.is_ok_and(|meta| meta.is_dir()) {
            return Err(self.not_there());
        }
        let folder = self.root.join(UNFINISHED);
        private_folders(&folder).map_err(|error| BlobError::of_io(key, &error))?;
        let path = folder.join(mark);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = tokio::fs::OpenOptions::from(options).open(&path).await;
        let mut file = file.map_err(|error| BlobError::of_io(key, &error))?;
        file.set_max_buf_size(1 << 20);
        Ok(Unfinished { file, left: LeftOver(path), root: self.root.clone(), key: key.clone() })
    }

    fn not_there(&self) -> BlobError {
        BlobError::Away(format!("there is no folder {}; make it, or mount its disk", self.root.display()))
    }
}

/// A file that has no name among the blobs yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: File,
    left: LeftOver,
    root: PathBuf,
    key: BlobKey,
}

/// Removes the file when it is dropped: either it has its name, or it is not wanted.
#[derive(Debug)]
struct LeftOver(PathBuf);

impl Drop for LeftOver {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(error = %error, "blobs: an unfinished file could not be removed; the sweep does it later");
        }
    }
}

impl Unfinished {
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(piece).await.map_err(|error| BlobError::of_io(&self.key, &error))
    }

    pub(super) async fn finish(mut self) -> Result<(), BlobError> {
        let placed = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            let (from, root, key) = (self.left.0.clone(), self.root.clone(), self.key.clone());
            tokio::task::spawn_blocking(move || place(&from, &root, &key)).await.map_err(std::io::Error::other)?
        };
        placed.await.map_err(|error| BlobError::of_io(&self.key, &error))
    }
}

/// Gives the file its name, and makes the name safe on disk.
fn place(from: &Path, root: &Path, key: &BlobKey) -> std::io::Result<()> {
    let to = root.join(key.as_str());
    let folder = to.parent().unwrap_or(root);
    private_folders(folder)?;
    std::fs::hard_link(from, &to)?;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn private_folders(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
